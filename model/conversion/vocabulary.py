"""New pieces for an old encoder: each begins as the mean of the old pieces that its text was read as until now.

    covid is new, the old vocabulary read co ##vid      its embedding is the mean of both, and so is its bias
    鑫 is new, the old vocabulary read [UNK]            the mean of all, and a little noise, so that two such pieces differ

Ids of old pieces stay; new ones come after them, in the order of the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from model.conversion import names
from model.conversion.reading import Weights
from pipeline.errors import CorpusError
from pipeline.tokenization.vocab import Vocab
from pipeline.tokenization.wordpiece import build_tokenizer

NOISE = 0.1
"""Standard deviation of the noise, in that of the old embeddings."""


@dataclass(frozen=True)
class Extension:
    """What became of the pieces of a file."""

    added: int
    composed: int
    """Of these, how many are means of old pieces; the others had none."""
    known: int
    """Pieces that were there already."""
    unreachable: tuple[str, ...]
    """Added, but no text ever becomes them: BERT's rules cut it into smaller ones first."""

    def notes(self) -> list[str]:
        """For people to read."""
        rest = self.added - self.composed
        told = [f"added {self.added:,} pieces: {self.composed:,} begin as means of old pieces, {rest:,} as the mean of all"]
        told += [f"{self.known:,} pieces of the file were there already"] if self.known else []
        if self.unreachable:
            some = " ".join(self.unreachable[:5])
            told.append(f"no text becomes {len(self.unreachable):,} of them ({some}): ideographs and signs stand alone")
        return told


def read_pieces(data: bytes, name: str) -> list[str]:
    """The pieces of a file, one a line. `CorpusError` when it is not UTF-8, has blanks, or names one twice."""
    try:
        pieces = data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8; save it as UTF-8, one piece a line") from error
    for number, piece in enumerate(pieces, start=1):
        if not piece.removeprefix("##") or any(character.isspace() for character in piece):
            raise CorpusError(f"{name}: line {number} is blank or has a space in it; every line must be one piece")
    if len(set(pieces)) < len(pieces):
        twice = next(piece for number, piece in enumerate(pieces) if piece in pieces[:number])
        raise CorpusError(f"{name}: {twice!r} is there twice; name every piece once")
    return pieces


def extended(weights: Weights, pieces: Sequence[str], seed: int = 12_345) -> tuple[Weights, Extension]:
    """The weights with more pieces. The seed decides the noise of pieces that nothing is known of."""
    old = weights.vocab
    new = [piece for piece in pieces if piece not in old.ids]
    tokenizer = build_tokenizer(old, weights.do_lower_case, weights.map_punctuation)
    parts = [_old_ids(piece, old, tokenizer) for piece in new]
    generator = torch.Generator().manual_seed(seed)
    tensors = dict(weights.tensors)
    for name in (names.WORDS, names.BIAS):
        if name in tensors:
            tensors[name] = torch.cat((tensors[name], _rows(tensors[name], parts, generator)))
    unreachable = tuple(piece for piece in new if not _reachable(piece, tokenizer))
    result = replace(weights, tensors=tensors, vocab=Vocab((*old.pieces, *new)))
    extension = Extension(len(new), sum(map(bool, parts)), len(pieces) - len(new), unreachable)
    return replace(result, notes=[*weights.notes, *extension.notes()]), extension


def _rows(old: Tensor, parts: Sequence[Sequence[int]], generator: torch.Generator) -> Tensor:
    """(new pieces, ...) in the form of `old` (old pieces, ...)."""
    rows = old.new_empty((len(parts), *old.shape[1:]))
    mean, deviation = old.mean(0), old.std(0)
    for number, ids in enumerate(parts):
        noise = torch.randn(old.shape[1:], generator=generator) * NOISE * deviation
        rows[number] = old[list(ids)].mean(0) if ids else mean + noise
    return rows


def _old_ids(piece: str, vocab: Vocab, tokenizer: Tokenizer) -> list[int]:
    """What the old tokenizer makes of a piece, without [UNK]: `covid` -> co ##vid, `##ing` -> ##in ##g."""
    body = piece.removeprefix("##")
    tokens = tokenizer.encode(body, add_special_tokens=False).tokens
    if body != piece and tokens:
        inside = f"##{tokens[0]}"
        tokens[0] = inside if inside in vocab.ids else tokens[0]
    return [vocab.ids[token] for token in tokens if vocab.ids[token] != vocab.unk_id]


def _reachable(piece: str, tokenizer: Tokenizer) -> bool:
    """Whether a text can become this piece: it is one word for BERT's rules, as they leave it."""
    body = piece.removeprefix("##")
    text = body if body == piece else f"a{body}"
    words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]
    return words == [text]
