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
        help="`prepare`: also measure memory on this much text (without a number: 1000; takes long)",
    )
    parser.add_argument("--data", metavar="FOLDER", help="`step`: output of `nezha-pipe prepare` with lengths 128 and 512")
    parser.add_argument("--dump", metavar="URL", help="`wiki`: a dump to measure speed on, instead of our own pages")
    parser.add_argument("--peer-python", metavar="PATH", help="a Python with the peers installed, instead of .venv-bench")
    options = parser.parse_args(arguments)
    measured = []
    for one in measure(options):
        measured.append(one)
        print(f"{one.name}: {one.value:,.4g} {one.unit}", file=sys.stderr)
        if options.json:
            options.json.write_text("".join(each.to_json() + "\n" for each in measured), encoding="utf-8")
    measurement.show(measured)


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Run the requested benchmarks. Each one's modules are imported when it starts."""
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
