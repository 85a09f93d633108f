"""Speed of the loader when shards are in an object store: micro-batches of an epoch, from a disk, a cold and a warm cache.

    loader/disk/static          tokens/s of one process that reads rows of up to 128 tokens with their stored masks
    loader/store-cold/static    the same from an S3 server on this machine, the cache empty; baseline: the disk
    loader/store-warm/static    the same with all shards in the cache; baseline: the disk
    .../dynamic                 the same with newly drawn masks

As training reads them: `batches.steps`, one step ahead, shards compared with their checksums at first use. Disk and warm cache
take turns, and the median of the turns counts.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measurement import Measurement
from model.samples import batches
from model.samples.batches import MaskedRows
from model.samples.order import Order
from pipeline.engine import stages
from pipeline.examples import cache
from tests import stores, tiny

ROWS, ROWS_A_SHARD = 40_000, 10_000
"""Of each of two sources."""
LENGTH = 128
STEP_ROWS = 2_048
TURNS = 3


def measurements() -> Iterator[Measurement]:
    """Measure reading with stored and with newly drawn masks."""
    with tempfile.TemporaryDirectory(prefix="nezha-bench-") as folder, _store(Path(folder)) as url:
        for name, draws in (("static", 2), ("dynamic", 0)):
            there, here = (
                tiny.prepare(f"{root}/{name}", ROWS, lengths=(LENGTH,), static_draws=draws, rows_a_shard=ROWS_A_SHARD)
                for root in (url, folder)
            )
            os.environ[cache.FOLDER] = f"{folder}/cache-{name}"
            speed(here)  # what is loaded at first use
            cold = speed(there)
            disk, warm = zip(*((speed(here), speed(there)) for _ in range(TURNS)), strict=True)
            baseline = statistics.median(disk)
            note = f"one process, one step ahead; median of {TURNS} turns"
            yield Measurement(name=f"loader/disk/{name}", value=baseline, unit="tokens/s", note=note)
            for kind, value in (("cold", cold), ("warm", statistics.median(warm))):
                note = "the server has the same cores as the loader" if kind == "cold" else "in turns with the disk"
                yield Measurement(
                    name=f"loader/store-{kind}/{name}", value=value, unit="tokens/s", baseline=baseline, note=note
                )


@contextmanager
def _store(folder: Path) -> Iterator[str]:
    """Serve a bucket; what this process has in its environment is restored."""
    import s3fs

    before = dict(os.environ)
    with stores.served() as proxy:
        # Not through the proxy: it would take the loader's time.
        os.environ |= {**stores.SETTINGS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server}"}
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("loader")
        try:
            yield "s3://loader"
        finally:
            os.environ.clear()
            os.environ |= before
            s3fs.S3FileSystem.clear_instance_cache()


def speed(corpus: tiny.Corpus) -> float:
    """Return the tokens that one process reads in a second, over an epoch."""
    sources = {str(done.manifest["source"]): done for done in map(stages.load, corpus.shards.values())}
    rows = MaskedRows(list(sources.values()), "train", tiny.VOCAB, 1)
    order = Order({name: done.manifest["counts"]["train"]["rows"] for name, done in sources.items()}, {}, 1)
    samples = [(start, start + STEP_ROWS) for start in range(0, 2 * ROWS, STEP_ROWS)]
    started = time.perf_counter()
    steps = batches.steps(rows, order, samples, 64 * LENGTH)
    tokens = sum(batch.tokens for step in steps for batch in step.micro_batches)
    return tokens / (time.perf_counter() - started)
