"""The stage `replay_<source>`: tokens of earlier runs, from which a later training takes a share of old text.

They are copied, so a run needs the folders of earlier ones only until this stage is finished. Left out are documents that were
withdrawn since, with their copies, and an older text whose id a newer one has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.arrays import Hashes
from pipeline.documents.table import Part, parts
from pipeline.engine import counting, integrity, job, parquet, steps
from pipeline.engine.counting import Counts
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.tokenization import vocabulary

STAGE_VERSION = 1


def replay(
    source: str,
    tokens: Sequence[Finished],
    vocab: Finished,
    units: str,
    licence: str,
    withdrawn: Sequence[int],
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """Copy the tokens of earlier runs.

    Args:
        source: name of the source of old text.
        tokens: finished stages `tokens` and `replay`, newest text first.
        units: what is masked as a whole: `word`, `token` or `entity`.
        withdrawn: ids of documents that must not be used.

    Raises: CorpusError for tokens that were made with another vocabulary, or with other units.
    """
    for stage in tokens:
        if stage.manifest["inputs"]["vocabulary"] != vocab.digest:
            raise CorpusError(f"{stage.url}: made with another vocabulary than {vocab.url}; name other text with replay.data")
        if (found := stage.manifest["settings"]["text"]["units"]) != units:
            raise CorpusError(
                f"{stage.url}: old text is masked by {found}, the recipe masks by {units}; keep masking.policy, or name other "
                "text with replay.data"
            )
    gone = np.unique(np.array(withdrawn, np.uint64))
    settings = {
        "source": source,
        "text": tokens[0].manifest["settings"]["text"],
        "licence": licence,
        "withdrawn": storage.bytes_digest(gone.tobytes()) if len(gone) else "",
    }
    inputs = {f"tokens_{number}": stage.digest for number, stage in enumerate(tokens)} | {"vocabulary": vocab.digest}
    planned = Stage("replay", STAGE_VERSION, settings, inputs, source=source)

    def body(folder: str) -> dict[str, Any]:
        copying = CopyPart(folder, tuple(tokens), vocab, tuple(gone.tolist()))
        entries, counts = job.run(steps.Job(f"old text of {source}", folder, parts(tokens), copying), execution)
        characters: Counts = {}
        for stage in tokens:
            counting.add(characters, stage.manifest["unknown_characters"])
        unknown = counting.most_common(characters, len(characters))
        return {
            "files": entries,
            "counts": counts,
            "licence": licence,
            "unknown_characters": unknown,
            "words_never_found": [],
        }

    return run_stage(root, planned, body, execution)


def gone_from(
    withdrawn: Sequence[int], now: Sequence[Finished], then: Sequence[Finished], dedup: Sequence[Finished]
) -> list[int]:
    """Return the ids that withdrawn documents have in earlier runs, and those of their copies.

    Args:
        withdrawn: ids as the recipe lists them.
        now: the documents of this run, where a text may have another id.
        then: the documents of the earlier runs.
        dedup: the decisions of the earlier runs, which kept a copy of a text that is withdrawn now.
    """
    gone = set(withdrawn)
    if not gone:
        return []
    texts = _found(now, "fingerprint", "id", pa.array(sorted(gone), pa.uint64()))
    gone |= set(_found(then, "id", "fingerprint", pa.array(texts, pa.binary(16))))
    for stage in dedup:
        for entry in stage.files("dropped_"):
            kept = _where(stage.file(entry["name"]), "kept_id", "id", pa.array(sorted(gone), pa.uint64()))
            gone |= {one for one in kept if one is not None}  # None: dropped for another reason than being a duplicate
    return sorted(gone)


def _found(documents: Sequence[Finished], wanted: str, column: str, values: pa.Array) -> list[Any]:
    """Return a column of the documents that have one of `values` in another."""
    return sorted({value for part in parts(documents) for value in _where(part.url, wanted, column, values)})


def _where(url: str, wanted: str, column: str, values: pa.Array) -> list[Any]:
    table = parquet.read(url, [wanted, column])
    return list(table.filter(pc.is_in(table[column], value_set=values))[wanted].to_pylist())


@dataclass(frozen=True)
class CopyPart:
    """Map: the documents of one part that are still used. There is no reduce."""

    folder: str
    tokens: tuple[Finished, ...]
    vocabulary: Finished
    withdrawn: tuple[int, ...]

    def __call__(self, task: Part) -> steps.Reduced:
        table = pa.ipc.open_file(pa.py_buffer(integrity.read_bytes(task.url))).read_all()
        ids = table["id"].to_numpy()
        gone = np.isin(ids, np.array(self.withdrawn, np.uint64))
        replaced = np.isin(ids, self._newer(task.source)) & ~gone
        kept = table.filter(pa.array(~(gone | replaced)))
        name = f"part-{task.source:02d}-{task.file.removeprefix('part-')}"
        with storage.open_write(storage.join(self.folder, name)) as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(kept)
        counts = {**self._counts(kept), "withdrawn": int(gone.sum()), "replaced": int(replaced.sum())}
        return steps.Reduced((FileEntry.of(self.folder, name, len(kept)),), counts)

    def _counts(self, kept: pa.Table) -> Counts:
        def values(column: str) -> Any:
            return kept[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)

        ids = values("ids")
        return {
            "documents": len(kept),
            "without_tokens": 0,
            "sentences": len(values("sentence_ends")),
            "tokens": len(ids),
            "units": int(np.count_nonzero(values("unit_starts"))),
            "unknown": int(np.count_nonzero(ids == self._unknown)),
        }

    def _newer(self, number: int) -> Hashes:
        """Return the ids of all newer text."""
        return self._ids_before[number]

    @cached_property
    def _ids_before(self) -> list[Hashes]:
        found = [np.zeros(0, np.uint64)]
        for stage in self.tokens[:-1]:
            files = [integrity.read_bytes(part.url) for part in parts([stage])]
            own = [pa.ipc.open_file(pa.py_buffer(data)).read_all()["id"].to_numpy() for data in files]
            found.append(np.unique(np.concatenate([found[-1], *own])))
        return found

    @cached_property
    def _unknown(self) -> int:
        return vocabulary.load(self.vocabulary).unk_id

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
