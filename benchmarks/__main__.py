"""Run benchmarks against other tools: `python -m benchmarks NAME [--json PATH]`; NAME: prepare, wiki, segment, step, attention,
inference, startup or all.

Prints a table, and writes one JSON object per line: {"name", "value", "unit", "baseline", "ratio", "workers", "machine"}. A
ratio above 1 means that ours is better. Peers are installed into `.venv-bench` at first use and measured in the same call.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import measurement
from benchmarks.measurement import Measurement

NAMES = ("prepare", "wiki", "segment", "step", "attention", "inference", "startup")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*NAMES, "all"], help="what to measure")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the measurements here, as JSON lines")
    parser.add_argument(
        "--megabytes", type=float, default=200, help="megabytes of text for `prepare` and `segment` (default: %(default)s)"
    )
    parser.add_argument(
        "--big",
        type=float,
        nargs="?",
        const=1000,
        metavar="MEGABYTES",
        help="`prepare`: also the memory that so much text takes (1000 when no number follows; long)",
    )
    parser.add_argument("--data", metavar="FOLDER", help="`step`: output of `nezha-pipe prepare` with lengths 128 and 512")
    parser.add_argument("--dump", metavar="URL", help="`wiki`: a dump whose pages are to be fast with, in place of our own")
    parser.add_argument("--peer-python", metavar="PATH", help="a Python that has the peers, in place of .venv-bench")
    given = parser.parse_args(arguments)
    measured = []
    for row in measure(given):
        measured.append(row)
        print(f"{row.name}: {row.value:,.4g} {row.unit}", file=sys.stderr)
        if options.json:
            options.json.write_text("".join(one.to_json() + "\n" for one in measured), encoding="utf-8")
    measurement.show(measured)


def measure(given: argparse.Namespace) -> Iterator[Measurement]:
    """The rows asked for. What a benchmark needs is imported when its turn comes."""
    for name in NAMES if options.name == "all" else (options.name,):
        if name == "prepare":
            from benchmarks import deduplicated, prepare

            yield from prepare.measurements(options.megabytes, options.big, options.peer_python)
            yield from deduplicated.measurements(options.megabytes, options.peer_python)
        elif name == "segment":
            from benchmarks import segment

            yield from segment.measurements(options.megabytes)
        elif name == "wiki":
            from benchmarks import wiki

            yield from wiki.measurements(options.dump, options.peer_python)
        elif name == "step":
            from benchmarks import step

            yield from step.measurements(options.data, options.peer_python)
        elif name == "attention":
            from benchmarks import attention

            yield from attention.measurements(options.peer_python)
        elif name == "inference":
            from benchmarks import inference

            yield from inference.measurements(options.peer_python)
        else:
            from benchmarks import startup

            yield from startup.measurements()


if __name__ == "__main__":
    main()
