"""Latency of a base encoder per batch, compared with NEZHA of transformers 4.57 on the same CPU.

    inference/torch/1x32      seconds for one text of 32 tokens: an export's code in torch
    inference/onnx/32x128     for 32 texts of 128 tokens: the graph of `export --onnx` in onnxruntime
    inference/int8/32x128     the same graph with 8-bit weights

float32, hidden states and pooled vector, no padding, each program's default threads. All networks have the same shape and take
turns; the median counts. The graph is compared with torch when it is written; the note of int8 gives the largest difference of
its hidden states.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks import peers
from benchmarks.measurement import Measurement
from model.config import EncoderConfig
from model.exporting import onnx
from model.heads import PretrainingModel

VOCABULARY = 21_128
SHAPES = ((1, 32), (1, 128), (32, 32), (32, 128))
TURNS = 5
SEED = 1
Call = Callable[[torch.Tensor], object]


def measurements(python: str | None = None, config: EncoderConfig | None = None) -> Iterator[Measurement]:
    """Return three measurements per shape. `config` is for tests: a smaller network."""
    config = config or EncoderConfig()
    torch.manual_seed(SEED)
    model = PretrainingModel(config, VOCABULARY).eval()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        graph, small = Path(folder) / "model.onnx", Path(folder) / "small.onnx"
        onnx.write_graph(model, "hidden", graph)
        onnx.quantise(graph, small)
        difference = onnx.largest_difference(model, "hidden", small)
        calls = {"torch": exported(model, config), "onnx": session(graph), "int8": session(small)}
        ask, missing = None, ""
        try:
            sizes = [config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size]
            settings = [*map(str, sizes), str(VOCABULARY)]
            ask = stack.enter_context(peers.dialogue(peers.environment(python), "peer_inference.py", *settings))
            ask("1 8")  # returns once the peer has loaded
        except peers.PeerMissing as error:
            ask, missing = None, str(error)
        for batch, length in SHAPES:
            seconds = turns(batch, length, calls, ask)
            baseline = seconds.pop("peer", None)
            about = missing or "baseline: NEZHA of transformers 4.57.6 (with eager attention, its only one)"
            for name, value in seconds.items():
                note = f"{about}; largest difference from torch {difference:.2g}" if name == "int8" else about
                yield Measurement(
                    name=f"inference/{name}/{batch}x{length}", value=value, unit="s", baseline=baseline, note=note
                )


def turns(batch: int, length: int, calls: dict[str, Call], ask: Callable[[str], dict[str, Any]] | None) -> dict[str, float]:
    """Return the median seconds of each call, and of `peer` if there is one. The first turn is a warm-up and does not count."""
    ids = torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(SEED))
    seconds: dict[str, list[float]] = {name: [] for name in (*calls, *(["peer"] if ask else []))}
    for _ in range(1 + TURNS):
        for name, call in calls.items():
            started = time.perf_counter()
            call(ids)
            seconds[name].append(time.perf_counter() - started)
        if ask:
            seconds["peer"].append(ask(f"{batch} {length}")["seconds"])
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def exported(model: PretrainingModel, config: EncoderConfig) -> Call:
    """Return the network that `AutoModel.from_pretrained` loads from an export."""
    from model.remote_code.configuration_nezha import NezhaPipeConfig
    from model.remote_code.modeling_nezha import NezhaModel

    shape = {
        name: getattr(config, name) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    }
    network: torch.nn.Module = NezhaModel(NezhaPipeConfig(vocab_size=VOCABULARY, attn_implementation="sdpa", **shape))
    network.eval().load_state_dict(model.nezha.state_dict())

    def call(ids: torch.Tensor) -> object:
        with torch.inference_mode():
            return network(ids, torch.ones_like(ids), torch.zeros_like(ids))

    return call


def session(path: Path) -> Call:
    """Open a graph in onnxruntime."""
    ready = onnx.open_session(path)

    def call(ids: torch.Tensor) -> object:
        feed = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        return ready.run(None, {name: value.numpy() for name, value in feed.items()})

    return call
