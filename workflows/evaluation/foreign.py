"""Tokenizers and limits of encoders that transformers loads.

A text is encoded by the model's own fast tokenizer, without truncation or special tokens. "[MASK]" in it is text. Items of a
tagged sentence are encoded one by one, as for our encoders, so that each has a token: a sentencepiece that is only the mark of
a word's beginning is left out before other tokens of an item.
"""

import contextlib
import importlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from model.finetuning.foreign import Foreign, first_line
from pipeline.errors import TaskError
from pipeline.tokenization.wordpiece import EncodedText

if TYPE_CHECKING:
    from transformers import PretrainedConfig

WORD_BEGINNINGS = ("\u2581", "\u0120")
"""Tokens of sentencepiece and of byte-level BPE that are a space alone."""
PROBE = ("一", "二")
BATCH = 1_000
"""Texts that are tokenized at once."""
_SURROGATES = re.compile("[\ud800-\udfff]")


def load_foreign(folder: str, untrained: bool) -> tuple[Foreign, "ForeignTokenizer", int]:
    """Load an encoder from a local folder: what fine-tuning starts from, its tokenizer, the most tokens that it reads.

    Raises: TaskError if transformers is missing, or cannot load it without running code of its own.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        transformers: Any = importlib.import_module("transformers")  # annotated in part
    except ImportError:
        raise TaskError(f"hf:{folder}: transformers is not installed; pip install -e '.[hf]' in a clone") from None
    transformers.logging.set_verbosity_error()
    with _one_line(folder, "configuration"):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if config.is_encoder_decoder or getattr(config, "is_decoder", False):
        raise TaskError(f"hf:{folder}: {config.model_type} is no encoder")
    with _one_line(folder, "tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if not tokenizer.is_fast:
        raise TaskError(f"hf:{folder}: it has no fast tokenizer (tokenizer.json), which maps tokens to characters")
    if len(tokenizer) > config.vocab_size:
        raise TaskError(f"hf:{folder}: the tokenizer has {len(tokenizer):,} tokens, the network {config.vocab_size:,}")
    cls, sep, separators = _special_tokens(folder, tokenizer)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    start = Foreign(folder, config, cls, sep, separators, padding, trained=not untrained)
    return start, ForeignTokenizer(tokenizer), longest_input(config, tokenizer)


class ForeignTokenizer:
    """A fast tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend: Any = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        ids = {self._backend.token_to_id(sign) for sign in WORD_BEGINNINGS}
        self._word_beginnings = {number for number in ids if number is not None}
        unknown = tokenizer.unk_token_id
        self._unknown = -1 if unknown is None else unknown

    def encode_batch(self, texts: Sequence[str]) -> list[EncodedText]:
        whole = [_SURROGATES.sub("\ufffd", text) for text in texts]
        found = []
        for begin in range(0, len(whole), BATCH):
            for encoding in self._backend.encode_batch(whole[begin : begin + BATCH], add_special_tokens=False):
                ids, offsets = np.array(encoding.ids, np.uint32), np.array(encoding.offsets, np.int32).reshape(-1, 2)
                if len(ids) > 1 and int(ids[0]) in self._word_beginnings:
                    ids, offsets = ids[1:], offsets[1:]
                found.append(EncodedText(ids, offsets, int(np.count_nonzero(ids == self._unknown))))
        return found


def longest_input(config: "PretrainedConfig", tokenizer: Any) -> int:
    """Return the most tokens that a model reads: by its positions, and by what its tokenizer says."""
    positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    if config.model_type in OFFSET_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    return int(min(positions, tokenizer.model_max_length))


OFFSET_POSITIONS = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "data2vec-text", "ibert", "esm", "xmod"}
    | {"roberta-prelayernorm"}
)
"""Types of models that number positions from the one after [PAD]'s id, as fairseq does: RoBERTa's 514 positions are 512."""


def _special_tokens(folder: str, tokenizer: Any) -> tuple[int, int, int]:
    """Return the ids of the tokens before and after a text, and how many of the latter are between two.

    Raises: TaskError if texts are framed in another way.
    """
    one, two = tokenizer(PROBE[0]), tokenizer(*PROBE)
    owners = two.encodings[0].sequence_ids
    ids = two["input_ids"]
    if (
        one.encodings[0].sequence_ids[0] is None
        and one.encodings[0].sequence_ids[-1] is None
        and owners.count(None) >= 3
        and (between := [ids[at] for at in range(owners.index(0), len(owners) - 1) if owners[at] is None])
        and {*between, ids[-1]} == {one["input_ids"][-1]}
        and one["input_ids"][0] == ids[0]
    ):
        return int(ids[0]), int(ids[-1]), len(between)
    raise TaskError(f"hf:{folder}: its tokenizer does not frame texts as [CLS] one [SEP] two [SEP], so it is no encoder")


@contextlib.contextmanager
def _one_line(folder: str, what: str) -> Iterator[None]:
    """Say in one line that something of a folder cannot be loaded."""
    try:
        yield
    except Exception as error:  # transformers raises what the reader of each file raises, down to bare Exceptions
        raise TaskError(f"hf:{folder}: transformers cannot load its {what}: {first_line(error)}") from error
