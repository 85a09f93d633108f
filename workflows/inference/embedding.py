"""Sentence vectors: texts in, a Parquet file of one vector a text out, in the order of the texts.

    embed("my-nezha", ["news.jsonl.gz"], "s3://bucket/vectors.parquet", EmbedConfig(text="content", id="news_id"))

    news_id (as it was)   vector (fixed_size_list of D float32)
    1047                  [0.031, -0.114, ...]
    1048                  [0.027, ...]

Inputs are Parquet files, JSON lines, or plain text with a text a line, packed (gz, bz2, xz, zst) or not, at any fsspec URL. A
vector is the mean of the last hidden states of all tokens, [CLS] and [SEP] among them, or that of [CLS]; then of length 1, if
wanted. Texts of a stretch are sorted by length, so that batches hold little padding. Equal inputs give equal bytes.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline import storage
from pipeline.engine.stages import Report, silent
from pipeline.errors import CorpusError
from pipeline.sources.inputs import expand
from workflows.inference.text_inputs import stretches

if TYPE_CHECKING:
    import numpy as np

    from model.heads import PretrainingModel
    from pipeline.tokenization.vocab import Vocab
    from pipeline.tokenization.wordpiece import WordPieceEncoder


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """What vectors are made of, and how."""

    text: str = "text"
    """Column or field that holds the text; of no meaning for plain text."""
    id: str | None = None
    """Column or field that is kept beside the vector; None: the number of the text, from 0, as column `id`."""
    pooling: Literal["mean", "cls"] = "mean"
    normalise: bool = True
    precision: Literal["fp32", "bf16"] = "fp32"
    max_length: int = 512
    """Most tokens of a text, [CLS] and [SEP] included; the rest is cut off and counted."""
    batch_tokens: int = 8_192
    """Most tokens that go through the network at once, padding included."""


def embed(model_url: str, inputs: Sequence[str], output: str, config: EmbedConfig, report: Report = silent) -> dict[str, int]:
    """Write the vectors; how many texts there were, how many were cut, and how wide a vector is.

    Raises: CorpusError for an input that cannot be read or has no such column, CheckpointError for a model that is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from model.exporting.export import load_export
    from pipeline.tokenization.vocab import Vocab
    from pipeline.tokenization.wordpiece import WordPieceEncoder

    files = expand(inputs)
    network, encoder_config, tokens, rules = load_export(model_url)
    vocab = Vocab(tuple(tokens))
    encoder = Embedder(network, WordPieceEncoder(vocab, **rules), vocab, config)
    width = encoder_config.hidden_size
    told = {name: str(getattr(config, name)) for name in ("pooling", "normalise", "precision", "max_length")}
    writer = schema = None
    done = 0
    with storage.open_write(output) as target:
        for stretch in stretches(files, config.text, config.id):
            if writer is None or schema is None:
                fields = [(config.id or "id", stretch.ids.type), ("vector", pa.list_(pa.float32(), width))]
                schema = pa.schema(fields, {"nezha-pipe": json.dumps(told, sort_keys=True)})
                writer = pq.ParquetWriter(target, schema, compression="zstd")
            if stretch.ids.type != schema.field(0).type:
                raise CorpusError(
                    f"column {config.id!r} is {schema.field(0).type} first and {stretch.ids.type} later; give one type"
                )
            flat = pa.array(encoder.vectors(stretch.texts).reshape(-1))
            vectors = pa.FixedSizeListArray.from_arrays(flat, width)
            writer.write_table(pa.Table.from_arrays([stretch.ids, vectors], schema=schema))
            done += len(stretch.texts)
            report(done, 0, f"{done:,} texts")
        if writer is None:
            raise CorpusError(f"{', '.join(inputs)}: no text; give files that hold some")
        writer.close()
    return {"texts": done, "cut": encoder.cut, "width": width}


class Embedder:
    """A network that turns texts into vectors."""

    def __init__(self, network: "PretrainingModel", encoder: "WordPieceEncoder", vocab: "Vocab", config: EmbedConfig) -> None:
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network, self.encoder, self.vocab, self.config = network.eval().to(self.device), encoder, vocab, config
        self.cut = 0
        """Texts that were longer than `max_length`."""

    def vectors(self, texts: Sequence[str]) -> "np.ndarray[Any, Any]":
        """(texts, D) float32."""
        import numpy as np

        from model.finetuning.windows import Frame

        frame = Frame(self.vocab.cls_id, self.vocab.sep_id, self.config.max_length)
        encoded = [one.ids for one in self.encoder.encode_batch([text.replace("\n", " ") for text in texts])]
        self.cut += sum(len(ids) > frame.room for ids in encoded)
        rows = [frame.around(ids[: frame.room].astype(np.int64)) for ids in encoded]
        result = np.empty((len(rows), self.network.nezha.config.hidden_size), np.float32)
        for batch in batches([len(row) for row in rows], self.config.batch_tokens):
            result[batch] = self._pooled([rows[index] for index in batch])
        return result

    def _pooled(self, rows: Sequence[Any]) -> "np.ndarray[Any, Any]":
        import torch
        import torch.nn.functional as F

        from model.finetuning.windows import padded

        ids = torch.from_numpy(padded(rows, self.vocab.pad_id)).to(self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.config.precision == "bf16"):
            hidden = self.network.nezha(ids, mask, torch.zeros_like(ids)).float()
        if self.config.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            pooled = hidden.masked_fill(~mask[..., None], 0.0).sum(1) / lengths[:, None]
        pooled = F.normalize(pooled, dim=-1) if self.config.normalise else pooled
        array: np.ndarray[Any, Any] = pooled.cpu().numpy()
        return array


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Indices of texts of about one length, the longest first, at most `tokens` tokens with padding (or one text)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
