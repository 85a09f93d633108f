"""Weights that contradict their configuration are refused in one line that names the reason."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from torch import Tensor

from model.attention.positions import relative_index, relative_table
from model.conversion import names
from model.conversion.reading import read
from model.conversion.tensor_bundle import MAGIC, TensorBundle, write_bundle
from model.conversion.writing import write
from pipeline.errors import CheckpointError, CorpusError, UserError
from pipeline.tokenization.vocab import Vocab
from tests.commands import refused
from tests.converting import HUAWEI, NEZHA, TINY, VOCAB, named, random_weights, save, shape
from workflows.cli import main
from workflows.converting import convert

TABLE = "nezha.encoder.layer.0.attention.self.relative_positions_encoding.positions_encoding"


def hugging_face(folder: Path, change: Callable[[dict[str, Tensor]], Any] = lambda tensors: None, **config: Any) -> None:
    tensors = {name: tensor.clone() for name, tensor in random_weights().tensors.items()}
    change(tensors)
    save(folder, shape() | NEZHA | config, tensors)


def hugging_face_without(folder: Path, name: str) -> None:
    hugging_face(folder)
    (folder / name).unlink()


def huawei(folder: Path, change: Callable[[dict[str, Tensor]], Any] = lambda tensors: None, **config: Any) -> None:
    tensors = {name: tensor.clone() for name, tensor in named(random_weights().tensors, "bert.").items()}
    change(tensors)
    save(folder, shape() | HUAWEI | config, tensors, name="pytorch_model.bin")


def absolute(tensors: dict[str, Tensor]) -> None:
    prefix = "bert." if "bert.pooler.dense.bias" in tensors else "nezha."
    tensors[f"{prefix}embeddings.position_embeddings.weight"] = torch.randn(512, 16)


def drop(part: str) -> Callable[[dict[str, Tensor]], None]:
    def without(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if part in name]:
            del tensors[name]

    return without


def put(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda tensors: tensors.update({name: tensor})


def file(folder: Path, name: str, data: bytes) -> None:
    hugging_face(folder)
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(data)


def cut(folder: Path, name: str, size: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:size])


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def cut_safetensors(folder: Path) -> None:
    hugging_face(folder)
    cut(folder, "model.safetensors", 9_000)


def cut_pickle(folder: Path) -> None:
    huawei(folder)
    cut(folder, "pytorch_model.bin", 9_000)


def tensorflow(folder: Path, **config: Any) -> None:
    write(random_weights(), str(folder), "huawei-tensorflow", "tiny")
    (folder / "bert_config.json").write_text(json.dumps(shape() | HUAWEI | config))


def a_list(folder: Path) -> None:
    huawei(folder)
    torch.save([torch.zeros(2)], folder / "pytorch_model.bin")


def cut_tensorflow(folder: Path) -> None:
    tensorflow(folder)
    cut(folder, "model.ckpt.data-00000-of-00001", 9_000)


def two_prefixes(folder: Path) -> None:
    hugging_face(folder, put("bert.pooler.dense.bias", torch.zeros(16)))


def another_vocabulary(folder: Path) -> None:
    hugging_face(folder)
    (folder / "vocab.txt").write_bytes(Vocab((*VOCAB.tokens, "x")).to_bytes())


def padded_embeddings(folder: Path) -> None:
    hugging_face(folder, lambda tensors: [tensors.update({name: torch.cat((t, t[:3]))}) for name, t in rows(tensors)])


def rows(tensors: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    names = ("nezha.embeddings.word_embeddings.weight", "cls.predictions.bias")
    return [(name, tensors[name]) for name in names]


def table(config: Any = TINY) -> Tensor:
    return relative_table(config, 80)[relative_index(config, 80)]


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "BERT that says NEZHA": (lambda f: hugging_face(f, absolute), "says NEZHA, but the weights have absolute position"),
    "BERT that says relative": (lambda f: huawei(f, absolute), "says NEZHA, but the weights have absolute position"),
    "NEZHA that says BERT": (
        lambda f: huawei(f, use_relative_position=False, model_type="bert"),
        "use_relative_position is not true, and the weights have no position embeddings: neither NEZHA nor BERT",
    ),
    "another vocab.txt": (another_vocabulary, r"vocab.txt: 22 tokens, but .*config.json says 21; give the vocabulary"),
    "more embeddings than tokens": (padded_embeddings, "embeddings of 24 tokens, but the vocabulary has 21"),
    "heads by the configuration": (lambda f: hugging_face(f, num_attention_heads=3), "16 is not a multiple of num_attention"),
    "heads by the stored table": (
        lambda f: hugging_face(f, put(TABLE, table()), num_attention_heads=4),
        "by the configuration heads are 4 wide; correct num_attention_heads",
    ),
    "another clipping": (
        lambda f: hugging_face(f, put(TABLE, table(replace(TINY, max_relative_position=70)))),
        "is not the table of max_relative_position 64",
    ),
    "a layer less": (lambda f: hugging_face(f, drop("layer.1.")), "2 layers, but the configuration says 3: layer 1 is missing"),
    "a layer more": (
        lambda f: hugging_face(f, num_hidden_layers=2),
        "3 layers, but the configuration says 2: layer 2 is unexpected",
    ),
    "a weight less": (lambda f: hugging_face(f, drop("layer.2.output.dense.bias")), "layer.2.output.dense.bias is missing"),
    "half a head": (lambda f: huawei(f, drop("predictions.transform")), "cls.predictions.transform.dense.weight is missing"),
    "no embeddings": (lambda f: huawei(f, drop("word_embeddings")), "word_embeddings.weight is missing"),
    "another width": (
        lambda f: hugging_face(f, intermediate_size=25),
        r"has shape \(24, 16\), the configuration requires \(25",
    ),
    "another head": (
        lambda f: huawei(f, put("cls.seq_relationship.weight", torch.zeros(3, 16))),
        r"cls.seq_relationship.weight has shape \(3, 16\), the configuration requires \(2, 16\)",
    ),
    "a weight more": (lambda f: hugging_face(f, put("lstm.weight", torch.zeros(2))), "lstm.weight is not part of NEZHA"),
    "an untied decoder": (
        lambda f: huawei(f, put("cls.predictions.decoder.weight", torch.zeros(len(VOCAB), 16))),
        "decoder.weight differs from nezha.embeddings.word_embeddings.weight; in BERT and NEZHA they are tied",
    ),
    "two encoders": (two_prefixes, "contains nezha.pooler.dense.bias twice"),
    "numbers that are no weights": (
        lambda f: hugging_face(f, put("cls.predictions.bias", torch.zeros(len(VOCAB), dtype=torch.int64))),
        "cls.predictions.bias has type torch.int64, so it holds no weights",
    ),
    "an unknown activation": (lambda f: hugging_face(f, hidden_act="relu"), "unsupported hidden_act 'relu'"),
    "another kind of model": (lambda f: save(f, {"vocab_size": 21}, {}), "hidden_size, num_hidden_layers.* missing"),
    "cut short: safetensors": (cut_safetensors, "model.safetensors: truncated or damaged"),
    "cut short: a pickle": (cut_pickle, "pytorch_model.bin: truncated or damaged"),
    "cut short: TensorFlow": (cut_tensorflow, "model.ckpt.data-00000-of-00001: truncated inside"),
    "code in a pickle": (
        lambda f: file(f, "pytorch_model.bin", pickle.dumps(Code(), 2)),
        r"would run code when loaded \(posix.system\), refused",
    ),
    "a pickle of something else": (a_list, "not a dictionary of tensors"),
    "a pointer of Git LFS": (
        lambda f: file(f, "pytorch_model.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a"),
        "a Git LFS pointer",
    ),
    "a web page": (lambda f: file(f, "pytorch_model.bin", b"\n<!DOCTYPE html><html>404"), "a web page, not weights"),
    "Keras": (lambda f: file(f, "pytorch_model.bin", b"\x89HDF\r\n\x1a\n" + bytes(90)), "a Keras HDF5 file"),
    "TensorFlow's old checkpoint": (
        lambda f: file(f, "pytorch_model.bin", bytes(90) + MAGIC.to_bytes(8, "little")),
        "a TensorFlow checkpoint in format V1",
    ),
    "nothing known": (lambda f: file(f, "pytorch_model.bin", b"weights"), "not safetensors, PyTorch or TensorFlow weights"),
    "no weights": (lambda f: file(f, "README.md", b"NEZHA"), "no weights"),
    "no folder": (lambda f: None, "not found"),
    "several files": (
        lambda f: [save(f, shape() | NEZHA, {"a": torch.zeros(1)}, name=name) for name in ("a.bin", "b.bin")],
        "several weight files, a.bin, b.bin; give one",
    ),
    "no vocabulary": (lambda f: hugging_face_without(f, "vocab.txt"), "no vocab.txt; give it with --vocab"),
    "no configuration": (lambda f: hugging_face_without(f, "config.json"), "no config.json or bert_config.json"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_reported_in_one_line(tmp_path: Path, name: str) -> None:
    make, message = WRONG[name]
    make(tmp_path / "in")
    with pytest.raises(UserError, match=message) as error:
        read(str(tmp_path / "in"))
    assert str(tmp_path / "in") in str(error.value) and "\n" not in str(error.value)


def test_the_user_may_declare_weights_to_be_nezha(tmp_path: Path) -> None:
    huawei(tmp_path, use_relative_position=False, model_type="bert")
    found = read(str(tmp_path), positions="functional")
    assert "treated as NEZHA as requested; the configuration does not say so" in found.notes
    assert found.tensors.keys() == random_weights().tensors.keys()


def test_optimizer_moments_are_never_read_as_weights(tmp_path: Path) -> None:
    weights = random_weights()
    write(weights, str(tmp_path), "huawei-tensorflow", "tiny")
    bundle = TensorBundle.open(str(tmp_path / "model.ckpt"))
    variables = {name: bundle.tensor(name) for name in bundle.entries}
    moments = {f"{name}/{moment}": torch.full_like(t, 9.0) for name, t in variables.items() for moment in ("lamb_m", "lamb_v")}
    counters = {"global_step": torch.tensor(900_000), "good_steps": torch.tensor(3), "loss_scale": torch.tensor(2.0)}
    write_bundle(str(tmp_path / "model.ckpt"), variables | moments | counters)
    found = read(str(tmp_path))
    assert all(torch.equal(tensor, weights.tensors[name]) for name, tensor in found.tensors.items())
    assert f"left out {len(moments) + 3} training variables (optimizer moments, counters)" in found.notes
    assert names.is_training_state("bert/pooler/dense/kernel/adam_m")
    assert not names.is_training_state("bert/pooler/dense/kernel")


def test_out_is_another_folder_than_in(tmp_path: Path) -> None:
    hugging_face(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    for source in (str(tmp_path), str(tmp_path / "model.safetensors")):
        with pytest.raises(CheckpointError, match="contains the weights to convert; give another output folder"):
            convert(source, str(tmp_path))
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_an_invalid_file_of_new_tokens_is_refused(tmp_path: Path) -> None:
    hugging_face(tmp_path / "in")
    (tmp_path / "tokens.txt").write_text("covid\n\n鑫\n", "utf-8")
    with pytest.raises(CorpusError, match=r"tokens.txt: line 2 is blank or contains a space"):
        convert(str(tmp_path / "in"), str(tmp_path / "out"), extend_vocab=str(tmp_path / "tokens.txt"))
    assert not (tmp_path / "out").exists()


def test_the_command_prints_notes_to_stderr_and_its_result_to_stdout(tmp_path: Path) -> None:
    huawei(tmp_path / "in")
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    done = CliRunner().invoke(main, ["convert", source, out, "--to", "huggingface"])
    assert done.exit_code == 0 and done.stdout == f"{out}\n", done.output
    assert done.stderr.splitlines()[0].startswith("Huawei's PyTorch: 3 layers of 16, 21 tokens, ")
    assert "gelu is read as its tanh approximation" in done.stderr
    assert set(safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")) == set(random_weights().tensors)
    result = CliRunner().invoke(main, ["convert", source, out, "--hidden-act", "gelu", "--json"])
    assert json.loads(result.stdout)["notes"] == []
    assert "missing.txt: not found" in refused(
        CliRunner().invoke(main, ["convert", source, out, "--extend-vocab", "missing.txt"])
    )
