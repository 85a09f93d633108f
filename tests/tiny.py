"""A tiny prepared corpus: shards of two sources that a network of two layers can learn something from.

A row counts: `[CLS] p7 p8 p9 [SEP] p10 p11 [SEP]`, so a masked token follows from its neighbours. Pair label 0: segment B goes
on counting; 1: it starts anywhere. Source `reviews` counts backwards. Words are two tokens long.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from model.config import EncoderConfig, PhaseConfig, PretrainConfig, TrainingConfig
from model.exporting.export import export_model
from model.heads import PretrainingModel
from model.training.run import PretrainRun
from pipeline import storage
from pipeline.arrays import Flags
from pipeline.config import MaskingConfig, PairsConfig
from pipeline.engine import stages
from pipeline.examples import shards
from pipeline.tokenization.vocab import SPECIALS, Vocab

VOCAB = Vocab((*SPECIALS, *(f"p{number}" for number in range(59))))
FIRST = len(SPECIALS)
"""Id of the first ordinary token."""


def pack_units(unit_starts: Flags) -> bytes:
    """Pack flags (tokens,) as shards have them: the reverse of `shards.unpack_units`."""
    return np.packbits(unit_starts, bitorder="little").tobytes()


@dataclass(frozen=True)
class Corpus:
    """The folders of the tiny corpus."""

    vocabulary: str
    shards: dict[str, str]


def prepare(
    root: Path | str,
    rows: int = 300,
    validation_rows: int = 40,
    lengths: tuple[int, ...] = (24,),
    static_draws: int = 2,
    task: str = "nsp",
    rows_a_shard: int = 170,
) -> Corpus:
    """Write `rows` rows of each of the sources `news` and `reviews`, in shards of unequal size."""
    vocabulary = storage.join(str(root), "vocab.txt")
    storage.write_bytes(vocabulary, VOCAB.to_bytes())
    masking = MaskingConfig(static_draws=static_draws)
    urls = {}
    for number, source in enumerate(("news", "reviews")):
        for length in lengths:
            rng = np.random.default_rng([number, length])
            tables = {
                "train": table(rng, rows, length, masking, task, backwards=source == "reviews"),
                "validation": table(rng, validation_rows, length, masking, task, backwards=source == "reviews"),
            }
            facts = {
                "source": source,
                "sequence_length": length,
                "seed": 1,
                "vocabulary": {"size": len(VOCAB), "sha256": VOCAB.sha256, "do_lower_case": True, "map_punctuation": True},
                "masking": asdict(masking),
                "pairs": asdict(replace(PairsConfig(), task=task)),  # type: ignore[arg-type]
                "counts": {split: {"rows": len(rows)} for split, rows in tables.items()},
            }
            urls[f"{source}/{length}"] = _write(str(root), source, length, tables, facts, rows_a_shard)
    return Corpus(vocabulary, urls)


ENCODER = EncoderConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_relative_position=16
)


def pretrain_run(
    corpus: Corpus, output: Path | str, phases: tuple[PhaseConfig, ...] | None = None, seed: int = 3, **training: Any
) -> PretrainRun:
    """Return a run of 20 steps of 16 rows with a network of two layers, in float32; `training` overrides `[training]`."""
    phase = PhaseConfig(sequence_length=24, batch_size=16, steps=20, learning_rate=2e-3, warmup_steps=4)
    settings = {"precision": "fp32", "micro_batch_tokens": 160, "validate_every": 10, "checkpoint_every": 10, "log_every": 1}
    config = PretrainConfig(
        phases=phases or (phase,), seed=seed, encoder=ENCODER, training=TrainingConfig(**{**settings, **training})
    )
    return PretrainRun(config=config, shards=corpus.shards, vocabulary=corpus.vocabulary, output=str(output))


def _write(root: str, source: str, length: int, tables: dict[str, pa.Table], facts: dict[str, Any], rows_a_shard: int) -> str:
    settings = {"rows": [len(table) for table in tables.values()], "masking": facts["masking"], "pairs": facts["pairs"]}
    stage = stages.Stage(f"shards_{source}_{length}", 1, settings, {})

    def body(folder: str) -> dict[str, Any]:
        files = []
        for split, rows in tables.items():
            for number, start in enumerate(range(0, len(rows), rows_a_shard)):
                part = rows.slice(start, rows_a_shard)
                name = f"{split}-{number:05d}.arrow"
                with storage.open_write(storage.join(folder, name)) as file:
                    shards.write_shard(file, part, {})
                files.append(stages.FileEntry.of(folder, name, len(part)))
        return {"files": files, **facts}

    return stages.run(root, stage, body).url


def table(
    rng: np.random.Generator, rows: int, length: int, masking: MaskingConfig, task: str, backwards: bool = False
) -> pa.Table:
    """Return rows of 8 to `length` tokens."""
    columns: dict[str, list[Any]] = {field.name: [] for field in shards.schema(len(VOCAB))}
    for _ in range(rows):
        input_ids, second_start, label = _example(rng, int(rng.integers(8, length + 1)), task, backwards)
        draws = [_draw(rng, input_ids, masking) for _ in range(masking.static_draws)]
        place = np.arange(len(input_ids))
        units = (place - np.where(place >= second_start, second_start, 1)) % 2 == 0  # words of two tokens in each segment
        units[input_ids < FIRST] = True
        columns["example_id"].append(int(rng.integers(1 << 63)))
        columns["document_id"].append(int(rng.integers(1 << 63)))
        columns["input_ids"].append(input_ids)
        columns["unit_starts"].append(pack_units(units))
        columns["second_start"].append(second_start)
        columns["pair_label"].append(label)
        columns["mask_positions"].append(np.concatenate([[], *(positions for positions, _ in draws)]))
        columns["mask_replacements"].append(np.concatenate([[], *(tokens for _, tokens in draws)]))
        columns["mask_lengths"].append(np.array([len(positions) for positions, _ in draws]))
    schema = shards.schema(len(VOCAB))
    arrays = [
        list_array(columns[field.name], field.type.value_type)
        if pa.types.is_list(field.type)
        else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _example(rng: np.random.Generator, length: int, task: str, backwards: bool) -> tuple[np.ndarray[Any, Any], int, int | None]:
    start, room = int(rng.integers(59)), 59
    step = -1 if backwards else 1
    if task == "none":
        body = FIRST + (start + step * np.arange(length - 2)) % room
        return np.concatenate([[VOCAB.cls_id], body, [VOCAB.sep_id]]), 0, None
    first = int(rng.integers(2, length - 4))
    label = int(rng.integers(2))
    a = (start + step * np.arange(first)) % room
    second = a[-1] + step if label == 0 else int(rng.integers(59))
    b = (second + step * np.arange(length - 3 - first)) % room
    tokens = np.concatenate([[VOCAB.cls_id], FIRST + a, [VOCAB.sep_id], FIRST + b, [VOCAB.sep_id]])
    return tokens, first + 2, label


def _draw(rng: np.random.Generator, input_ids: np.ndarray[Any, Any], masking: MaskingConfig) -> tuple[Any, Any]:
    text = np.flatnonzero(input_ids >= FIRST)
    count = max(1, round(len(input_ids) * masking.masked_lm_prob))
    positions = np.sort(rng.choice(text, count, replace=False))
    fate = rng.random(count)
    anything = rng.integers(FIRST, len(VOCAB), count)
    tokens = np.where(fate < 0.8, VOCAB.mask_id, np.where(fate < 0.9, input_ids[positions], anything))
    return positions, tokens


def list_array(arrays: Sequence[NDArray[Any]], value_type: pa.DataType) -> pa.ListArray:
    """Return a list column from numpy arrays, without a Python object per element."""
    offsets = np.concatenate(([0], np.cumsum([len(array) for array in arrays], dtype=np.int64))).astype(np.int32)
    values = np.concatenate(arrays) if arrays else np.empty(0)
    return pa.ListArray.from_arrays(offsets, pa.array(values.astype(value_type.to_pandas_dtype()), value_type))


def exported(folder: Path, encoder: EncoderConfig, vocab: Vocab, seed: int) -> tuple[str, PretrainingModel]:
    """Return an export and its network, with weights that are all large enough to matter."""
    torch.manual_seed(seed)
    network = PretrainingModel(encoder, len(vocab)).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    export_model(network, vocab.tokens, True, lambda name, data: storage.write_bytes(str(folder / name), data), {})
    return str(folder), network
