"""BERT's weights: an encoder with absolute positions that equals transformers', or the starting point of a NEZHA."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model.conversion import names
from model.conversion.reading import Weights, load_weights, read
from model.conversion.writing import WeightFormat, write
from model.exporting.export import load_export
from model.heads import PretrainingModel
from tests.converting import TINY, VOCAB, random_weights, save, shape

BERT = replace(TINY, positions="absolute", max_position_embeddings=40, hidden_act="gelu")
INPUTS = {
    "input_ids": torch.randint(5, len(VOCAB), (2, 40), generator=torch.Generator().manual_seed(3)),
    "attention_mask": torch.arange(40) < torch.tensor([[40], [23]]),
    "token_type_ids": (torch.arange(40) > 7).long().expand(2, 40),
}
REAL = INPUTS["attention_mask"]


def theirs(folder: Path) -> Any:
    """transformers' own BERT with the weights of a folder, none of them missing."""
    transformers = pytest.importorskip("transformers")
    model, info = transformers.BertForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model.eval()


def compute(weights: Weights) -> tuple[Tensor, Tensor]:
    """Scores of all tokens (2, 40, V) and of the pairs (2, 2) from our network."""
    model = PretrainingModel(weights.config, len(weights.vocab)).eval()
    model.load_state_dict(weights.tensors)
    with torch.inference_mode():
        words, pairs = model(*INPUTS.values(), torch.arange(80))
    return words.view(2, 40, -1), pairs


def test_bert_of_transformers_computes_the_same_here(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    settings = {**shape(), "max_position_embeddings": 40, "initializer_range": 0.3}
    model = transformers.BertForPreTraining(transformers.BertConfig(**settings)).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(VOCAB.to_bytes())
    weights = read(str(tmp_path))
    assert weights.origin == "BERT" and weights.config == replace(BERT, initializer_range=0.3)
    assert weights.notes == [
        "kept absolute positions: this is BERT, not NEZHA (--positions functional makes it a starting point for NEZHA)"
    ]
    words, pairs = compute(weights)
    with torch.inference_mode():
        answer = model(**INPUTS)
    torch.testing.assert_close(words[REAL], answer.prediction_logits[REAL], rtol=0, atol=1e-5)
    torch.testing.assert_close(pairs, answer.seq_relationship_logits, rtol=0, atol=1e-5)


def test_absolute_positions_of_ours_are_bert_for_transformers(tmp_path: Path) -> None:
    weights = random_weights(BERT)
    write(weights, str(tmp_path), "huggingface", "tiny")
    with torch.inference_mode():
        answer = theirs(tmp_path)(**INPUTS)
    words, pairs = compute(weights)
    torch.testing.assert_close(words[REAL], answer.prediction_logits[REAL], rtol=0, atol=1e-5)
    torch.testing.assert_close(pairs, answer.seq_relationship_logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", ["ours", "huggingface", "huawei-pytorch", "huawei-tensorflow"])
def test_position_embeddings_go_both_ways(tmp_path: Path, form: WeightFormat) -> None:
    weights = random_weights(BERT)
    write(weights, str(tmp_path), form, "tiny")
    found = read(str(tmp_path))
    assert found.origin == ("ours" if form == "ours" else "BERT") and found.config == BERT
    assert found.tensors.keys() == weights.tensors.keys() and names.ABSOLUTE in found.tensors
    assert all(torch.equal(tensor, weights.tensors[name]) for name, tensor in found.tensors.items())


def test_functional_positions_replace_absolute_ones_on_purpose_only(tmp_path: Path) -> None:
    weights = random_weights(BERT)
    write(weights, str(tmp_path / "bert"), "huggingface", "tiny")
    found = read(str(tmp_path / "bert"), positions="functional")
    assert found.config.positions == "functional" and names.ABSOLUTE not in found.tensors
    assert found.notes == [
        "dropped the position embeddings as requested; these weights never saw relative positions: continue pretraining"
    ]
    assert found.tensors.keys() == random_weights().tensors.keys()
    write(found, str(tmp_path / "start"), "ours", "tiny")
    assert load_export(str(tmp_path / "start"))[1] == found.config
    state, config, vocab = load_weights(str(tmp_path / "start"))
    PretrainingModel(config, len(vocab)).load_state_dict(state)
    assert load_weights(str(tmp_path / "bert"))[1].positions == "absolute"


def test_a_release_without_heads_is_a_start(tmp_path: Path) -> None:
    """Chinese BERTs are published like bert-base-chinese, some without the MLM head."""
    weights = random_weights(BERT)
    bare = {f"bert.{name.removeprefix('nezha.')}": t for name, t in weights.tensors.items() if name.startswith("nezha.")}
    bare["bert.embeddings.position_ids"] = torch.arange(40)[None]
    folder = save(tmp_path, shape(model_type="bert", max_position_embeddings=40), bare, name="pytorch_model.bin")
    assert read(str(folder)).missing_parts() == ["MLM head", "sentence-pair head"]
    state, config, vocab = load_weights(str(folder))
    PretrainingModel(config, len(vocab)).load_state_dict(state)
    assert torch.equal(state[names.ABSOLUTE], weights.tensors[names.ABSOLUTE])
