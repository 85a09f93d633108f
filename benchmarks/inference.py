"""`inference`: how long a base encoder takes for a batch, beside NEZHA of transformers 4.57, on the same tokens and CPU.

    inference/torch/1x32      seconds for one text of 32 tokens: the code of an export under torch
    inference/onnx/32x128     for 32 texts of 128: the graph of `export --onnx` under onnxruntime
    inference/int8/32x128     its form with weights of 8 bits

float32, hidden states and pooled vector, no padding, all threads that each program takes by itself. All have the same weights'
shapes and take turns; the median of the turns counts. The graph is checked against torch when it is written; the row of int8
says how far its hidden states are from those of torch.
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
from benchmarks.rows import Row
from model.config import EncoderConfig
from model.exporting import onnx
from model.heads import PretrainingModel

VOCABULARY = 21_128
SHAPES = ((1, 32), (1, 128), (32, 32), (32, 128))
TURNS = 5
SEED = 1
Call = Callable[[torch.Tensor], object]


def rows(python: str | None = None, config: EncoderConfig | None = None) -> Iterator[Row]:
    """Three rows a shape. `config` is for tests: a smaller network."""
    config = config or EncoderConfig()
    torch.manual_seed(SEED)
    model = PretrainingModel(config, VOCABULARY).eval()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        graph, small = Path(folder) / "model.onnx", Path(folder) / "small.onnx"
        onnx.write_graph(model, "hidden", graph)
        onnx.quantise(graph, small)
        far = onnx.largest_difference(model, "hidden", small)
        calls = {"torch": exported(model, config), "onnx": session(graph), "int8": session(small)}
        ask, missing = None, ""
        try:
            sizes = [config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size]
            settings = [*map(str, sizes), str(VOCABULARY)]
            ask = stack.enter_context(peers.dialogue(peers.environment(python), "peer_inference.py", *settings))
            ask("1 8")  # it has loaded
        except peers.PeerMissing as error:
            ask, missing = None, str(error)
        for batch, length in SHAPES:
            seconds = turns(batch, length, calls, ask)
            baseline = seconds.pop("peer", None)
            about = missing or "baseline: NEZHA of transformers 4.57.6 (eager, the only attention it has)"
            for name, value in seconds.items():
                note = f"{about}; largest difference from torch {far:.2g}" if name == "int8" else about
                yield Row(name=f"inference/{name}/{batch}x{length}", value=value, unit="s", baseline=baseline, note=note)


def turns(batch: int, length: int, calls: dict[str, Call], ask: Callable[[str], dict[str, Any]] | None) -> dict[str, float]:
    """Median seconds of each, `peer` among them where there is one. The first turn warms up and does not count."""
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
    """The class that `AutoModel.from_pretrained` gives for an export."""
    from model.remote_code.configuration_nezha import NezhaConfig
    from model.remote_code.modeling_nezha import NezhaModel

    shape = {
        name: getattr(config, name) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    }
    network: torch.nn.Module = NezhaModel(NezhaConfig(vocab_size=VOCABULARY, attn_implementation="sdpa", **shape))
    network.eval().load_state_dict(model.nezha.state_dict())

    def call(ids: torch.Tensor) -> object:
        with torch.inference_mode():
            return network(ids, torch.ones_like(ids), torch.zeros_like(ids))

    return call


def session(path: Path) -> Call:
    """A graph under onnxruntime."""
    ready = onnx.open_session(path)

    def call(ids: torch.Tensor) -> object:
        feed = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
        return ready.run(None, {name: value.numpy() for name, value in feed.items()})

    return call
