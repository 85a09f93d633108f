"""Run benchmarks against other tools: `python -m benchmarks NAME [--json PATH]`; NAME: prepare, wiki, segment, step, loader,
overlap, attention, inference, evaluate, startup or all (of these); or resume: training under faults; or kills: `prepare` under
kills; or ablation: several pretrainings at a time; or gate: how often the gate is wrong; or quarters: retraining with nobody
watching; or scaling: on paper.

Prints a table, and writes one JSON object per line: {"name", "value", "unit", "baseline", "ratio", "workers", "machine"}. A
ratio above 1 means that ours is better. Peers are installed into `.venv-bench` at first use and measured in the same call.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import measurement
from benchmarks.measurement import Measurement

NAMES = ("prepare", "wiki", "segment", "step", "loader", "overlap", "attention", "inference", "evaluate", "startup")
LONG = ("resume", "kills", "ablation", "gate", "quarters")
"""Not among `all`: they take long, and most as long as they are told to."""
PAPER = "scaling"
"""Measures nothing: the tables of docs/scaling.md."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*NAMES, "all", *LONG, PAPER], help="what to measure")
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
    parser.add_argument(
        "--data", metavar="FOLDER", help="`step`: output of `nezha-pipe prepare`, lengths 128 and 512; `gate`: of `evaluate`"
    )
    parser.add_argument("--tasks", metavar="FOLDER", help="`ablation`: files of tasks; without, those of the demo corpus")
    parser.add_argument("--dump", metavar="URL", help="`wiki`, `quarters`: a dump to use instead of our own pages")
    parser.add_argument(
        "--minutes", type=float, default=10, help="`resume`: minutes of training under faults (default: %(default)s)"
    )
    parser.add_argument(
        "--mtbf", type=float, default=60, metavar="SECONDS", help="`resume`: mean time between faults (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="`resume`, `kills`, `quarters`: seed (default: %(default)s)")
    parser.add_argument("--pages", type=int, default=6000, help="`quarters`: pages of the dump (default: %(default)s)")
    parser.add_argument("--keep", metavar="FOLDER", help="`quarters`: keep its runs here")
    parser.add_argument("--number", type=int, default=200, help="`kills`: how many (default: %(default)s)")
    parser.add_argument(
        "--more", action="store_true", help="`resume`: kill the driver and the head too, and let the store refuse or be slow"
    )
    parser.add_argument("--plan", action="store_true", help="`resume`: print the plan, and do nothing")
    parser.add_argument("--peer-python", metavar="PATH", help="a Python with the peers installed, instead of .venv-bench")
    options = parser.parse_args(arguments)
    if options.name == PAPER:
        from benchmarks import scaling

        scaling.show()
        return
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
        elif name == "loader":
            from benchmarks import loader

            yield from loader.measurements()
        elif name == "overlap":
            from benchmarks import overlap

            yield from overlap.measurements()
        elif name == "attention":
            from benchmarks import attention

            yield from attention.measurements(options.peer_python)
        elif name == "inference":
            from benchmarks import inference

            yield from inference.measurements(options.peer_python)
        elif name == "evaluate":
            from benchmarks import evaluate

            yield from evaluate.measurements(options.peer_python)
        elif name == "resume":
            from benchmarks import resume
            from benchmarks.chaos import run

            yield from () if options.plan else resume.measurements()
            yield from run.measurements(
                options.minutes, options.mtbf, options.seed, options.plan, options.peer_python, options.more
            )
        elif name == "ablation":
            from benchmarks import ablation

            yield from ablation.measurements(options.tasks)
        elif name == "kills":
            from benchmarks import kills

            yield from kills.measurements(options.number, options.seed)
        elif name == "quarters":
            from benchmarks.quarters import run as quarters

            yield from quarters.measurements(options.pages, options.dump, options.seed, options.keep)
        elif name == "gate":
            from benchmarks import gate

            yield from gate.measurements(options.data)
        else:
            from benchmarks import startup

            yield from startup.measurements()


if __name__ == "__main__":
    main()
