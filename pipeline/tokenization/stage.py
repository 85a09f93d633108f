"""The stage `tokens_<source>`: the kept documents as tokens, computed once for shards of all lengths.

    part-00000.arrow     one row per document that has tokens, sorted by id:
        id               uint64
        ids              他 出 生 在 北 京 。 她 笑 。      its tokens, without special tokens
        unit_starts      1  1  0  1  1  0  1  1  1  1       where a masking unit (a word, an entity) starts
        sentence_ends    7 10                                where each sentence ends in `ids`

The title, if there is one, is the first sentence.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.arrays import Hashes
from pipeline.config import CorpusConfig, SourceConfig
from pipeline.dedup.kept import decision_files, kept_documents
from pipeline.documents.table import Part, parts
from pipeline.engine import counting, earlier, job, steps
from pipeline.engine.counting import Counts
from pipeline.engine.earlier import Earlier
from pipeline.engine.execution import SERIAL, Execution
from pipeline.engine.stages import FileEntry, Finished, Stage
from pipeline.engine.stages import run as run_stage
from pipeline.errors import CorpusError
from pipeline.facts import VocabularyFacts
from pipeline.tokenization import vocabulary
from pipeline.tokenization.encoded import TokenRows, schema
from pipeline.tokenization.encoder import TextEncoder, text_settings
from pipeline.tokenization.known import Memory, digests_of
from pipeline.tokenization.words import never_found

STAGE_VERSION = 2
BATCH_CHARACTERS = 1 << 19
"""Characters of the documents that are encoded together."""
MOST_UNKNOWN = 50
"""Characters without a token that the manifest lists."""
MOST_WORDS = 50
"""Entries of user dictionaries that are never found which the manifest lists."""


def tokens(
    source: SourceConfig,
    documents: Finished,
    decisions: Finished,
    vocab: Finished,
    config: CorpusConfig,
    root: str,
    *,
    execution: Execution = SERIAL,
) -> Finished:
    """Encode the kept documents of one source.

    Raises: CorpusError for an unusable segmenter, user dictionary or list of phrases, or a given vocabulary that lacks most of
        the text.
    """
    settings = {"source": source.name, "text": text_settings(config)}
    inputs = {
        "documents": documents.digest,
        "decisions": decisions.digest_of(decision_files(source.name)),
        "vocabulary": vocab.digest,
    }
    stage = Stage("tokens", STAGE_VERSION, settings, inputs, source=source.name)

    def body(folder: str) -> dict[str, Any]:
        before = earlier.find(root, stage, ("documents", "decisions"), execution)
        work = steps.Job(
            name=f"tokens of {source.name}",
            folder=folder,
            tasks=parts([documents]),
            map=EncodePart(folder, decisions, vocab, config, before),
        )
        entries, counts = job.run(work, execution)
        ran = earlier.run_facts(counts, before)
        earlier.report(stage.name, ran, execution)
        if text_settings(config) != settings["text"]:
            storage.remove(folder)
            raise CorpusError(
                f"source {source.name!r}: the user dictionary or the list of phrases changed while it was being used; "
                "run again once it is complete"
            )
        if not vocab.manifest["built"] and counts.get("unknown", 0) * 2 > counts.get("tokens", 0):
            raise CorpusError(
                f"source {source.name!r}: {counts['unknown']:,} of {counts['tokens']:,} tokens are [UNK]: the vocabulary lacks "
                "most of this text; give a Chinese one, or none to have it built"
            )
        unknown = counting.most_common(counts.pop("unknown_characters", {}), MOST_UNKNOWN)
        facts = {"counts": counts, "unknown_characters": unknown, "words_never_found": never_found(config.words)[:MOST_WORDS]}
        return {"files": entries, "run": ran, **facts}

    return run_stage(root, stage, body, execution)


@dataclass(frozen=True)
class EncodePart:
    """Map: the kept documents of one part become one file. There is no reduce."""

    folder: str
    decisions: Finished
    vocabulary: Finished
    config: CorpusConfig
    before: Earlier | None = None
    """An earlier stage of this source, of which the tokens of unchanged documents are used again."""

    def __call__(self, task: Part) -> steps.Reduced:
        kept = kept_documents(task.stage, self.decisions, task.file)
        name = task.file.replace(".parquet", ".arrow")
        counts: Counts = {name: 0 for name in ("documents", "without_tokens", "sentences", "tokens", "units", "unknown")}
        rows = 0
        memory = Memory(name, self.before)
        with storage.open_write(storage.join(self.folder, name)) as file, pa.ipc.new_file(file, self._schema) as writer:
            for ids, texts in _batches(kept):
                batch = self._encode(ids, texts, counts, memory)
                rows += batch.num_rows
                writer.write_batch(batch)
        counting.add(counts, memory.write(self.folder))
        return steps.Reduced((FileEntry.of(self.folder, name, rows),), counts)

    @cached_property
    def _encoder(self) -> TextEncoder:
        return TextEncoder(vocabulary.load(self.vocabulary), self.config)

    @cached_property
    def _schema(self) -> pa.Schema:
        return schema(VocabularyFacts.of(self.vocabulary).size)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def _encode(self, ids: Hashes, texts: list[str], counts: Counts, memory: Memory) -> pa.RecordBatch:
        digests = digests_of(texts)
        places = memory.find(digests)
        anew, known = np.flatnonzero(places[:, 0] < 0), np.flatnonzero(places[:, 0] >= 0)
        rows, unknown = self._tokenised([texts[one] for one in anew.tolist()])
        if len(known):
            taken, known_unknown = memory.take(places[known])
            order = np.argsort(np.concatenate([anew, known]))
            rows = TokenRows.joined([rows, taken]).take(order)
            both = [*unknown, *known_unknown]
            unknown = [both[one] for one in order.tolist()]
        lengths = np.diff(rows.starts)
        memory.note(digests, unknown, lengths > 0, len(known))
        found = Counter(itertools.chain.from_iterable(unknown))
        counts["documents"] += len(texts)
        counts["without_tokens"] += int(np.count_nonzero(lengths == 0))
        counts["sentences"] += len(rows.ends)
        counts["tokens"] += len(rows.ids)
        counts["units"] += int(np.count_nonzero(rows.unit_starts))
        counts["unknown"] += sum(found.values())
        counting.add(counts.setdefault("unknown_characters", {}), dict(found))
        batch = rows.batch(ids, self._schema)
        return batch if lengths.all() else batch.filter(pa.array(lengths > 0))

    def _tokenised(self, texts: list[str]) -> tuple[TokenRows, list[list[str]]]:
        """Tokenise documents; return their tokens, and what was unknown in each."""
        if not texts:
            return TokenRows.empty(), []
        encoded = self._encoder.encode(texts)
        # The ends of sentences count from the start of their document.
        first = np.searchsorted(encoded.sentence_ends, encoded.document_starts[:-1], side="right")
        first = np.append(first, len(encoded.sentence_ends))
        relative = encoded.sentence_ends - np.repeat(encoded.document_starts[:-1], np.diff(first))
        rows = TokenRows(encoded.ids, encoded.unit_starts, encoded.document_starts, relative, first)
        return rows, encoded.unknown_by_document()


def _batches(kept: pa.Table) -> Iterator[tuple[Hashes, list[str]]]:
    """Yield ids and texts, with the title as first line, in batches of not much more than BATCH_CHARACTERS."""
    ids = kept["id"].to_numpy()
    sizes = np.cumsum(pc.utf8_length(kept["text"]).to_numpy())
    # Cut after the document that reaches each multiple of BATCH_CHARACTERS.
    bounds = np.flatnonzero(np.diff(sizes // BATCH_CHARACTERS, prepend=0, append=-1)) if len(ids) else np.empty(0, np.int64)
    start = 0
    for end in np.unique(bounds + 1).clip(max=len(ids)).tolist():
        rows = kept.slice(start, end - start)
        titles, texts = rows["title"].to_pylist(), rows["text"].to_pylist()
        yield ids[start:end], [f"{title}\n{text}" if title else text for title, text in zip(titles, texts, strict=True)]
        start = end
