"""Groups of docs/errors.md: in the order of a run, with what to do where messages do not say it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """A section of the page."""

    title: str
    folders: tuple[str, ...]
    """Packages and modules whose errors it has; of several groups the one with the longest name counts."""
    advice: str
    """What to do about messages that do not say it: shown once, above a list of them."""
    about: str
    """Shown at the top of the section."""


GROUPS = (
    Group(
        "Recipes and options",
        ("workflows", "workflows/cli", "pipeline"),
        "Correct the option or the line of the recipe that is named.",
        "All commands. What a setting may be is in [recipe.md](recipe.md), what an option may be in [cli.md](cli.md).",
    ),
    Group(
        "Output folders and storage",
        ("pipeline/storage.py", "pipeline/conditional.py", "pipeline/locks.py", "pipeline/leases.py", "pipeline/folders.py"),
        "Check the path and its permissions, and that a disk or a store is there; then run the same command again.",
        "All commands that read or write a folder. A store that is away was tried for `NEZHA_PIPE_STORE_TIMEOUT` seconds "
        "(120) first. Nothing that is finished is lost: the same command resumes.",
    ),
    Group(
        "Stages and their files",
        ("pipeline/engine", "pipeline/checks", "workflows/inspection"),
        "Look with `nezha-pipe verify FOLDER`, which names each file that is not what was written.",
        "`prepare`, `run`, `inspect`, `verify`. A folder without `manifest.json` is not finished and may be deleted.",
    ),
    Group(
        "Input files",
        ("pipeline/sources",),
        "Look at the file at the place that is named, and fetch it again if it is cut short.",
        "`prepare`, `run`. What is read is in [corpora.md](corpora.md#what-is-read). Records that are damaged one by one are "
        "skipped and counted; these errors are about whole files.",
    ),
    Group(
        "Wikipedia",
        ("pipeline/wiki",),
        "Fetch the dump again, or name another.",
        "`prepare --corpus wiki`, `run`. See [corpora.md](corpora.md#wikipedia).",
    ),
    Group(
        "Documents, cleaning and duplicates",
        ("pipeline/documents", "pipeline/cleaning", "pipeline/dedup"),
        "Look at the samples in the data report, then correct the setting of the source that is named.",
        "`prepare`, `run`.",
    ),
    Group(
        "Vocabulary, words and shards",
        ("pipeline/tokenization", "pipeline/examples", "pipeline/tfrecords"),
        "Correct the file at the place that is named.",
        "`prepare`, `run`. See [how to use a vocabulary of your own](howto/vocabulary.md).",
    ),
    Group(
        "Training",
        ("model", "workflows/pretraining.py"),
        "Correct `[encoder]`, `[training]` or `[[phase]]` of the recipe; a training folder takes only its own recipe.",
        "`pretrain`, `run`. What ends a training and what follows is in [training.md](training.md).",
    ),
    Group(
        "Workers and Ray",
        ("cluster",),
        "Run the same command again: training resumes from its newest checkpoint. If it comes back, `nezha-pipe cluster check` "
        "looks at each machine.",
        "`pretrain`, `run`, `prepare --runner ray`. See [runners.md](runners.md#ray) and "
        "[cluster.md](cluster.md#is-the-cluster-fit).",
    ),
    Group(
        "Spark",
        ("cluster/spark",),
        "Look into the log of Spark that is named at the end of the message.",
        "`prepare --runner spark`. See [runners.md](runners.md#spark).",
    ),
    Group(
        "Cluster files",
        ("cluster/manifests",),
        "Correct the setting: all of them are in [cluster.md](cluster.md#settings).",
        "`cluster render`.",
    ),
    Group(
        "Jobs",
        ("cluster/jobs", "workflows/cli/jobs"),
        "Check the address, the token and the versions on both sides ([jobs.md](jobs.md#what-can-go-wrong)).",
        "`submit`, `jobs`, `status`, `logs`, `stop`.",
    ),
    Group(
        "Weights of other programs",
        ("model/conversion", "workflows/converting.py"),
        "The weights and the configuration do not belong together: download both again, or correct the configuration.",
        "`convert`, and `pretrain` from existing weights. See [weights.md](weights.md).",
    ),
    Group(
        "Exports",
        ("model/exporting", "workflows/exporting.py", "workflows/inference"),
        "Export the model again: `nezha-pipe export CHECKPOINT --output FOLDER`.",
        "`export`, `fill-mask`, `embed`, and all that read an export. See [using.md](using.md).",
    ),
    Group(
        "Evaluation",
        ("workflows/evaluation", "workflows/report/errors"),
        "Check the names of tasks, models and files; tasks and their files are in [evaluation.md](evaluation.md).",
        "`evaluate`, `run`, `ablate`.",
    ),
    Group(
        "Files of tasks",
        ("workflows/evaluation/formats",),
        "Correct the file at the line that is named, or download it again; [evaluation.md](evaluation.md#your-own-task) shows "
        "what each kind of task has in a line.",
        "`evaluate`, `finetune`, `run`. Each message begins with the file and the place in it.",
    ),
    Group(
        "Fine-tuning and ablations",
        ("model/finetuning", "workflows/finetuning", "workflows/ablation"),
        "Correct the option that is named; `nezha-pipe finetune --help` and `nezha-pipe ablate --help` have examples.",
        "`finetune`, `ablate`.",
    ),
    Group(
        "The registry and the gate",
        ("workflows/registry",),
        "Look at `nezha-pipe models` and `nezha-pipe models --history`; files of the registry are plain JSON "
        "([registry.md](registry.md#what-an-entry-is)).",
        "`models`, `compare`, `promote`, `rollback`.",
    ),
    Group(
        "Checks, the history and the page",
        ("workflows/checks", "workflows/orchestration", "workflows/definitions.py", "workflows/scheduling"),
        "A check that failed names itself in brackets; its limit is in `[checks]` of the recipe ([dagster.md](dagster.md)).",
        "`run`, `ui`.",
    ),
)
