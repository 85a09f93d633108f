"""The commands that use an exported model: fill-mask, embed."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from pipeline import storage
from workflows.cli.console import echo, echo_json, echo_url
from workflows.cli.errors import UserMistake
from workflows.cli.options import json_option, not_empty
from workflows.preparing import URL


@click.command("fill-mask")
@click.argument("model", type=URL, metavar="MODEL")
@click.argument("text")
@click.option("--top", type=click.IntRange(1), metavar="N", default=5, show_default=True, help="Number of guesses per word.")
@json_option
def fill_mask(model: str, text: str, top: int, as_json: bool) -> None:
    """Predict the words hidden by [MASK] in TEXT.

    Several [MASK] in a row are one word. If TEXT is -, texts are read from standard input, one per line.

    \b
    Examples:
      nezha-pipe fill-mask my-nezha '中国的首都是[MASK]京。'
      nezha-pipe fill-mask my-nezha '他在[MASK][MASK]大学读书。' --top 3
      nezha-pipe fill-mask my-nezha - --json < texts.txt
    """
    from workflows.inference.fill_mask import fill

    texts = _standard_input() if text == "-" else [text]
    for number, found in enumerate(fill(storage.absolute(model), texts, top)):
        if as_json:
            echo(json.dumps({"text": texts[number], "words": found}, ensure_ascii=False))
            continue
        if len(texts) > 1:
            echo(texts[number])
        for place, guesses in enumerate(found, start=1):
            masks = "[MASK]" * len(guesses[0]["tokens"])
            echo(f"{masks} {place}: " + "  ".join(f"{guess['text']} {guess['probability']:.3f}" for guess in guesses))


def _standard_input() -> list[str]:
    """Return the lines of standard input that are not blank.

    Raises: UserMistake if it is closed, or not UTF-8.
    """
    if sys.stdin is None:  # `<&-`, and some services
        raise UserMistake("standard input is closed; pipe the texts in, one per line, or give one instead of -")
    texts = []
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            texts.append(line.decode("utf-8-sig" if number == 1 else "utf-8").strip())
        except UnicodeDecodeError:
            raise UserMistake(
                f"standard input: line {number} is not UTF-8; convert it first: iconv -f gb18030 -t utf-8"
            ) from None
    return [text for text in texts if text]


@click.command()
@click.argument("model", type=URL, metavar="MODEL")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    type=URL,
    help="Parquet, JSON lines, or one text per line.",
    callback=not_empty,
)
@click.option("--output", required=True, type=URL, help="Parquet file to write.", callback=not_empty)
@click.option("--text", default="text", show_default=True, metavar="NAME", help="Column or field that holds the text.")
@click.option("--id", metavar="NAME", help="Column or field to keep as the id of each vector. Default: texts are numbered.")
@click.option(
    "--pooling",
    type=click.Choice(["auto", "mean", "cls"]),
    default="auto",
    show_default=True,
    help="mean: average over all tokens; cls: the vector of [CLS]; auto: as `finetune` tuned it, otherwise the mean.",
)
@click.option("--normalise/--no-normalise", default=True, help="Scale vectors to length 1, for cosine similarity.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Type to compute in.")
@click.option(
    "--max-length", type=click.IntRange(3), metavar="N", default=512, show_default=True, help="Longest input, in tokens."
)
@click.option(
    "--batch-tokens", type=click.IntRange(1), metavar="N", default=8_192, show_default=True, help="Most tokens per batch."
)
@json_option
def embed(model: str, inputs: Sequence[str], output: str, as_json: bool, **settings: Any) -> None:
    """Compute one vector per text and write them, in input order, to a Parquet file.

    \b
    Examples:
      nezha-pipe embed my-nezha --input reviews.txt --output vectors.parquet
      nezha-pipe embed my-nezha --input 's3://bucket/news/*.jsonl.gz' --text content --id news_id --output s3://bucket/v.parquet
    """
    from workflows.inference.embedding import EmbedConfig
    from workflows.inference.embedding import embed as write
    from workflows.progress import Display

    with Display(["embed"]) as display:
        facts = write(storage.absolute(model), inputs, storage.absolute(output), EmbedConfig(**settings), display.report)
    cut = f"; texts cut at {settings['max_length']} tokens: {facts['cut']:,}" if facts["cut"] else ""
    echo(f"{facts['texts']:,} vectors of {facts['width']:,} numbers{cut}", err=True)
    if as_json:
        echo_json({**facts, "output": output})
    else:
        echo_url(output)
