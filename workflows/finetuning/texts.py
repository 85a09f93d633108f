"""Read what contrastive fine-tuning learns from, as token ids.

    texts.txt              今天天气很好。                                                       each text is its own positive
    lcqmc/train.tsv        text_a  text_b  label            labels 1 and 0                      pairs, as tasks have them
    ocnli/train.50k.json   {"sentence1": ..., "sentence2": ..., "label": "entailment"}          entailment and contradiction
    triplets.jsonl         {"anchor": ..., "positive": ..., "negative": ...}                    negative may be missing

A positive pair is an anchor and its positive. A negative pair gives its first text a hard negative: one that has a positive
takes it along, one that has none is its own positive.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline import storage
from pipeline.errors import CorpusError, TaskError
from pipeline.sources.inputs import expand
from workflows.evaluation.examples import read_text
from workflows.evaluation.formats.reading import read_pairs
from workflows.inference.text_inputs import read_chunks

if TYPE_CHECKING:
    from model.finetuning.contrastive import Triple
    from model.finetuning.windows import Frame
    from pipeline.arrays import Ints
    from pipeline.tokenization.wordpiece import WordPieceEncoder

POSITIVE, NEGATIVE = ("1", "entailment"), ("0", "contradiction")
"""Labels of pairs that mean the same, and of pairs that do not."""
UNUSED = ("neutral",)
"""Labels of pairs that say neither."""


@dataclass
class Counts:
    """What was read, and what is left out."""

    read: int = 0
    """Texts, or pairs of texts."""
    unused: int = 0
    """Pairs whose label says neither."""
    empty: int = 0
    """Texts without a token, or pairs with such a text."""
    duplicates: int = 0
    """Texts that are there already, once they are cut."""
    cut: int = 0
    """Texts that are longer than the maximum, and lose their end."""

    def __str__(self) -> str:
        words = {"unused": "of other labels", "empty": "empty", "duplicates": "duplicates", "cut": "cut"}
        found = {words[name]: number for name, number in asdict(self).items() if name in words and number}
        return f"{self.read:,} read" + "".join(f", {number:,} {word}" for word, number in found.items())


@dataclass
class Tokens:
    """Texts as the network reads them."""

    encoder: "WordPieceEncoder"
    frame: "Frame"
    counts: Counts = field(default_factory=Counts)

    def ids(self, texts: Sequence[str]) -> "list[Ints | None]":
        """Return each text between [CLS] and [SEP]; None for one without a token."""
        found: list[Ints | None] = []
        for one in self.encoder.encode_batch([text.replace("\n", " ") for text in texts]):
            self.counts.cut += len(one.ids) > self.frame.room
            ids = one.ids[: self.frame.room].astype(np.int64)
            found.append(self.frame.around(ids) if len(ids) else None)
        return found


def read_texts(inputs: Sequence[str], column: str, sentences: bool, tokens: Tokens) -> "list[Triple]":
    """Return the distinct texts of some files; with `sentences`, their sentences.

    Raises: CorpusError for a file that cannot be read, and if there are not two texts.
    """
    from model.finetuning.contrastive import Triple

    seen: dict[bytes, Ints] = {}
    for chunk in read_chunks(expand(inputs), column, None):
        texts = [sentence for text in chunk.texts for sentence in _sentences(text)] if sentences else chunk.texts
        tokens.counts.read += len(texts)
        for ids in tokens.ids(texts):
            if ids is None:
                tokens.counts.empty += 1
            elif (content := ids.tobytes()) in seen:
                tokens.counts.duplicates += 1
            else:
                seen[content] = ids
    if len(seen) < 2:
        raise CorpusError(f"{', '.join(inputs)}: {tokens.counts}; at least two different texts are needed, better thousands")
    return [Triple(ids) for ids in seen.values()]


def read_pair_files(urls: Sequence[str], tokens: Tokens) -> "list[Triple]":
    """Return the pairs of some files.

    Raises: TaskError naming file and line, for labels that are not known, and if there are not two pairs.
    """
    from model.finetuning.contrastive import Triple

    rows = [row for url in urls for row in _rows(url, tokens.counts)]
    texts = list(dict.fromkeys(text for row in rows for text in row if text is not None))
    ids = {text: found for text, found in zip(texts, tokens.ids(texts), strict=True) if found is not None}
    triples = []
    for row in rows:
        if all(text is None or text in ids for text in row):
            anchor, positive, negative = row
            triples.append(
                Triple(ids[anchor], None if positive is None else ids[positive], None if negative is None else ids[negative])
            )
        else:
            tokens.counts.empty += 1
    if len(triples) < 2:
        raise TaskError(f"{', '.join(urls)}: {tokens.counts}; at least two pairs are needed, better thousands")
    return triples


Row = tuple[str, str | None, str | None]
"""An anchor, its positive and its hard negative. Without a positive, the anchor is its own."""


def _rows(url: str, counts: Counts) -> Iterator[Row]:
    if ".json" in storage.base_name(url):
        first = next((line for line in read_text(url).split("\n") if line.strip()), "")
        if '"anchor"' in first:
            return _triplets(url, counts)
    return _labelled(url, counts)


def _triplets(url: str, counts: Counts) -> Iterator[Row]:
    """Yield the rows of a file of JSON lines that names anchors, positives and negatives."""
    for number, line in enumerate(read_text(url).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                anchor, positive, negative = row["anchor"], row["positive"], row.get("negative")
            except (ValueError, KeyError, AttributeError, TypeError):
                anchor = positive = negative = None
            if not (isinstance(anchor, str) and isinstance(positive, str) and isinstance(negative, str | None)):
                raise TaskError(
                    f"{url}, line {number}: expected an object with anchor, positive and perhaps negative: {line[:40]!r}"
                )
            counts.read += 1
            yield anchor, positive, negative


def _labelled(url: str, counts: Counts) -> Iterator[Row]:
    """Yield the rows of a file of labelled pairs, as tasks have them."""
    positives: list[tuple[str, str]] = []
    negatives: dict[str, list[str]] = defaultdict(list)
    for example in read_pairs(url):
        (first, second), label = example.items, example.labels[0]
        counts.read += 1
        if label in POSITIVE:
            positives.append((first, second))
        elif label in NEGATIVE:
            negatives[first].append(second)
        elif label in UNUSED:
            counts.unused += 1
        else:
            known = ", ".join((*POSITIVE, *NEGATIVE, *UNUSED))
            raise TaskError(
                f"{url}: label {label!r} says neither that texts mean the same nor that they do not; known: {known}"
            )
    for first, second in positives:
        yield first, second, negatives[first].pop(0) if negatives[first] else None
    for first, others in negatives.items():
        for other in others:
            yield first, None, other


def _sentences(text: str) -> Iterator[str]:
    from pipeline.tokenization.sentences import sentence_ends

    start = 0
    for end in sentence_ends(text).tolist():
        if sentence := text[start:end].strip():
            yield sentence
        start = end
