"""Where the CPU of `prepare` goes in two quarters of a dump, stage by stage: `python -m benchmarks.quarters.costs [PAGES]`.

Each quarter has a process of its own, which does all the work: CPU seconds, user and system, hardly depend on what else the
machine does. The vocabulary, built from the first quarter, is given in both, as when training is continued.
"""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.corpus import vocabulary_of
from benchmarks.quarters import text

PAGES = 5_000


def main(number: int) -> None:
    """Print the CPU seconds of each stage in both quarters."""
    with tempfile.TemporaryDirectory(prefix="quarters-") as name:
        folder = Path(name)
        pages = text.pages(number)
        (folder / "vocab.txt").write_bytes(vocabulary_of(page.wikitext for page in pages))
        first = _quarter(folder, text.dump(pages, 1))
        second = _quarter(folder, text.dump(text.changed(pages), 2))
    print(f"{number:,} pages, {sum(len(page.wikitext.encode()) for page in pages) / 1e6:.1f} MB of wikitext")
    for stage in (*first, "sum"):
        before, after = (sum(times.values()) if stage == "sum" else times[stage] for times in (first, second))
        print(f"{stage:<20}{before:>8.2f} s{after:>8.2f} s{after / before if before else 0:>8.0%}")


def _quarter(folder: Path, dump: bytes) -> Mapping[str, float]:
    """Put a dump in the place of the one before, and prepare it in a new process."""
    (folder / "wiki.xml.bz2").write_bytes(dump)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(prepare, folder).result()


def prepare(folder: Path) -> dict[str, float]:
    """Prepare the dump in a folder up to its shards, in this process; return the CPU seconds of each stage."""
    from workflows import recipe
    from workflows.chain import Chain

    content = {
        "name": "quarters",
        "source": [{"name": "wiki", "kind": "wiki", "input": [str(folder / "wiki.xml.bz2")]}],
        "vocabulary": {"url": str(folder / "vocab.txt")},
    }
    chain = Chain(recipe.build(content, "quarters"), str(folder / "run"), sequence_lengths=(128,))
    found: dict[str, float] = {}
    for name in chain.data_names():
        if name != "report":
            started = time.process_time()
            chain.run(name)
            found[name] = time.process_time() - started
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PAGES)
