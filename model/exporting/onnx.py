"""Exporting an encoder to ONNX: one graph for any batch size and length, compared with torch before it is kept.

    write_graph(model, "mlm", "my-nezha/onnx/model.onnx")       -> largest difference from torch, 3e-6
    quantise("model.onnx", "model_quantized.onnx")              8-bit weights in matrix products, the rest unchanged

    inputs      input_ids, attention_mask, token_type_ids      (batch, length) int64; attention_mask is 1 for tokens
    outputs     hidden   last_hidden_state (batch, length, D), pooler_output (batch, D)
                mlm      logits (batch, length, V): scores of the MLM head

The graph uses the implementation of attention that does not branch on the length (`weighed` of remote_code/attention_nezha.py),
with the modules and weights of our network, and is compared with that network. Needs the extra `onnx`.
"""

import contextlib
import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.heads import PretrainingModel
from model.remote_code.attention_nezha import learned, positions, weighed
from pipeline.errors import CheckpointError, RecipeError

Head = Literal["hidden", "mlm"]
OUTPUTS: dict[Head, tuple[str, ...]] = {"hidden": ("last_hidden_state", "pooler_output"), "mlm": ("logits",)}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOLERANCE = 1e-4
"""Largest accepted difference from torch."""
CHECKED = ((1, 1), (1, 7), (3, 33), (2, 65), (2, 66), (1, 150), (5, 128))
"""Batch sizes and lengths to compare: short, around the clip of the released form, and beyond it. With absolute positions, up
to as many as there are."""
OPSET = 20
"""The first opset with GELU as one operator."""
GRAPH, INT8_GRAPH, FACTS = "model.onnx", "model_quantized.onnx", "onnx.json"
FILES = (FACTS, GRAPH, f"{GRAPH}.data", INT8_GRAPH, f"{INT8_GRAPH}.data")
"""All files of a folder of graphs; `.data` has the weights of a graph above 2 GB, the most that its format holds."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class Graph(nn.Module):
    """The network without branches on values or lengths, for tracing."""

    def __init__(self, model: PretrainingModel, head: Head) -> None:
        super().__init__()
        self.model, self.head = model, head
        self.heads = (model.nezha.config.num_attention_heads, model.nezha.config.head_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of `OUTPUTS`. All arguments: (B, L) int64."""
        encoder: Any = self.model.nezha
        config, length, parts = encoder.config, input_ids.shape[1], encoder.embeddings
        # Embeddings (B, L, D).
        embedded = parts.word_embeddings(input_ids) + parts.token_type_embeddings(token_type_ids)
        if config.positions == "absolute":
            embedded = embedded + parts.position_embeddings(torch.arange(length, device=input_ids.device))
        hidden = parts.LayerNorm(embedded)
        # Relative positions, and the bias (B, 1, 1, L) that masks padding.
        where = None
        if config.positions == "functional":
            clip = config.max_relative_position if config.relative_positions == "released" else None
            where = positions(length, config.head_size, clip, hidden)
        lowest = torch.finfo(hidden.dtype).min / 2
        bias = ((1 - attention_mask).to(hidden.dtype) * lowest)[:, None, None, :]
        # Blocks: attention of (B, N, L, H), then the feed-forward network.
        for block in encoder.layers():
            attention = block.attention.self
            if config.positions == "relative":
                where = learned(attention.relative_keys.weight, attention.relative_values.weight)
            three = (attention.query, attention.key, attention.value)
            q, k, v = (part(hidden).unflatten(-1, self.heads).transpose(1, 2) for part in three)
            context, _ = weighed(q, k, v, where, bias, 0.0)
            hidden = block.attention.output(context.transpose(1, 2).flatten(-2), hidden)
            hidden = block.output(block.intermediate(hidden), hidden)
        # Outputs.
        if self.head == "hidden":
            return hidden, encoder.pool(hidden)
        head: Any = self.model.cls.predictions
        return (F.linear(head.transform(hidden), parts.word_embeddings.weight, head.bias),)


def need_packages() -> None:
    """Check that the extra `onnx` is installed. Raises: RecipeError naming the missing packages."""
    missing = []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise RecipeError(f"missing packages: {', '.join(missing)}; install them with pip install -e '.[onnx]' in a clone")


def write_graph(model: PretrainingModel, head: Head, path: Path) -> float:
    """Write the graph with its weights to `path`. Return the largest difference of its outputs from torch's.

    Above 2 GB the weights are in a file beside it.

    Raises: CheckpointError if that exceeds `TOLERANCE`; the files are then removed.
    """
    need_packages()
    model = model.eval().float().cpu()
    graph = Graph(model, head).eval()
    example = tuple(torch.ones(2, min(80, _longest(model)), dtype=torch.long) for _ in INPUTS)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    with torch.inference_mode(False), torch.no_grad(), quiet():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS[head]),
            dynamic_shapes=tuple({0: batch, 1: length} for _ in INPUTS),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(str(path))
    difference = largest_difference(model, head, path)
    if not difference <= TOLERANCE:
        path.unlink()
        path.with_name(f"{path.name}.data").unlink(missing_ok=True)
        raise CheckpointError(f"{path}: the ONNX graph differs from torch by {difference:.1e}, more than {TOLERANCE:.0e}")
    return difference


def largest_difference(model: PretrainingModel, head: Head, path: Path) -> float:
    """Return the largest difference between a graph in onnxruntime and our network at tokens, over the shapes `CHECKED`."""
    session = open_session(path)
    generator = torch.Generator().manual_seed(0)
    rows = model.nezha.embeddings.word_embeddings.num_embeddings
    worst = 0.0
    for batch, length in dict.fromkeys((batch, min(length, _longest(model))) for batch, length in CHECKED):
        ids = torch.randint(rows, (batch, length), generator=generator)
        lengths = torch.randint(1, length + 1, (batch, 1), generator=generator)
        lengths[0] = length
        mask = torch.arange(length) < lengths
        segments = (torch.arange(length) > length // 2).long().expand(batch, length)
        feed = dict(zip(INPUTS, (ids, mask.long(), segments), strict=True))
        found = session.run(list(OUTPUTS[head]), {name: value.numpy() for name, value in feed.items()})
        with torch.no_grad():
            expected = _expected(model, head, ids, mask, segments)
        for ours, theirs in zip(expected, found, strict=True):
            given = torch.from_numpy(theirs)
            worst = max(worst, float((ours - (given[mask] if given.ndim == 3 else given)).abs().max()))
    return worst


def _longest(model: PretrainingModel) -> int:
    """Return the most tokens that a network takes; relative positions have no limit."""
    config = model.nezha.config
    return config.max_position_embeddings if config.positions == "absolute" else sys.maxsize


def _expected(model: PretrainingModel, head: Head, ids: Tensor, mask: Tensor, segments: Tensor) -> tuple[Tensor, ...]:
    """Return the outputs of our network: per token (T, D) or (T, V), without padding, and (B, D) from the pooler."""
    if head == "mlm":
        return (model(ids, mask, segments, mask.flatten().nonzero()[:, 0])[0],)
    hidden = model.nezha(ids, mask, segments)
    return hidden[mask], model.nezha.pool(hidden)


def open_session(path: Path, threads: int = 0) -> Any:
    """Open a graph for running on the CPU; 0 threads = one per core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def quantise(path: Path, target: Path) -> None:
    """Write a graph whose constant matrices are int8 with one scale per column; activations are quantised dynamically."""
    need_packages()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        large = path.with_name(f"{path.name}.data").exists()
        quantize_dynamic(str(path), str(target), weight_type=QuantType.QInt8, per_channel=True, use_external_data_format=large)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the exporters' warnings, which are about packages and names that do not matter here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
