"""ONNX: an encoder as one graph for other runtimes, any batch and any length, checked before anybody uses it.

    write_graph(model, "words", "my-nezha/onnx/model.onnx")       -> largest difference from torch, 3e-6
    quantise("model.exporting.onnx", "model-int8.onnx")                     weights of matrix products in 8 bits, the rest as it was

    inputs      input_ids, attention_mask, token_type_ids      (batch, length) int64; attention_mask 1 where there is a token
    outputs     hidden   last_hidden_state (batch, length, D), pooler_output (batch, D)
                words    logits (batch, length, V): scores of the masked-word head

The graph is made of the form of attention that has no branch on the length (`weighed` of remote_code/attention_nezha.py), with the
modules and weights of our own network, and is compared with that network. Needs the extra `onnx`.
"""

import contextlib
import importlib
import logging
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

Head = Literal["hidden", "words"]
OUTPUTS: dict[Head, tuple[str, ...]] = {"hidden": ("last_hidden_state", "pooler_output"), "words": ("logits",)}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOLERANCE = 1e-4
"""Largest difference from torch that a graph may have."""
CHECKED = ((1, 1), (1, 7), (3, 33), (2, 65), (2, 66), (1, 150), (5, 128))
"""Batch sizes and lengths that it is compared at: short, around the clip of the released form, and beyond it."""
OPSET = 20
"""The first with GELU as one operator."""
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class Graph(nn.Module):
    """The network as a graph: no branch on values or lengths."""

    def __init__(self, model: PretrainingModel, head: Head) -> None:
        super().__init__()
        self.model, self.head = model, head
        self.heads = (model.nezha.config.num_attention_heads, model.nezha.config.head_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """All (B, L) int64."""
        encoder: Any = self.model.nezha
        config, length, parts = encoder.config, input_ids.shape[1], encoder.embeddings
        embedded = parts.word_embeddings(input_ids) + parts.token_type_embeddings(token_type_ids)
        if config.positions == "absolute":
            embedded = embedded + parts.position_embeddings(torch.arange(length, device=input_ids.device))
        hidden = parts.LayerNorm(embedded)
        where = None
        if config.positions == "functional":
            clip = config.max_relative_position if config.relative_positions == "released" else None
            where = positions(length, config.head_size, clip, hidden)
        lowest = torch.finfo(hidden.dtype).min / 2
        bias = ((1 - attention_mask).to(hidden.dtype) * lowest)[:, None, None, :]
        for block in encoder.layers():
            attention = block.attention.self
            if config.positions == "relative":
                where = learned(attention.relative_keys.weight, attention.relative_values.weight)
            three = (attention.query, attention.key, attention.value)
            q, k, v = (part(hidden).unflatten(-1, self.heads).transpose(1, 2) for part in three)
            context, _ = weighed(q, k, v, where, bias, 0.0)
            hidden = block.attention.output(context.transpose(1, 2).flatten(-2), hidden)
            hidden = block.output(block.intermediate(hidden), hidden)
        if self.head == "hidden":
            return hidden, encoder.pool(hidden)
        head: Any = self.model.cls.predictions
        return (F.linear(head.transform(hidden), parts.word_embeddings.weight, head.bias),)


def need_packages() -> None:
    """Raises: RecipeError naming what is to be installed."""
    missing = []
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise RecipeError(f"no package {', '.join(missing)}; install them: pip install -e '.[onnx]' in a clone")


def write_graph(model: PretrainingModel, head: Head, path: Path) -> float:
    """Write the graph with its weights to `path`; the largest difference from torch.

    Raises: CheckpointError when the graph does not give what torch gives; the file is removed then.
    """
    need_packages()
    model = model.eval().float().cpu()
    graph = Graph(model, head).eval()
    example = tuple(torch.ones(2, 80, dtype=torch.long) for _ in INPUTS)
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
        raise CheckpointError(f"{path}: the ONNX graph differs from torch by {difference:.1e}, more than {TOLERANCE:.0e}")
    return difference


def largest_difference(model: PretrainingModel, head: Head, path: Path) -> float:
    """Between a graph under onnxruntime and our own network, over the shapes of `CHECKED`; padded positions do not count."""
    session = open_session(path)
    generator = torch.Generator().manual_seed(0)
    rows = model.nezha.embeddings.word_embeddings.num_embeddings
    worst = 0.0
    for batch, length in CHECKED:
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


def _expected(model: PretrainingModel, head: Head, ids: Tensor, mask: Tensor, segments: Tensor) -> tuple[Tensor, ...]:
    """What our network gives, at tokens alone (K, D or V)."""
    if head == "words":
        return (model(ids, mask, segments, mask.flatten().nonzero()[:, 0])[0],)
    hidden = model.nezha(ids, mask, segments)
    return hidden[mask], model.nezha.pool(hidden)


def open_session(path: Path, threads: int = 0) -> Any:
    """A graph, ready to run on the CPU; 0 threads = as many as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def quantise(path: Path, target: Path) -> None:
    """Write a graph whose constant matrices are int8, a scale a column; what they meet is quantised as it comes."""
    need_packages()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        quantize_dynamic(str(path), str(target), weight_type=QuantType.QInt8, per_channel=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of exporters, which are about packages and names that play no part here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
