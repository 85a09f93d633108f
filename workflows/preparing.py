"""The options of `prepare`: which corpora, with which settings, on which runner.

    --corpus news --input 'news/*.jsonl.gz' --masked-lm-prob 0.1     a recipe of one source, masking.masked_lm_prob = 0.1
    my.toml --dupe-factor 5                                          that recipe, pairs.dupe_factor = 5

Options named as in BERT's create_pretraining_data.py have the same meaning.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline import storage
from pipeline.config import LONGEST_SEQUENCE
from pipeline.engine.execution import Execution, Report
from pipeline.errors import RecipeError
from workflows.stopping import ended_by_ctrl_c

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
"""Options with BERT's names, and the settings of the recipe they change."""
SOURCE_SETTINGS = ("max_bad_ratio", "text_field", "encoding", "variant", "variant_tables", "personal_data")
"""Options that are settings of the source of --corpus."""
CORPORA = ("demo", "wiki", "baike", "news", "web", "text", "tfrecord")
RUNNERS = ("direct", "ray", "spark", "portable", "flink", "dataflow", "dask")


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


class Url(click.ParamType[str]):
    """A path, or a URL of a protocol that is known: asked before anything is done, and without asking the store."""

    name = "url"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        storage.check_protocol(value)
        return str(value)


URL = Url()


def corpus_options(command: Command) -> Command:
    """Add the options that name a corpus and say how it becomes examples."""
    options = [
        click.option(
            "--corpus", type=click.Choice(CORPORA), help="Kind of corpus, instead of RECIPE."
        ),
        click.option(
            "--input", "inputs", multiple=True, type=URL,
            help="With --corpus: files, folders or globs; repeatable. Default for wiki: download the latest dump.",
        ),
        click.option("--text-field", multiple=True, metavar="NAME", help="Field that holds text; repeatable."),
        click.option(
            "--encoding", type=click.Choice(["auto", "utf-8", "gb18030", "utf-16"]),
            help="Encoding of text files; auto detects it.",
        ),
        click.option("--variant", metavar="V", help="Chinese to convert to: zh-cn (default for wiki), zh-tw, none, ..."),
        click.option(
            "--variant-tables", type=click.Choice(["opencc", "mediawiki"]),
            help="Tables that convert; mediawiki needs nezha-pipe[mediawiki].",
        ),
        click.option(
            "--personal-data", type=click.Choice(["auto", "mask", "keep"]),
            help="Email addresses, phone and card numbers, accounts and the like; auto masks them in kind text only.",
        ),
        click.option("--max-bad-ratio", type=Ratio(), metavar="RATIO", help="Ratio of records that may be bad: 1% or 0.01."),
        click.option("--vocab", default="", type=URL, help="vocab.txt to use. Default: build one."),
        click.option(
            "--sequence-length", "--max-seq-length", "lengths", type=click.IntRange(8, LONGEST_SEQUENCE), multiple=True,
            metavar="N", help="Longest example, in tokens; repeatable.",
        ),
        click.option("--masked-lm-prob", type=float, metavar="P", help="Ratio of tokens to predict."),
        click.option(
            "--max-predictions-per-seq", type=click.IntRange(0), metavar="N",
            help="Maximum number of tokens to predict per example; 0 = no limit.",
        ),
        click.option("--short-seq-prob", type=float, metavar="P", help="Ratio of sequences made shorter than they could be."),
        click.option("--dupe-factor", type=click.IntRange(1), metavar="N", help="Times that each document is used."),
        click.option("--do-lower-case/--no-do-lower-case", default=None, help="Lowercase Latin letters, strip accents."),
        click.option("--random-seed", type=int, metavar="N", help="Seed of pairs, masks and order."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def runner_options(command: Command) -> Command:
    """Add --runner and --runner-option."""
    runner = click.option(
        "--runner",
        type=click.Choice(RUNNERS),
        default="direct",
        show_default=True,
        help="Where to run: direct = this machine; ray, spark = a cluster of these; others = Beam's runners (docs/runners.md).",
    )
    option = click.option(
        "--runner-option",
        "runner_settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="Option of the runner. ray: address=host:6379; spark: master=spark://host:7077; Beam's: flink_master=host:8081.",
    )
    return runner(option(command))


def data_chain(
    recipe: str | None,
    settings: Sequence[str],
    output: str,
    *,
    corpus: str | None,
    inputs: Sequence[str],
    vocab: str,
    lengths: Sequence[int],
    **given: Any,
) -> "Chain":
    """Return the chain of a recipe, or of a corpus given by options.

    Raises: RecipeError for options that exclude one another.
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
            named = [*(["--input"] if inputs else []), *(["--sequence-length"] if lengths else []), *map(_option, of_source)]
            raise RecipeError(f"{', '.join(named)}: only with --corpus; a RECIPE has these in [[source]] and [[phase]]")
        loaded = recipes.load(recipe, [*changed, *settings])
    else:
        loaded = recipes.build(_content(str(corpus), inputs, of_source), f"--corpus {corpus}", [*changed, *settings])
    return Chain(loaded, output, sequence_lengths=tuple(lengths))


def _content(corpus: str, inputs: Sequence[str], of_source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe of one corpus, as parsed TOML."""
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
def running_on(runner: str, options: Sequence[str], chain: "Chain", workers: int | None) -> Iterator[Execution]:
    """Yield the execution of the stages of `prepare` on a runner.

    Args:
        options: `NAME=VALUE`, from --runner-option.
        workers: None: as many as a Ray cluster has CPUs, and one elsewhere.

    Raises: CorpusError for a runner that cannot read the recipe's files.
    """
    if runner == "direct":
        if options:
            raise RecipeError("--runner-option needs a --runner other than direct")
        with ended_by_ctrl_c("prepare"):
            yield Execution(workers or 1)
    elif runner == "ray":
        with _ray(options, workers, chain) as execution:
            yield execution
    elif runner == "spark":
        with _spark(options, workers, chain) as tasks:
            yield Execution(workers or 1, executor=tasks)
    else:
        from pipeline.engine.beam import RemoteBeam

        beam = RemoteBeam(runner, tuple(f"--{one}" for one in options))  # type: ignore[arg-type]  # one of RUNNERS
        beam.refuse_local([chain.root, *_read(chain)])
        beam.runner_and_options()  # refused now, not after the first stages
        yield Execution(workers or 1, executor=beam)


def _read(chain: "Chain") -> list[str]:
    """What the recipe names that tasks read."""
    recipe = chain.recipe
    inputs = [url for source in recipe.source if source.kind != "demo" for url in source.input]
    return [*inputs, *recipe.words.user_dictionary, *filter(None, [recipe.masking.phrases])]


@contextlib.contextmanager
def _ray(options: Sequence[str], workers: int | None, chain: "Chain") -> Iterator[Execution]:
    from cluster.config import ClusterConfig
    from cluster.nodes import alive, check_nodes
    from cluster.session import connected
    from cluster.tasks import RayTasks
    from pipeline.engine import places

    settings = dict(one.partition("=")[::2] for one in options)
    if unknown := settings.keys() - {"address"}:
        raise RecipeError(f"--runner-option {min(unknown)}: --runner ray has only address=host:port")
    with connected(ClusterConfig(workers=workers or 1, address=settings.get("address", ""))) as own:
        if own is not None:
            yield Execution(workers or 1, executor=RayTasks())
            return
        check_nodes(chain.root, _local_files(chain), {"CPU": 1})
        everywhere = sum(int(node.resources.get("CPU", 0)) for node in alive())
        with places.marked(chain.root) as mark:
            yield Execution(workers or max(everywhere, 1), executor=RayTasks(mark=mark))


@contextlib.contextmanager
def _spark(options: Sequence[str], workers: int | None, chain: "Chain") -> Iterator[Any]:
    from cluster.spark.session import connected
    from cluster.spark.settings import parse
    from cluster.spark.tasks import SparkTasks

    with connected(parse(options, workers), chain.root, _local_files(chain)) as session:
        yield SparkTasks(session)


def _local_files(chain: "Chain") -> dict[str, int]:
    """Sizes of the local files that tasks read, by path: other machines must see the same."""
    from pipeline import storage
    from pipeline.sources import inputs

    urls = [file.url for file in inputs.expand(_read(chain)) if storage.is_local(file.url)]
    return {storage.absolute(url): storage.file_size(url) for url in urls}


def write_tfrecords(chain: "Chain", report: Report) -> list[str]:
    """Write the shards as TFRecord files of BERT, a folder for each stage, and return their URLs.

    Raises: CorpusError for shards without static masks.
    """
    from pipeline import storage
    from pipeline.tfrecords.exchange import export_tfrecords
    from pipeline.tokenization import vocabulary

    vocab = vocabulary.load(chain.run("vocabulary"))
    urls = []
    for name in chain.data_names():
        if chain.steps[name].kind == "shards":
            shards = chain.run(name)
            folder = storage.join(chain.root, f"tfrecord-{storage.base_name(shards.url)}")
            urls += export_tfrecords(shards, vocab, folder, report=report)
    return urls
