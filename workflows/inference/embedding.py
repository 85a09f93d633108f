"""Sentence vectors: read texts and write one vector per text, in the same order, to a Parquet file.

    embed("my-nezha", ["news.jsonl.gz"], "s3://bucket/vectors.parquet", EmbedConfig(text="content", id="news_id"))

    news_id (as it was)   vector (fixed_size_list of D float32)
    1047                  [0.031, -0.114, ...]
    1048                  [0.027, ...]

Inputs are Parquet files, JSON lines or plain text with one text per line, compressed (gz, bz2, xz, zst) or not, at any fsspec
URL. A vector is the mean of the last hidden states of all tokens, [CLS] and [SEP] included, or the last hidden state of [CLS]:
whichever was tuned, if one was. By default it is scaled to length 1. Texts of a chunk are sorted by length, so that batches
need little padding. The same inputs give the same bytes.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline import locks, storage
from pipeline.engine.execution import Report, silent
from pipeline.errors import CorpusError
from pipeline.sources.inputs import expand
from workflows.inference.text_inputs import read_chunks

if TYPE_CHECKING:
    import numpy as np

    from model.finetuning.vectors import Pooling
    from model.finetuning.windows import Frame
    from model.heads import Body
    from pipeline.tokenization.wordpiece import EncodedText


VECTOR = "vector"
"""Column of the output."""


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Settings of `embed`."""

    text: str = "text"
    """Column or field that contains the text; ignored for plain text."""
    id: str | None = None
    """Column or field to keep as the id of each vector; None = number the texts from 0, as column `id`."""
    pooling: Literal["auto", "mean", "cls"] = "auto"
    """Vector of a text: the mean over its tokens, or the vector of [CLS]; auto: the one that `finetune` tuned, otherwise the
    mean."""
    normalise: bool = True
    """Whether vectors are scaled to length 1."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type to compute in."""
    max_length: int = 512
    """Maximum number of tokens per text, [CLS] and [SEP] included. Longer texts are cut off and counted."""
    batch_tokens: int = 8_192
    """Maximum number of tokens per batch, padding included."""


def embed(model_url: str, inputs: Sequence[str], output: str, config: EmbedConfig, report: Report = silent) -> dict[str, int]:
    """Write the vectors; return the number of texts, the number that were cut off, and the width of a vector.

    Raises: CorpusError for an input that cannot be read or lacks the column, or that the output would replace; CheckpointError
    if `model_url` is not a model; StorageError if another call is writing the output.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from model.exporting.export import load_export
    from model.finetuning.windows import Frame
    from pipeline.tokenization.vocab import Vocab
    from pipeline.tokenization.wordpiece import WordPieceEncoder

    files = expand(inputs)
    if storage.absolute(output) in {storage.absolute(file.url) for file in files}:
        raise CorpusError(f"{output}: an input, which the vectors would replace; choose another output")
    if config.id == VECTOR:
        raise CorpusError(f"--id {VECTOR}: the vectors themselves have this name; rename the column")
    network, encoder_config, tokens, rules = load_export(model_url)
    vocab = Vocab(tuple(tokens))
    config = replace(config, pooling=pooling_of(model_url, config.pooling))
    frame = Frame(vocab.cls_id, vocab.sep_id, config.max_length)
    encoder = Embedder(network.nezha, WordPieceEncoder(vocab, **rules), frame, config)
    width = encoder_config.hidden_size
    settings = {name: str(getattr(config, name)) for name in ("pooling", "normalise", "precision", "max_length")}
    writer = schema = None
    done = 0
    # The writer writes when it is closed, so it is closed before the file, whatever ends the block.
    with _alone(output), storage.open_write(output) as target, contextlib.ExitStack() as closing:
        for chunk in read_chunks(files, config.text, config.id):
            if writer is None or schema is None:
                fields = [(config.id or "id", chunk.ids.type), (VECTOR, pa.list_(pa.float32(), width))]
                schema = pa.schema(fields, {"nezha-pipe": json.dumps(settings, sort_keys=True)})
                try:
                    writer = closing.enter_context(pq.ParquetWriter(target, schema, compression="zstd"))
                except pa.ArrowNotImplementedError as error:  # objects without fields
                    raise CorpusError(
                        f"column {config.id!r} has type {chunk.ids.type}, which Parquet has not; use text"
                    ) from error
            if chunk.ids.type != schema.field(0).type:
                raise CorpusError(
                    f"column {config.id!r} has type {schema.field(0).type} first and {chunk.ids.type} later; use one type"
                )
            flat = pa.array(encoder.vectors(chunk.texts).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(flat, width)
            writer.write_table(pa.Table.from_arrays([chunk.ids, vectors], schema=schema))
            done += len(chunk.texts)
            report(done, 0, f"{done:,} texts")
        if writer is None:
            raise CorpusError(f"{', '.join(inputs)}: no text found in these files")
    return {"texts": done, "cut": encoder.cut, "width": width}


@contextlib.contextmanager
def _alone(output: str) -> Iterator[None]:
    """Keep other calls from writing the same local file, and remove what a killed one left of it."""
    if not storage.is_local(output):
        yield
        return
    with locks.locked(storage.join(storage.parent(storage.absolute(output)), f".{storage.base_name(output)}.lock")):
        storage.remove_unfinished_file(output)
        yield


def pooling_of(model_url: str, wanted: Literal["auto", "mean", "cls"] = "auto") -> "Pooling":
    """Return the pooling that was asked for; for `auto` the one that the export's vectors were tuned with, or else the mean."""
    from model.exporting.export import SENTENCE_POOLING

    if wanted != "auto":
        return wanted
    url = storage.join(model_url, SENTENCE_POOLING)
    tuned = storage.read_json(url) if storage.exists(url) else {}
    return "cls" if isinstance(tuned, dict) and tuned.get("pooling_mode_cls_token") else "mean"


class Tokenizer(Protocol):
    """Text to tokens."""

    def encode_batch(self, texts: Sequence[str]) -> "list[EncodedText]":
        """Encode each text by itself, without special tokens."""


class Embedder:
    """Turn texts into vectors with a network."""

    def __init__(self, body: "Body", encoder: Tokenizer, frame: "Frame", config: EmbedConfig) -> None:
        """Take an encoder, its tokenizer, and the frame of its texts, which has their longest length."""
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        assert isinstance(body, torch.nn.Module)
        body.eval().to(self.device)
        self.body, self.encoder, self.frame, self.config = body, encoder, frame, config
        self.cut = 0
        """Number of texts that were longer than `max_length`."""

    def vectors(self, texts: Sequence[str]) -> "np.ndarray[Any, Any]":
        """Return the vectors of some texts: (N, D) float32."""
        import numpy as np

        encoded = [one.ids for one in self.encoder.encode_batch([text.replace("\n", " ") for text in texts])]
        self.cut += sum(len(ids) > self.frame.room for ids in encoded)
        rows = [self.frame.around(ids[: self.frame.room].astype(np.int64)) for ids in encoded]
        result = np.empty((len(rows), self.body.config.hidden_size), np.float32)
        for batch in batches([len(row) for row in rows], self.config.batch_tokens):
            result[batch] = self._pooled([rows[index] for index in batch])
        return result

    def _pooled(self, rows: Sequence[Any]) -> "np.ndarray[Any, Any]":
        """Return the vectors of one batch: (N, D). `rows` are N arrays of token ids."""
        import torch
        import torch.nn.functional as F

        from model.finetuning.vectors import pool
        from model.finetuning.windows import padded

        ids = torch.from_numpy(padded(rows, 0)).to(self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.config.precision == "bf16"):
            hidden = self.body(ids, mask, torch.zeros_like(ids)).float()
        pooled = pool(hidden, mask, "cls" if self.config.pooling == "cls" else "mean")
        pooled = F.normalize(pooled, dim=-1) if self.config.normalise else pooled
        array: np.ndarray[Any, Any] = pooled.cpu().numpy()
        return array


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield batches of indices of texts of similar length, longest first.

    A batch has at most `tokens` tokens, padding included, or a single text.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
