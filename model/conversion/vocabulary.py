"""New tokens for an old encoder: each begins as the mean of the old tokens that its text was read as until now.

    covid is new, the old vocabulary read co ##vid      its embedding is the mean of both, and so is its bias
    鑫 is new, the old vocabulary read [UNK]            the mean of all, and a little noise, so that two such tokens differ

Ids of old tokens stay; new ones come after them, in the order of the file.
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
    """What became of the tokens of a file."""

    added: int
    composed: int
    """Of these, how many are means of old tokens; the others had none."""
    known: int
    """Tokens that were there already."""
    unreachable: tuple[str, ...]
    """Added, but no text ever becomes them: BERT's rules cut it into smaller ones first."""

    def notes(self) -> list[str]:
        """For people to read."""
        rest = self.added - self.composed
        told = [f"added {self.added:,} tokens: {self.composed:,} begin as means of old tokens, {rest:,} as the mean of all"]
        told += [f"{self.known:,} tokens of the file were there already"] if self.known else []
        if self.unreachable:
            some = " ".join(self.unreachable[:5])
            told.append(f"no text becomes {len(self.unreachable):,} of them ({some}): ideographs and signs stand alone")
        return told


def read_tokens(data: bytes, name: str) -> list[str]:
    """The tokens of a file, one a line. `CorpusError` when it is not UTF-8, has blanks, or names one twice."""
    try:
        tokens = data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8; save it as UTF-8, one token a line") from error
    for number, token in enumerate(tokens, start=1):
        if not token.removeprefix("##") or any(character.isspace() for character in token):
            raise CorpusError(f"{name}: line {number} is blank or has a space in it; every line must be one token")
    if len(set(tokens)) < len(tokens):
        twice = next(token for number, token in enumerate(tokens) if token in tokens[:number])
        raise CorpusError(f"{name}: {twice!r} is there twice; name every token once")
    return tokens


def extended(weights: Weights, tokens: Sequence[str], seed: int = 12_345) -> tuple[Weights, Extension]:
    """The weights with more tokens. The seed decides the noise of tokens that nothing is known of."""
    old = weights.vocab
    new = [token for token in tokens if token not in old.ids]
    tokenizer = build_tokenizer(old, weights.do_lower_case, weights.map_punctuation)
    parts = [_old_ids(token, old, tokenizer) for token in new]
    generator = torch.Generator().manual_seed(seed)
    tensors = dict(weights.tensors)
    for name in (names.WORDS, names.BIAS):
        if name in tensors:
            tensors[name] = torch.cat((tensors[name], _rows(tensors[name], parts, generator)))
    unreachable = tuple(token for token in new if not _reachable(token, tokenizer))
    result = replace(weights, tensors=tensors, vocab=Vocab((*old.tokens, *new)))
    extension = Extension(len(new), sum(map(bool, parts)), len(tokens) - len(new), unreachable)
    return replace(result, notes=[*weights.notes, *extension.notes()]), extension


def _rows(old: Tensor, parts: Sequence[Sequence[int]], generator: torch.Generator) -> Tensor:
    """(new tokens, ...) in the form of `old` (old tokens, ...)."""
    rows = old.new_empty((len(parts), *old.shape[1:]))
    mean, deviation = old.mean(0), old.std(0)
    for number, ids in enumerate(parts):
        noise = torch.randn(old.shape[1:], generator=generator) * NOISE * deviation
        rows[number] = old[list(ids)].mean(0) if ids else mean + noise
    return rows


def _old_ids(token: str, vocab: Vocab, tokenizer: Tokenizer) -> list[int]:
    """What the old tokenizer makes of a token, without [UNK]: `covid` -> co ##vid, `##ing` -> ##in ##g."""
    body = token.removeprefix("##")
    parts = tokenizer.encode(body, add_special_tokens=False).tokens
    if body != token and parts:
        inside = f"##{parts[0]}"
        parts[0] = inside if inside in vocab.ids else parts[0]
    return [vocab.ids[part] for part in parts if vocab.ids[part] != vocab.unk_id]


def _reachable(token: str, tokenizer: Tokenizer) -> bool:
    """Whether a text can become this token: it is one word for BERT's rules, as they leave it."""
    body = token.removeprefix("##")
    text = body if body == token else f"a{body}"
    words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]
    return words == [text]
