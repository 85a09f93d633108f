"""Adding tokens to an encoder: each starts as the mean of the old tokens that its text was split into.

    covid is new, was co ##vid      its embedding is the mean of both, and so is its bias
    鑫 is new, was [UNK]            the mean of all embeddings, plus a little noise so that two such tokens differ

Old tokens keep their ids; new ones follow in the order of the file.
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
"""Standard deviation of the noise, relative to that of the old embeddings."""


@dataclass(frozen=True)
class Extension:
    """The result of adding the tokens of a file."""

    added: int
    composed: int
    """Added tokens that are means of old tokens; the others are means of all."""
    known: int
    """Tokens that the vocabulary already had."""
    unreachable: tuple[str, ...]
    """Added tokens that no text becomes, because BERT's rules split it into smaller words first."""

    def notes(self) -> list[str]:
        """Return notes for the user."""
        rest = self.added - self.composed
        notes = [f"added {self.added:,} tokens: {self.composed:,} start as means of old tokens, {rest:,} as the mean of all"]
        notes += [f"{self.known:,} tokens of the file were already in the vocabulary"] if self.known else []
        if self.unreachable:
            some = " ".join(self.unreachable[:5])
            notes.append(
                f"{len(self.unreachable):,} of them ({some}) can never occur: ideographs and punctuation are always split off"
            )
        return notes


def read_tokens(data: bytes, name: str) -> list[str]:
    """Read the tokens of a file, one per line. Raises: CorpusError if it is not UTF-8, or has blank or repeated lines."""
    try:
        tokens = data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8; save it as UTF-8, one token per line") from error
    for number, token in enumerate(tokens, start=1):
        if not token.removeprefix("##") or any(character.isspace() for character in token):
            raise CorpusError(f"{name}: line {number} is blank or contains a space; every line must be one token")
    if len(set(tokens)) < len(tokens):
        twice = next(token for number, token in enumerate(tokens) if token in tokens[:number])
        raise CorpusError(f"{name}: {twice!r} occurs twice; list every token once")
    return tokens


def extended(weights: Weights, tokens: Sequence[str], seed: int = 12_345) -> tuple[Weights, Extension]:
    """Return the weights with more tokens. `seed` determines the noise of tokens that consist of no old tokens."""
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
    """Return rows (new tokens, ...) to append to `old` (old tokens, ...); `parts` are the old ids of each new token."""
    rows = old.new_empty((len(parts), *old.shape[1:]))
    mean, deviation = old.mean(0), old.std(0)
    for number, ids in enumerate(parts):
        noise = torch.randn(old.shape[1:], generator=generator) * NOISE * deviation
        rows[number] = old[list(ids)].mean(0) if ids else mean + noise
    return rows


def _old_ids(token: str, vocab: Vocab, tokenizer: Tokenizer) -> list[int]:
    """Return the ids that the old tokenizer splits a token into, without [UNK]: `covid` -> co ##vid, `##ing` -> ##in ##g."""
    body = token.removeprefix("##")
    parts = tokenizer.encode(body, add_special_tokens=False).tokens
    if body != token and parts:
        inside = f"##{parts[0]}"
        parts[0] = inside if inside in vocab.ids else parts[0]
    return [vocab.ids[part] for part in parts if vocab.ids[part] != vocab.unk_id]


def _reachable(token: str, tokenizer: Tokenizer) -> bool:
    """Return whether any text can become this token: BERT's rules must leave it unchanged, as one word."""
    body = token.removeprefix("##")
    text = body if body == token else f"a{body}"
    words = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]
    return words == [text]
