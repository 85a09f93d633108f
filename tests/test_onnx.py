"""ONNX: one graph for any batch and length equals torch, 8-bit weights nearly; a graph that differs is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import EncoderConfig
from model.exporting import onnx
from model.exporting.export import export_model
from model.heads import PretrainingModel
from model.remote_code import attention_nezha
from pipeline import storage
from pipeline.errors import CheckpointError, RecipeError
from pipeline.tokenization.vocab import SPECIALS
from workflows.exporting import export_onnx

TOKENS = (*SPECIALS, *(f"p{number}" for number in range(59)))
ENCODER = EncoderConfig(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, max_relative_position=8
)


def make(folder: Path, encoder: EncoderConfig = ENCODER) -> PretrainingModel:
    torch.manual_seed(7)
    network = PretrainingModel(encoder, len(TOKENS)).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    export_model(network, TOKENS, True, lambda name, data: storage.write_bytes(str(folder / name), data), {})
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PretrainingModel]:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("export")
    network = make(folder)
    export_onnx(str(folder), "hidden", int8=True)
    return folder, network


@pytest.mark.parametrize("shape", [(1, 1), (4, 9), (2, 64), (1, 300)])
def test_a_graph_takes_any_batch_and_length(exported: tuple[Path, PretrainingModel], shape: tuple[int, int]) -> None:
    folder, network = exported
    ids = torch.randint(len(TOKENS), shape, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(shape, dtype=torch.long)
    mask[-1, shape[1] // 2 + 1 :] = 0
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    session = onnx.open_session(folder / "onnx" / "model.onnx", threads=1)
    hidden, pooled = session.run(None, {name: value.numpy() for name, value in feed.items()})
    with torch.no_grad():
        expected = network.nezha(ids, mask.bool())
    assert hidden.shape == (*shape, 32) and pooled.shape == (shape[0], 32)
    seen = mask.bool()
    torch.testing.assert_close(torch.from_numpy(hidden)[seen], expected[seen], rtol=0, atol=onnx.TOLERANCE)
    torch.testing.assert_close(torch.from_numpy(pooled), network.nezha.pool(expected).detach(), rtol=0, atol=onnx.TOLERANCE)


def test_a_graph_with_few_absolute_positions_is_checked_up_to_them(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network = make(tmp_path, replace(ENCODER, positions="absolute", max_position_embeddings=40))
    assert onnx.write_graph(network, "mlm", tmp_path / "model.onnx") <= onnx.TOLERANCE


def test_8_bit_weights_are_close_and_their_difference_is_recorded(exported: tuple[Path, PretrainingModel]) -> None:
    folder, network = exported
    facts = json.loads((folder / "onnx" / "onnx.json").read_text("utf-8"))
    assert facts["difference"] < onnx.TOLERANCE < facts["int8_difference"] < 0.5
    small = folder / "onnx" / "model_quantized.onnx"
    assert onnx.largest_difference(network, "hidden", small) == pytest.approx(facts["int8_difference"], rel=0.1)
    assert sorted(path.name for path in small.parent.iterdir()) == ["model.onnx", "model_quantized.onnx", "onnx.json"]


def test_a_graph_of_other_weights_is_detected(exported: tuple[Path, PretrainingModel]) -> None:
    folder, network = exported
    other = PretrainingModel(ENCODER, len(TOKENS)).eval()
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        other.nezha.layers()[0].attention.self.key.weight[0] += 0.05  # type: ignore[union-attr, operator, index]
    assert onnx.largest_difference(other, "hidden", folder / "onnx" / "model.onnx") > onnx.TOLERANCE


@pytest.mark.slow
def test_weights_in_a_file_beside_the_graph_come_along_and_go_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch's exporter does above 2 GB; here its threshold is lower."""
    pytest.importorskip("onnxruntime")
    from torch.onnx._internal.exporter import _onnx_program

    network = make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(_onnx_program, "_LARGE_MODEL_THRESHOLD", 1_000)
        export_onnx(str(tmp_path), "hidden", int8=True)
    graphs = tmp_path / "onnx"
    assert (graphs / "model.onnx.data").exists()
    assert onnx.largest_difference(network, "hidden", graphs / "model.onnx") < onnx.TOLERANCE
    assert onnx.largest_difference(network, "hidden", graphs / "model_quantized.onnx") < 0.5
    export_onnx(str(tmp_path), "hidden", int8=False)
    assert sorted(path.name for path in graphs.iterdir()) == ["model.onnx", "onnx.json"], "files of the older graphs are left"


@pytest.mark.slow
def test_a_graph_that_differs_is_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    make(tmp_path)
    without_bias = lambda q, k, v, where, bias, dropout: attention_nezha.weighed(q, k, v, where, None, dropout)  # noqa: E731
    monkeypatch.setattr(onnx, "weighed", without_bias)
    with pytest.raises(CheckpointError, match=r"model.onnx: the ONNX graph differs from torch by .*, more than 1e-04"):
        export_onnx(str(tmp_path), "mlm", int8=False)
    assert not (tmp_path / "onnx").exists()


def test_a_missing_package_is_reported_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "PACKAGES", ("json", "onnx_of_nowhere"))
    with pytest.raises(
        RecipeError, match=r"missing packages: onnx_of_nowhere; install them with pip install -e '\.\[onnx\]' in a clone"
    ):
        onnx.need_packages()
