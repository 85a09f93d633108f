"""Converted weights compute the same in Hugging Face's NEZHA and ours, in both directions, at lengths 128 and 512.

transformers 4.57.6 comes from the benchmarks' environment (benchmarks/peers.py; PEERS_PYTHON names another Python that has it),
4.46.3, the oldest promised, is laid over it. `exact`: ours with their table, whose angles are float32, to 1e-5. Else with our
own table of float64 angles, to 1e-4. The form of the paper differs by far more, so that these numbers can fail.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import peers
from model.attention import positions
from model.config import EncoderConfig
from model.conversion.reading import Weights, completed, read
from model.conversion.writing import write
from model.heads import PretrainingModel
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests.converting import random_weights

pytestmark = pytest.mark.slow

PEER = str(Path(__file__).parent / "nezha_peer.py")
VOCAB = Vocab((*SPECIALS, "今", "天", "，", "covid", "##19", *(f"p{number}" for number in range(190))))
SMALL = EncoderConfig(
    hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, hidden_act="gelu", initializer_range=0.1
)
SIZES = {"small": SMALL, "narrow heads": replace(SMALL, hidden_size=64, num_attention_heads=4)}
LENGTHS = (128, 512)


@pytest.fixture(scope="session")
def newest() -> list[str]:
    """A Python command with transformers 4.57.6."""
    try:
        return [peers.environment(os.environ.get("PEERS_PYTHON"))]
    except peers.PeerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def oldest(newest: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A Python command with transformers 4.46.3."""
    folder = str(tmp_path_factory.mktemp("transformers"))
    install = [*newest, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    if subprocess.run([*install, "transformers==4.46.3", "tokenizers==0.20.3"], capture_output=True).returncode:
        pytest.skip("no package index in reach has transformers 4.46.3")
    return ["env", f"PYTHONPATH={folder}", *newest]


def ask(command: list[str], *arguments: object) -> Any:
    done = subprocess.run([*command, PEER, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


def inputs(file: Path) -> dict[str, Any]:
    """Two sequences per length, the second with padding; labels at every seventh position."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"lengths": np.array(LENGTHS), "pairs": np.array([0, 1])}
    for length in LENGTHS:
        ids = rng.integers(5, len(VOCAB), (2, length))
        arrays[f"input_ids_{length}"] = ids
        arrays[f"attention_mask_{length}"] = (np.arange(length) < np.array([[length], [length - 37]])).astype(np.int64)
        arrays[f"token_type_ids_{length}"] = np.stack([np.arange(length) > length // 3] * 2).astype(np.int64)
        chosen = (np.arange(length) % 7 == 3) & (arrays[f"attention_mask_{length}"] == 1)
        arrays[f"labels_{length}"] = np.where(chosen, ids, -100)
    np.savez(file, **arrays)
    return arrays


@contextmanager
def their_table() -> Iterator[None]:
    """Our network with float32 angles, as in transformers."""

    def sinusoids(angle: Tensor, width: int) -> Tensor:
        speed = torch.exp(torch.arange(0, width, 2).float() * (-np.log(10_000.0) / width))
        radians = angle.float()[:, None] * speed
        return torch.stack((radians.sin(), radians.cos()), dim=-1).flatten(-2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions, "sinusoids", sinusoids)
        positions.table_on.cache_clear()
        yield
    positions.table_on.cache_clear()


def compute(weights: Weights, arrays: dict[str, Any]) -> dict[str, Tensor]:
    """Outputs of our network, under the peer's names."""
    whole = completed(weights)
    model = PretrainingModel(whole.config, len(whole.vocab)).eval()
    model.load_state_dict(whole.tensors)
    model.nezha.use_attention("eager")  # with the whole table
    result: dict[str, Tensor] = {}
    for length in LENGTHS:
        ids, segments = (torch.from_numpy(arrays[f"{name}_{length}"]) for name in ("input_ids", "token_type_ids"))
        mask = torch.from_numpy(arrays[f"attention_mask_{length}"]).bool()
        with torch.inference_mode():
            hidden = model.nezha(ids, mask, segments)
            mlm_logits, pairs = model(ids, mask, segments, torch.arange(ids.numel()))
            labels = torch.from_numpy(arrays[f"labels_{length}"]).flatten()
            loss = torch.nn.functional.cross_entropy(mlm_logits, labels)
            loss = loss + torch.nn.functional.cross_entropy(pairs, torch.from_numpy(arrays["pairs"]))
        result |= {f"hidden_{length}": hidden, f"loss_{length}": loss, f"pairs_{length}": pairs}
        result[f"mlm_{length}"] = mlm_logits.view(2, length, -1)
    return result


def difference(ours: dict[str, Tensor], theirs: Any, arrays: dict[str, Any], kinds: tuple[str, ...]) -> float:
    """The largest difference at positions that are not padding."""
    worst = 0.0
    for length in LENGTHS:
        real = torch.from_numpy(arrays[f"attention_mask_{length}"]).bool()
        for kind in kinds:
            difference = (ours[f"{kind}_{length}"] - torch.from_numpy(theirs[f"{kind}_{length}"])).abs()
            worst = max(worst, (difference[real] if kind in ("hidden", "mlm") else difference).max().item())
    return worst


def agree(weights: Weights, theirs: Any, arrays: dict[str, Any], kinds: tuple[str, ...]) -> None:
    with their_table():
        exact = difference(compute(weights, arrays), theirs, arrays, kinds)
    own = difference(compute(weights, arrays), theirs, arrays, kinds)
    paper = replace(weights, config=replace(weights.config, relative_positions="paper"))
    assert exact <= 1e-5 and own <= 1e-4, (exact, own)
    assert difference(compute(paper, arrays), theirs, arrays, kinds) > 1e-3


ALL = ("hidden", "mlm", "pairs", "loss")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("version", ["newest", "oldest"])
def test_our_weights_compute_the_same_in_transformers(
    tmp_path: Path, size: str, version: str, request: pytest.FixtureRequest
) -> None:
    command, arrays = request.getfixturevalue(version), inputs(tmp_path / "inputs.npz")
    weights = random_weights(SIZES[size], VOCAB)
    weights = replace(weights, tensors={name: 0.5 * tensor for name, tensor in weights.tensors.items()})
    write(weights, str(tmp_path / "hf"), "huggingface", "small")
    result = ask(command, "run", tmp_path / "hf", tmp_path / "inputs.npz", tmp_path / "outputs.npz")
    assert result["problems"] == {}
    assert [VOCAB.tokens[i] for i in result["text"]] == ["[CLS]", "今", "天", "，", "covid", "##19", "[SEP]"]
    agree(weights, np.load(tmp_path / "outputs.npz"), arrays, ALL)


@pytest.mark.parametrize("version", ["newest", "oldest"])
def test_their_weights_compute_the_same_here_however_they_were_saved(
    tmp_path: Path, version: str, request: pytest.FixtureRequest
) -> None:
    command, arrays = request.getfixturevalue(version), inputs(tmp_path / "inputs.npz")
    settings = {**asdict(SMALL), "vocab_size": len(VOCAB), "max_position_embeddings": 512}
    settings = {name: value for name, value in settings.items() if name not in ("positions", "relative_positions")}
    ask(command, "make", tmp_path, json.dumps(settings))
    ask(command, "run", tmp_path / "safetensors", tmp_path / "inputs.npz", tmp_path / "outputs.npz")
    theirs = np.load(tmp_path / "outputs.npz")
    known = {"masked": ("hidden", "mlm"), "bare": ("hidden",)}
    for saved in ("safetensors", "bin", "shards", "masked", "bare"):
        folder = tmp_path / saved
        (folder / "vocab.txt").write_bytes(VOCAB.to_bytes())
        weights = read(str(folder))
        assert weights.origin == "Hugging Face" and weights.config == SMALL
        agree(weights, theirs, arrays, known.get(saved, ALL))
    again = read(str(tmp_path / "bin"))
    write(again, str(tmp_path / "again"), "huggingface", "small")
    ask(command, "run", tmp_path / "again", tmp_path / "inputs.npz", tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as found:
        assert all(np.array_equal(found[name], theirs[name]) for name in theirs.files)


def test_a_base_model_computes_the_same_in_both_directions(tmp_path: Path, newest: list[str]) -> None:
    arrays = inputs(tmp_path / "inputs.npz")
    base = random_weights(EncoderConfig(num_hidden_layers=12, hidden_act="gelu"), VOCAB)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        tensors = PretrainingModel(base.config, len(VOCAB)).state_dict()  # as at the start of training: 0.02
    base = replace(base, tensors=tensors)
    write(base, str(tmp_path / "hf"), "huggingface", "base")
    ask(newest, "run", tmp_path / "hf", tmp_path / "inputs.npz", tmp_path / "outputs.npz")
    theirs = np.load(tmp_path / "outputs.npz")
    with their_table():
        assert difference(compute(read(str(tmp_path / "hf")), arrays), theirs, arrays, ALL) <= 1e-5
    assert difference(compute(read(str(tmp_path / "hf")), arrays), theirs, arrays, ALL) <= 1e-4
