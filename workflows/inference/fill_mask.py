"""Fill-mask: predict the words that an exported encoder expects at [MASK].

    fill("my-nezha", ["他在[MASK][MASK]大学读书。"], 2)
    ->  [[{"text": "北京", "tokens": ["北", "京"], "probability": 0.31}, {"text": "清华", ...}]]

Adjacent masks are one word and are filled together, from left to right by beam search: the probability of a word is that of its
first token, times that of its second given the first, and so on. Masks that are not adjacent are separate words; each is
predicted while the others stay masked.
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
MIN_BEAM_WIDTH = 16
"""Minimum number of partial words that the beam search keeps."""
_LATIN = re.compile(r"[0-9A-Za-z\u00c0-\u024f]")


def fill(model_url: str, texts: Sequence[str], top: int) -> Iterator[list[list[Guess]]]:
    """Yield for each text, and each masked word in it, the `top` likeliest words. Special tokens are never predicted.

    Raises: TaskError if a text has no [MASK], before the model is loaded.
    """
    for number, text in enumerate(texts, start=1):
        if MASK not in text:
            line = f"line {number}: " if len(texts) > 1 else ""
            raise TaskError(f"{line}the text has no {MASK}; put it where a token is to be predicted: 中国的首都是{MASK}京。")
    from model.exporting.export import load_export
    from pipeline.tokenization.wordpiece import WordPieceEncoder

    network, _, tokens, rules = load_export(model_url)
    network.eval()
    vocab = Vocab(tuple(tokens))
    encoder = WordPieceEncoder(vocab, **rules)
    for text in texts:
        ids = encode(text, encoder, vocab)
        yield [beam(network, ids, masks, vocab, top) for masks in masked_words(ids, vocab)]


def encode(text: str, encoder: "WordPieceEncoder", vocab: Vocab) -> list[int]:
    """Return token ids with [CLS] and [SEP]. The text on either side of a mask is encoded separately."""
    ids = [vocab.cls_id]
    for number, encoded in enumerate(encoder.encode_batch(text.split(MASK))):
        ids += [vocab.mask_id] * bool(number) + [int(token) for token in encoded.ids]
    return [*ids, vocab.sep_id]


def masked_words(ids: Sequence[int], vocab: Vocab) -> list[list[int]]:
    """Return the positions of masks, adjacent ones together: [CLS] 他 在 [MASK] [MASK] 大 -> [[3, 4]]."""
    words: list[list[int]] = []
    for position, token in enumerate(ids):
        if token == vocab.mask_id:
            if words and words[-1][-1] == position - 1:
                words[-1].append(position)
            else:
                words.append([position])
    return words


def beam(network: "PretrainingModel", ids: Sequence[int], masks: Sequence[int], vocab: Vocab, top: int) -> list[Guess]:
    """Return the `top` likeliest words at the adjacent positions `masks`."""
    import torch

    specials = torch.tensor([vocab.ids[token] for token in SPECIALS])
    rows, scores = torch.tensor([ids]), torch.zeros(1)
    with torch.inference_mode():
        for position in masks:
            number, length = rows.shape
            # Scores of the next token for each partial word, (number, V).
            places = torch.arange(number) * length + position
            logits, _ = network(rows, torch.ones_like(rows, dtype=torch.bool), torch.zeros_like(rows), places)
            expected = logits.log_softmax(-1).index_fill(-1, specials, -torch.inf)
            total = (scores[:, None] + expected).flatten()
            # Keep the best of all continuations; on the last mask only those requested.
            last = position == masks[-1]
            kept = min(top if last else max(2 * top, MIN_BEAM_WIDTH), number * (len(vocab) - len(SPECIALS)))
            scores, best = total.topk(kept)
            rows = rows[best // len(vocab)]
            rows[:, position] = best % len(vocab)
    found = [[vocab.tokens[token] for token in row] for row in rows[:, list(masks)].tolist()]
    return [
        {"text": joined(tokens), "tokens": tokens, "probability": round(score, 6)}
        for tokens, score in zip(found, scores.exp().tolist(), strict=True)
    ]


def joined(tokens: Sequence[str]) -> str:
    """Join tokens as people write them: 北 京 -> 北京, new ##s -> news, ai 时 代 -> ai时代, big data -> big data."""
    text = ""
    for token in tokens:
        if token.startswith("##") and len(token) > 2:
            text += token[2:]
        else:
            space = text and _LATIN.match(text[-1]) and _LATIN.match(token)
            text += f" {token}" if space else token
    return text
