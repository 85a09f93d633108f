"""What the command `prepare` is told: which corpora, with which settings, run where.

    --corpus news --input 'news/*.jsonl.gz' --masked-lm-prob 0.1     a recipe of one source, masking.masked_lm_prob = 0.1
    my.toml --dupe-factor 5                                          that recipe, pairs.dupe_factor = 5

Options with the names of BERT's create_pretraining_data.py mean what they mean there.
"""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from pipeline.engine import processes
from pipeline.errors import RecipeError

if TYPE_CHECKING:
    from workflows.chain import Chain


Command = TypeVar("Command", bound=Callable[..., Any])

BERT_SETTINGS = {
    "masked_lm_prob": "masking.masked_lm_prob",
    "max_predictions_per_seq": "masking.max_predictions_per_seq",
    "short_seq_prob": "pairs.short_seq_prob",
    "dupe_factor": "pairs.dupe_factor",
    "do_lower_case": "vocabulary.do_lower_case",
    "random_seed": "seed",
}
"""Options by BERT's names, and the settings of a recipe that they are."""
SOURCE_SETTINGS = ("max_bad_ratio", "text_field", "encoding", "variant", "personal_data")
"""Options that are settings of the one source of --corpus."""
CORPORA = ("demo", "wiki", "baike", "news", "text", "tfrecord")
STOPPED = "Stopped. Run the same command again to go on: finished parts are kept."
STOPPED_CODE = 130
"""As shells tell that Ctrl-C ended a program."""
RUNNERS = ("direct", "ray", "portable", "flink", "spark", "dataflow", "dask")


class Ratio(click.ParamType[float]):
    """`1%` or `0.01`."""

    name = "ratio"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        text = str(value)
        try:
            ratio = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            self.fail(f"{value!r} is not a ratio: write 1% or 0.01", parameter, context)
        return ratio


def corpus_options(command: Command) -> Command:
    """Options that name a corpus and how it is made into examples."""
    options = [
        click.option(
            "--corpus", type=click.Choice(CORPORA), help="Without RECIPE: the kind of corpus."
        ),
        click.option(
            "--input", "inputs", multiple=True, metavar="URL",
            help="Without RECIPE: files, folders or globs; may be repeated. wiki without it takes the latest dump.",
        ),
        click.option("--text-field", multiple=True, metavar="NAME", help="A field that holds text; may be repeated."),
        click.option(
            "--encoding", type=click.Choice(["auto", "utf-8", "gb18030", "utf-16"]),
            help="The encoding of text files; auto recognises it.",
        ),
        click.option("--variant", metavar="V", help="The Chinese to convert to: zh-cn (as wiki is), zh-tw, none, ..."),
        click.option(
            "--personal-data", type=click.Choice(["auto", "mask", "keep"]),
            help="Mail addresses, phone, identity and IP numbers; auto masks them in text alone.",
        ),
        click.option("--max-bad-ratio", type=Ratio(), metavar="RATIO", help="Records that may be unreadable: 1% or 0.01."),
        click.option("--vocab", default="", metavar="URL", help="A vocab.txt to use; without one it is built."),
        click.option(
            "--sequence-length", "--max-seq-length", "lengths", type=click.IntRange(8), multiple=True, metavar="N",
            help="Longest example, in tokens; may be repeated.",
        ),
        click.option("--masked-lm-prob", type=float, metavar="P", help="Share of tokens that are predicted."),
        click.option("--max-predictions-per-seq", type=click.IntRange(0), metavar="N", help="Most predicted; 0 = no limit."),
        click.option("--short-seq-prob", type=float, metavar="P", help="Share of sequences cut shorter than they could be."),
        click.option("--dupe-factor", type=click.IntRange(1), metavar="N", help="Times that every document is paired anew."),
        click.option("--do-lower-case/--no-do-lower-case", default=None, help="Lower Latin letters and strip their accents."),
        click.option("--random-seed", type=int, metavar="N", help="Seed of pairs, masks and order."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def runner_options(command: Command) -> Command:
    """--runner and what it is told."""
    runner = click.option(
        "--runner",
        type=click.Choice(RUNNERS),
        default="direct",
        show_default=True,
        help="Where the work is done: direct = this machine, ray = a Ray cluster, others = Beam's runners (docs/runners.md).",
    )
    option = click.option(
        "--runner-option",
        "runner_settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="For the runner: job_endpoint=host:8099, flink_master=host:8081; for ray: address=host:6379.",
    )
    return runner(option(command))


def data_chain(
    recipe: str | None,
    settings: Sequence[str],
    output: str,
    workers: int | None,
    *,
    corpus: str | None,
    inputs: Sequence[str],
    vocab: str,
    lengths: Sequence[int],
    **given: Any,
) -> "Chain":
    """The chain of a recipe, or of a corpus named by options.

    Raises: RecipeError for options that do not go together.
    """
    from workflows import recipe as recipes
    from workflows.chain import Chain

    if (recipe is None) == (corpus is None):
        raise RecipeError("give either a RECIPE or --corpus")
    changed = [_setting(BERT_SETTINGS[name], given[name]) for name in BERT_SETTINGS if given[name] is not None]
    changed += [_setting("vocabulary.url", vocab)] if vocab else []
    of_source = {name: given[name] for name in SOURCE_SETTINGS if given[name] not in (None, ())}
    if recipe is not None:
        if inputs or lengths or of_source:
            told = [*(["--input"] if inputs else []), *(["--sequence-length"] if lengths else []), *map(_option, of_source)]
            raise RecipeError(f"{', '.join(told)}: with --corpus only; in a RECIPE they stand in [[source]] and [[phase]]")
        loaded = recipes.load(recipe, [*changed, *settings])
    else:
        loaded = recipes.build(_content(str(corpus), inputs, of_source), f"--corpus {corpus}", [*changed, *settings])
    return Chain(loaded, output, workers=workers or 1, sequence_lengths=tuple(lengths))


def _content(corpus: str, inputs: Sequence[str], of_source: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe of one corpus, as TOML would say it."""
    sources: list[dict[str, Any]]
    if corpus == "demo":
        sources = [{"name": part, "kind": "demo", "input": [part], **of_source} for part in inputs or ("news", "reviews")]
    else:
        sources = [{"name": corpus, "kind": corpus, "input": list(inputs), **of_source}]
    return {"name": corpus, "source": sources}


def _setting(path: str, value: Any) -> str:
    return f"{path}={json.dumps(value, ensure_ascii=False)}"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


@contextlib.contextmanager
def running_on(runner: str, told: Sequence[str], chain: "Chain") -> Iterator[None]:
    """Inside, the stages of `prepare` run on a runner.

    Raises: CorpusError for a runner that cannot see the recipe's files.
    """
    if runner == "direct":
        if told:
            raise RecipeError("--runner-option goes with --runner other than direct")
        with ended_by_ctrl_c():
            yield
    elif runner == "ray":
        with _ray(told, chain.workers) as tasks:
            chain.executor = tasks
            yield
    else:
        from pipeline.engine.beam import RemoteBeam

        beam = RemoteBeam(runner, tuple(f"--{one}" for one in told))  # type: ignore[arg-type]  # one of RUNNERS
        recipe = chain.recipe
        read = [url for source in recipe.source if source.kind != "demo" for url in source.input]
        beam.refuse_local([chain.root, *read, *recipe.words.user_dictionary, *filter(None, [recipe.masking.phrases])])
        chain.executor = beam
        yield


def warm_up_workers(runner: str, chain: "Chain") -> None:
    """Start the workers of this machine, if it is here that there will be work for them."""
    if runner == "direct" and chain.workers > 1 and not chain.is_prepared():
        processes.pool.warm_up(chain.workers, ["pipeline.engine.job", "pipeline.documents.clean_part"])


@contextlib.contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Inside, Ctrl-C ends the program at once, as a kill would, for which stages are made; worker processes follow.

    As an exception it would be raised in the midst of Beam, which tells it in pages, or loses it and goes on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> NoReturn:
        show_cursor = "\x1b[?25h" if os.isatty(2) else ""
        os.write(2, f"{show_cursor}\n{STOPPED}\n".encode())
        os._exit(STOPPED_CODE)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _ray(told: Sequence[str], workers: int) -> Iterator[Any]:
    from cluster.config import ClusterConfig
    from cluster.session import connected
    from cluster.tasks import RayTasks

    settings = dict(one.partition("=")[::2] for one in told)
    if unknown := settings.keys() - {"address"}:
        raise RecipeError(f"--runner-option {min(unknown)}: --runner ray knows address=host:port only")
    with connected(ClusterConfig(workers=workers, address=settings.get("address", ""))):
        yield RayTasks()


def write_tfrecords(chain: "Chain") -> list[str]:
    """The shards as TFRecord files of BERT's form, in a folder of their own each; URLs of the files.

    Raises: CorpusError for shards without static masks.
    """
    from pipeline import storage
    from pipeline.tfrecords.exchange import export_tfrecords
    from pipeline.tokenization import vocabulary

    vocab = vocabulary.load(chain.vocabulary())
    urls = []
    for name, length in chain.shard_sets():
        shards = chain.shards(name, length)
        folder = storage.join(chain.root, f"tfrecord-{storage.base_name(shards.url)}")
        urls += export_tfrecords(shards, vocab, folder, report=chain.report)
    return urls
