"""Fill-mask: what an exported encoder expects where a text has [MASK], a token or a whole word.

    fill("my-nezha", ["他在[MASK][MASK]大学读书。"], 2)
    ->  [[{"text": "北京", "tokens": ["北", "京"], "probability": 0.31}, {"text": "清华", ...}]]

Masks in a row are one word and are filled together, from left to right: the probability of a word is that of its first token,
times that of its second given the first, and so on. A beam keeps the best beginnings. Masks apart from one another are words of
their own; each is guessed while the others stay hidden.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.errors import TaskError
from pipeline.tokenization.vocab import MASK, SPECIALS, Vocab

if TYPE_CHECKING:
    from model.heads import PretrainingModel
    from pipeline.tokenization.wordpiece import WordPieceEncoder

Guess = dict[str, Any]
WIDTH = 16
"""Fewest beginnings of a word that are followed."""
_LATIN = re.compile(r"[0-9A-Za-z\u00c0-\u024f]")


def fill(model_url: str, texts: Sequence[str], top: int) -> Iterator[list[list[Guess]]]:
    """For each text, for each word of masks in it, the `top` likeliest words; special tokens are never guessed.

    Raises: TaskError when a text has no [MASK], before the model is opened.
    """
    for number, text in enumerate(texts, start=1):
        if MASK not in text:
            line = f"line {number}: " if len(texts) > 1 else ""
            raise TaskError(f"{line}the text has no {MASK}; write it where a token is to be guessed: 中国的首都是{MASK}京。")
    from model.exporting.export import load_export
    from pipeline.tokenization.wordpiece import WordPieceEncoder

    network, _, tokens, rules = load_export(model_url)
    network.eval()
    vocab = Vocab(tuple(tokens))
    encoder = WordPieceEncoder(vocab, **rules)
    for text in texts:
        ids = encode(text, encoder, vocab)
        yield [beam(network, ids, masks, vocab, top) for masks in words_of(ids, vocab)]


def encode(text: str, encoder: "WordPieceEncoder", vocab: Vocab) -> list[int]:
    """Tokens with [CLS] and [SEP]. Around each mask the text is encoded by itself, as a mask parts words."""
    ids = [vocab.cls_id]
    for number, encoded in enumerate(encoder.encode_batch(text.split(MASK))):
        ids += [vocab.mask_id] * bool(number) + [int(token) for token in encoded.ids]
    return [*ids, vocab.sep_id]


def words_of(ids: Sequence[int], vocab: Vocab) -> list[list[int]]:
    """Positions of masks, those in a row together: [CLS] 他 在 [MASK] [MASK] 大 -> [[3, 4]]."""
    words: list[list[int]] = []
    for position, token in enumerate(ids):
        if token == vocab.mask_id:
            if words and words[-1][-1] == position - 1:
                words[-1].append(position)
            else:
                words.append([position])
    return words


def beam(network: "PretrainingModel", ids: Sequence[int], masks: Sequence[int], vocab: Vocab, top: int) -> list[Guess]:
    """The likeliest words at `masks`, positions in a row."""
    import torch

    specials = torch.tensor([vocab.ids[token] for token in SPECIALS])
    rows, scores = torch.tensor([ids]), torch.zeros(1)
    with torch.inference_mode():
        for position in masks:
            number, length = rows.shape
            places = torch.arange(number) * length + position
            logits, _ = network(rows, torch.ones_like(rows, dtype=torch.bool), torch.zeros_like(rows), places)
            expected = logits.log_softmax(-1).index_fill(-1, specials, -torch.inf)
            total = (scores[:, None] + expected).flatten()
            last = position == masks[-1]
            kept = min(top if last else max(2 * top, WIDTH), number * (len(vocab) - len(SPECIALS)))
            scores, best = total.topk(kept)
            rows = rows[best // len(vocab)]
            rows[:, position] = best % len(vocab)
    found = [[vocab.tokens[token] for token in row] for row in rows[:, list(masks)].tolist()]
    return [
        {"text": joined(tokens), "tokens": tokens, "probability": round(score, 6)}
        for tokens, score in zip(found, scores.exp().tolist(), strict=True)
    ]


def joined(tokens: Sequence[str]) -> str:
    """Tokens as a person writes them: 北 京 -> 北京, new ##s -> news, ai 时 代 -> ai时代, big data -> big data."""
    text = ""
    for token in tokens:
        if token.startswith("##") and len(token) > 2:
            text += token[2:]
        else:
            apart = text and _LATIN.match(text[-1]) and _LATIN.match(token)
            text += f" {token}" if apart else token
    return text
