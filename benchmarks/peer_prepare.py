"""Peer of `prepare`: a plain script that makes the same kind of examples with jieba and the BERT tokenizer, in one process.

    python peer_prepare.py corpus.jsonl vocab.txt examples.arrow        {"documents": 9120, "rows": 31207, "tokens": 2801442}

What one would write for a Chinese BERT: read JSON lines, drop exact duplicates, split sentences with a regular expression,
segment words with jieba, tokenize with transformers' BertTokenizerFast (one call per document), match words and tokens by their
offsets, make pairs as in BERT's create_pretraining_data.py, mask 15 % (80/10/10) once, shuffle, write Arrow IPC.
All documents are in memory, as in BERT's script. Imports nothing of this project.
"""

import hashlib
import json
import logging
import random
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jieba
import pyarrow as pa
from transformers.models.bert.tokenization_bert_fast import BertTokenizerFast

LENGTH = 128
SHORT_SEQ_PROB = 0.1
MASKED_LM_PROB = 0.15
BATCH_ROWS = 1024
SENTENCE = re.compile(r"[^。！？；…\n]+[。！？；…]*[”’」』）】]*")
SCHEMA = pa.schema(
    {
        "input_ids": pa.list_(pa.uint16()),
        "second_start": pa.uint16(),
        "pair_label": pa.uint8(),
        "mask_positions": pa.list_(pa.uint16()),
        "mask_labels": pa.list_(pa.uint16()),
    }
)


class Vocabulary(NamedTuple):
    """Ids of special tokens and the vocabulary size, read once: the length of a tokenizer alone takes a millisecond."""

    cls: int
    sep: int
    mask: int
    size: int


class Tokens(NamedTuple):
    """The tokens of one or more consecutive sentences."""

    ids: list[int]
    starts: list[bool]
    """True for the first token of a word."""


def main(corpus: str, vocabulary: str, output: str) -> None:
    jieba.setLogLevel(logging.WARNING)
    tokenizer = BertTokenizerFast(vocab_file=vocabulary, do_lower_case=True)
    special = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.mask_token_id
    vocab = Vocabulary(*special, len(tokenizer))
    rng = random.Random(12345)
    documents = [sentences(text, tokenizer) for text in read(corpus)]
    documents = [document for document in documents if document]
    rng.shuffle(documents)
    rows = [row(*example, vocab, rng) for index in range(len(documents)) for example in pairs(documents, index, rng)]
    rng.shuffle(rows)
    with pa.OSFile(output, "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for start in range(0, len(rows), BATCH_ROWS):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[start : start + BATCH_ROWS], schema=SCHEMA))
    tokens = sum(len(one["input_ids"]) for one in rows)
    print(json.dumps({"documents": len(documents), "rows": len(rows), "tokens": tokens}))


def read(corpus: str) -> Iterator[str]:
    """Yield the texts, without exact duplicates."""
    seen = set()
    with open(corpus, encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            text = f"{record['title']}\n{record['content']}".strip()
            digest = hashlib.md5(text.encode()).digest()
            if digest not in seen:
                seen.add(digest)
                yield text


def sentences(text: str, tokenizer: BertTokenizerFast) -> list[Tokens]:
    """Return the tokens of each sentence, with word starts."""
    found = [stripped for sentence in SENTENCE.findall(text) if (stripped := sentence.strip())]
    if not found:
        return []
    encoded = tokenizer(found, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False)
    result = []
    for sentence, ids, offsets in zip(found, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        word_of: list[int] = []
        for number, word in enumerate(jieba.cut(sentence)):
            word_of += [number] * len(word)
        words = [word_of[start] for start, _ in offsets]
        starts = [place == 0 or words[place] != words[place - 1] for place in range(len(words))]
        if ids:
            result.append(Tokens(ids, starts))
    return result


def pairs(documents: list[list[Tokens]], index: int, rng: random.Random) -> Iterator[tuple[Tokens, Tokens, int]]:
    """Yield A, B and the label, as in BERT's create_instances_from_document."""
    document, room = documents[index], LENGTH - 3
    target = rng.randint(2, room) if rng.random() < SHORT_SEQ_PROB else room
    chunk: list[Tokens] = []
    place = size = 0
    while place < len(document):
        chunk.append(document[place])
        size += len(document[place].ids)
        if place == len(document) - 1 or size >= target:
            parted = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
            first = joined(chunk[:parted])
            random_next = len(chunk) == 1 or rng.random() < 0.5
            if random_next:
                other = documents[rng.randrange(len(documents))]
                start = rng.randrange(len(other))
                second: list[Tokens] = []
                for sentence in other[start:]:
                    second.append(sentence)
                    if sum(len(one.ids) for one in second) >= target - len(first.ids):
                        break
                place -= len(chunk) - parted  # what was not used goes into the next pair
            else:
                second = chunk[parted:]
            yield *truncated(first, joined(second), room, rng), int(random_next)
            chunk, size = [], 0
        place += 1


def joined(parts: list[Tokens]) -> Tokens:
    return Tokens([i for part in parts for i in part.ids], [start for part in parts for start in part.starts])


def truncated(first: Tokens, second: Tokens, room: int, rng: random.Random) -> tuple[Tokens, Tokens]:
    """Remove tokens from the longer one, at a random end, until both fit (BERT's truncate_seq_pair)."""
    while len(first.ids) + len(second.ids) > room:
        longer = first if len(first.ids) > len(second.ids) else second
        end = 0 if rng.random() < 0.5 else -1
        del longer.ids[end], longer.starts[end]
    return first, second


def row(first: Tokens, second: Tokens, label: int, vocab: Vocabulary, rng: random.Random) -> dict[str, Any]:
    """Return [CLS] A [SEP] B [SEP] with whole words masked (BERT's create_masked_lm_predictions)."""
    ids = [vocab.cls, *first.ids, vocab.sep, *second.ids, vocab.sep]
    starts = [True, *first.starts, True, *second.starts, True]
    words: list[list[int]] = []
    for place, (token, start) in enumerate(zip(ids, starts, strict=True)):
        if token in (vocab.cls, vocab.sep):
            continue
        if start or not words:
            words.append([place])
        else:
            words[-1].append(place)
    rng.shuffle(words)
    budget = max(1, round(len(ids) * MASKED_LM_PROB))
    positions: list[int] = []
    for word in words:
        if len(positions) >= budget:
            break
        if len(positions) + len(word) <= budget:
            positions += word
    positions.sort()
    labels = [ids[place] for place in positions]
    for place in positions:
        chance = rng.random()
        if chance < 0.8:
            ids[place] = vocab.mask
        elif chance < 0.9:
            ids[place] = rng.randrange(vocab.size)
    return {
        "input_ids": ids,
        "second_start": len(first.ids) + 2,
        "pair_label": label,
        "mask_positions": positions,
        "mask_labels": labels,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
