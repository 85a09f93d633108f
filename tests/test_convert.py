"""Weights in and out: files of each program are recognised and read, and written as the others expect them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from model.attention.positions import relative_index, relative_table
from model.config import EncoderConfig
from model.conversion import names
from model.conversion.reading import Weights, completed, load_weights, read, start
from model.conversion.tensor_bundle import TensorBundle
from model.conversion.writing import FORMATS, WeightFormat, write
from model.exporting.export import load_export
from model.heads import PretrainingModel
from model.training.loop import train
from pipeline import storage
from pipeline.errors import CheckpointError
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import tiny
from tests.converting import HUAWEI, NEZHA, TINY, VOCAB, named, random_weights, save, shape, without
from workflows import converting
from workflows.inference.fill_mask import fill

HEADS = ("nezha.pooler.", "cls.seq_relationship.")


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read_again(tmp_path: Path, form: WeightFormat) -> None:
    weights = random_weights()
    assert write(weights, str(tmp_path), form, "tiny") == (
        ["gelu is the exact (erf) form in that code, gelu_tanh here; activations differ by up to 4.8e-4"]
        if form == "huawei-pytorch"
        else []
    )
    found = read(str(tmp_path))
    assert same(found.tensors, weights.tensors)
    assert (found.config, found.vocab, found.do_lower_case) == (TINY, VOCAB, True)
    origins = ("ours", "Hugging Face", "Huawei's PyTorch", "Huawei's TensorFlow")
    assert found.origin == dict(zip(FORMATS, origins, strict=True))[form]


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "ours"])
def test_other_programs_get_the_heads_that_there_are_and_no_others(tmp_path: Path, form: WeightFormat) -> None:
    weights = without(random_weights(), *HEADS)
    write(weights, str(tmp_path), form, "tiny")
    found = read(str(tmp_path))
    assert same(found.tensors, weights.tensors)
    assert found.missing_parts() == ["pooler", "sentence-pair head"]


def test_ours_gets_fresh_heads_from_a_seed_and_says_so(tmp_path: Path) -> None:
    weights = without(random_weights(), *HEADS)
    notes = write(weights, str(tmp_path / "a"), "ours", "tiny")
    write(weights, str(tmp_path / "b"), "ours", "tiny")
    write(weights, str(tmp_path / "c"), "ours", "tiny", seed=1)
    assert notes == ["the file has no pooler, no sentence-pair head: initialised at random, to be trained before use"]
    a, b, c = (load_export(str(tmp_path / folder))[0].state_dict() for folder in "abc")
    assert same(a, b) and not same(a, c)
    assert all(torch.equal(a[name], tensor) and torch.equal(c[name], tensor) for name, tensor in weights.tensors.items())
    assert a["nezha.pooler.dense.weight"].std() == pytest.approx(0.0176, abs=0.003)  # truncated at two sigma


def test_every_name_has_one_place_in_tensorflow() -> None:
    config = replace(TINY, num_hidden_layers=12)
    with torch.device("meta"):
        ours = [*PretrainingModel(config, 10).state_dict(), "classifier.weight", "classifier.bias", "qa_outputs.weight"]
    places = [names.to_tensorflow(name) for name in ours]
    assert len({place.name for place in places}) == len(ours)
    for name, place in zip(ours, places, strict=True):
        assert names.from_tensorflow(place.name) == names.Place(name, place.transposed)
    assert names.from_tensorflow("bert/encoder/layer_11/attention/self/query/kernel") == names.Place(
        "nezha.encoder.layer.11.attention.self.query.weight", transposed=True
    )
    assert names.from_tensorflow("cls/seq_relationship/output_weights") == names.Place("cls.seq_relationship.weight")
    assert names.from_tensorflow("cls/predictions/output_bias") == names.Place("cls.predictions.bias")
    assert names.from_tensorflow("bert/embeddings/LayerNorm/gamma") == names.Place("nezha.embeddings.LayerNorm.weight")
    assert names.from_tensorflow("bert/embeddings/word_embeddings") == names.Place(names.WORDS)


def test_tensorflow_gets_kernels_transposed_and_vectors_as_they_are(tmp_path: Path) -> None:
    weights = random_weights()
    write(weights, str(tmp_path), "huawei-tensorflow", "tiny")
    bundle = TensorBundle.open(str(tmp_path / "model.ckpt"))
    assert bundle.entries["bert/encoder/layer_2/intermediate/dense/kernel"].shape == (16, 24)
    kernel = bundle.tensor("bert/encoder/layer_2/intermediate/dense/kernel")
    assert torch.equal(kernel.T, weights.tensors["nezha.encoder.layer.2.intermediate.dense.weight"])
    assert bundle.entries["cls/seq_relationship/output_weights"].shape == (2, 16)


def hugging_face_2022(weights: Weights, aliases: bool = True, buffers: bool = True) -> dict[str, Tensor]:
    """As transformers 4.21 saved NezhaForMaskedLM: no pooler, tied weights twice, tables of positions in every layer."""
    tensors = dict(without(weights, *HEADS).tensors)
    if aliases:
        tensors["cls.predictions.decoder.weight"] = tensors["nezha.embeddings.word_embeddings.weight"]
        tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    if buffers:
        tensors["nezha.embeddings.position_ids"] = torch.arange(512)[None]
        table = relative_table(TINY, 80)[relative_index(TINY, 80)]
        for layer in range(3):
            name = f"nezha.encoder.layer.{layer}.attention.self.relative_positions_encoding.positions_encoding"
            tensors[name] = table
    return tensors


def test_buffers_and_second_names_of_hugging_face_are_left_out(tmp_path: Path) -> None:
    weights = random_weights()
    found = read(str(save(tmp_path, shape() | NEZHA, hugging_face_2022(weights), name="pytorch_model.bin")))
    assert same(found.tensors, without(weights, *HEADS).tensors)
    assert found.config == replace(TINY, hidden_act="gelu") and found.origin == "Hugging Face"
    assert found.notes == ["left out 4 stored tables of positions, which are computed"]


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_weights_in_several_files_are_one_model(tmp_path: Path, ending: str) -> None:
    weights = random_weights()
    tensors = hugging_face_2022(weights, aliases=ending == "bin")
    parts: dict[str, dict[str, Tensor]] = {}
    stem = "pytorch_model" if ending == "bin" else "model"
    for number, (name, tensor) in enumerate(tensors.items()):
        parts.setdefault(f"{stem}-{number % 3 + 1:05d}-of-00003.{ending}", {})[name] = tensor.clone()
    for part, content in parts.items():
        save(tmp_path, shape() | NEZHA, content, name=part)
    places = {name: part for part, content in parts.items() for name in content}
    index = tmp_path / ("pytorch_model.bin.index.json" if ending == "bin" else "model.safetensors.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert same(read(str(tmp_path)).tensors, without(weights, *HEADS).tensors)
    (tmp_path / f"{stem}-00002-of-00003.{ending}").unlink()
    with pytest.raises(CheckpointError, match=f"{stem}-00002-of-00003.{ending} does not exist"):
        read(str(tmp_path))


def test_names_of_2019_and_of_parallel_training_are_known(tmp_path: Path) -> None:
    weights = random_weights()
    old = {
        f"module.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in named(weights.tensors, "bert.").items()
    }
    found = read(str(save(tmp_path, shape() | HUAWEI, {"model": old}, name="nezha.bin")))  # type: ignore[dict-item]
    assert same(found.tensors, weights.tensors) and found.origin == "Huawei's PyTorch"
    assert found.config.hidden_act == "gelu_tanh"
    assert read(str(tmp_path), hidden_act="gelu").config.hidden_act == "gelu"


def test_a_bare_encoder_is_an_encoder(tmp_path: Path) -> None:
    weights = without(random_weights(), "cls.")
    bare = {name.removeprefix("nezha."): tensor for name, tensor in weights.tensors.items()}
    found = read(str(save(tmp_path, shape() | NEZHA, bare)))
    assert same(found.tensors, weights.tensors)
    assert found.missing_parts() == ["MLM head", "sentence-pair head"]


def test_half_precision_becomes_float32_with_a_note(tmp_path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in random_weights().tensors.items()}
    found = read(str(save(tmp_path, shape() | NEZHA, halves)))
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32}
    assert same(found.tensors, {name: tensor.float() for name, tensor in halves.items()})
    assert found.notes == ["converted float16 weights to float32"]


def test_a_head_of_a_task_goes_with_the_weights_but_not_into_a_pretraining_model(tmp_path: Path) -> None:
    weights = without(random_weights(), "cls.")
    tuned = weights.tensors | {"classifier.weight": torch.randn(3, 16), "classifier.bias": torch.randn(3)}
    found = read(str(save(tmp_path / "hf", shape() | NEZHA, tuned)))
    write(found, str(tmp_path / "tf"), "huawei-tensorflow", "tiny")
    assert TensorBundle.open(str(tmp_path / "tf" / "model.ckpt")).entries["output_weights"].shape == (3, 16)
    assert same(read(str(tmp_path / "tf")).tensors, tuned)
    whole = completed(found)
    assert "left out classifier, the head of a fine-tuned task" in whole.notes and "classifier.weight" not in whole.tensors


@pytest.mark.parametrize(
    ("setting", "capitals", "lower"), [(None, 0, 1), (None, 1, 0), (True, 1, 1), (False, 1, 0), (False, 0, 1)]
)
def test_text_is_lowered_unless_the_vocabulary_has_capitals(
    tmp_path: Path, setting: bool | None, capitals: int, lower: int
) -> None:
    vocab = Vocab((*VOCAB.tokens, "The" if capitals else "the", "[unused1]"))
    folder = save(tmp_path, shape(vocab_size=len(vocab)) | NEZHA, random_weights(vocab=vocab).tensors, vocab)
    if setting is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": setting}))
    found = read(str(folder))
    assert found.do_lower_case is (setting is True or not capitals)
    assert any("the vocabulary has no capitals" in note for note in found.notes) is (setting is False and not capitals)


def test_a_training_starts_from_weights_of_its_own_shape_and_vocabulary_only(tmp_path: Path) -> None:
    weights = without(random_weights(), *HEADS)
    write(weights, str(tmp_path), "huggingface", "tiny")
    wanted = replace(TINY, hidden_dropout_prob=0.0, initializer_range=0.01)
    tensors = start(str(tmp_path), wanted, VOCAB)
    PretrainingModel(wanted, len(VOCAB)).load_state_dict(tensors)
    assert torch.equal(tensors[names.WORDS], weights.tensors[names.WORDS])
    assert same(tensors, start(str(tmp_path), TINY, VOCAB))  # new heads too
    with pytest.raises(CheckpointError, match="a different network: hidden_act is gelu_tanh there, gelu in the recipe; set"):
        start(str(tmp_path), replace(TINY, hidden_act="gelu"), VOCAB)
    with pytest.raises(CheckpointError, match=r"its vocabulary .* differs from the data"):
        start(str(tmp_path), TINY, Vocab((*VOCAB.tokens[:-1], "##h")))


def test_a_checkpoint_of_ours_becomes_any_form_and_all_start_a_pretraining(tmp_path: Path) -> None:
    run = tiny.pretrain_run(tiny.prepare(tmp_path / "data", rows=60), tmp_path / "run", validate_every=20, checkpoint_every=20)
    result = train(run)
    trained, config, vocab = load_weights(result.last_checkpoint)
    assert (config, vocab) == (tiny.ENCODER, tiny.VOCAB)
    assert same(load_weights(str(tmp_path / "run"))[0], trained)  # the best of the folder is its only one
    with pytest.raises(CheckpointError, match="has its own configuration and vocabulary: leave out --config"):
        read(result.last_checkpoint, positions="functional")
    for form in FORMATS:
        if form == "huawei-tensorflow":
            with pytest.raises(CheckpointError, match="max_relative_position 64, but these weights have 16"):
                write(read(result.last_checkpoint), str(tmp_path / form), form, "tiny")
            continue
        converting.convert(result.last_checkpoint, str(tmp_path / form), to=form)
        state, config, vocab = load_weights(str(tmp_path / form))
        assert same(state, trained) and vocab == tiny.VOCAB and config == tiny.ENCODER
        PretrainingModel(config, len(vocab)).load_state_dict(state)


def test_converted_weights_fill_masks(tmp_path: Path) -> None:
    weights = random_weights()
    write(weights, str(tmp_path / "tf"), "huawei-tensorflow", "tiny")
    facts = converting.convert(str(tmp_path / "tf"), str(tmp_path / "ours"))
    card = (tmp_path / "ours" / "README.md").read_text("utf-8")
    assert "converted with nezha-pipe from weights of Huawei's TensorFlow" in card and "pretrained with" not in card
    assert all(f"- {note}\n" in card for note in facts["notes"])
    assert facts["from"] == "Huawei's TensorFlow" and facts["tokens"] == len(VOCAB) and facts["layers"] == 3
    assert facts["parameters"] == sum(tensor.numel() for tensor in weights.tensors.values())
    model = PretrainingModel(TINY, len(VOCAB)).eval()
    model.load_state_dict(weights.tensors)
    ids = torch.tensor([[VOCAB.ids[token] for token in ("[CLS]", "今", "[MASK]", "气", "[SEP]")]])
    scores = model(ids, None, None, torch.tensor([2]))[0][0]
    best = len(SPECIALS) + int(scores[len(SPECIALS) :].argmax())  # special tokens are never guessed
    (guesses,) = fill(str(tmp_path / "ours"), ["今[MASK]气"], 1)
    assert guesses[0][0]["text"] == VOCAB.tokens[best]


def test_config_and_vocabulary_can_be_given_by_url(tmp_path: Path) -> None:
    weights = random_weights()
    write(weights, str(tmp_path / "tf"), "huawei-tensorflow", "tiny")
    (tmp_path / "tf" / "bert_config.json").rename(tmp_path / "shape.json")
    (tmp_path / "tf" / "vocab.txt").rename(tmp_path / "tokens.txt")
    prefix = str(tmp_path / "tf" / "model.ckpt")
    found = read(prefix, config_url=str(tmp_path / "shape.json"), vocab_url=str(tmp_path / "tokens.txt"))
    assert same(found.tensors, weights.tensors)
    assert same(
        read(f"{prefix}.index", config_url=str(tmp_path / "shape.json"), vocab_url=str(tmp_path / "tokens.txt")).tensors,
        weights.tensors,
    )


def test_of_several_tensorflow_checkpoints_the_named_one_is_read(tmp_path: Path) -> None:
    weights = random_weights()
    write(weights, str(tmp_path), "huawei-tensorflow", "tiny")
    for suffix in ("index", "data-00000-of-00001"):
        (tmp_path / f"model.ckpt.{suffix}").rename(tmp_path / f"model.ckpt-200.{suffix}")
        (tmp_path / f"model.ckpt-100.{suffix}").write_bytes(b"older")
    with pytest.raises(CheckpointError, match=r"several checkpoints, model.ckpt-100, model.ckpt-200; give one"):
        read(str(tmp_path))
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/home/x/model.ckpt-200"\n')
    assert same(read(str(tmp_path)).tensors, weights.tensors)


def test_any_fsspec_url_will_do() -> None:
    weights = random_weights()
    write(weights, "memory://converted/tf", "huawei-tensorflow", "tiny")
    assert same(read("memory://converted/tf").tensors, weights.tensors)
    write(weights, "memory://converted/pt", "huawei-pytorch", "tiny")
    assert same(read("memory://converted/pt").tensors, weights.tensors)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "ours"])
def test_a_form_that_has_no_word_for_positions_is_refused(tmp_path: Path, form: WeightFormat) -> None:
    paper: EncoderConfig = replace(TINY, relative_positions="paper")
    with pytest.raises(CheckpointError, match=f"{form} clips relative positions"):
        write(random_weights(paper), str(tmp_path), form, "tiny")
    assert not list(tmp_path.iterdir())


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    for form in FORMATS:
        for folder in ("a", "b"):
            write(random_weights(), str(tmp_path / folder / form), form, "tiny")
        for name in storage.list_names(str(tmp_path / "a" / form)):
            assert (tmp_path / "a" / form / name).read_bytes() == (tmp_path / "b" / form / name).read_bytes(), name


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    write(random_weights(), str(tmp_path), "huggingface", "tiny")
    assert "cls.predictions.decoder.weight" not in safetensors.torch.load_file(tmp_path / "model.safetensors")
    size = (tmp_path / "model.safetensors").stat().st_size
    write(random_weights(), str(tmp_path / "pt"), "huawei-pytorch", "tiny")
    pickle = torch.load(tmp_path / "pt" / "pytorch_model.bin", weights_only=True)
    tied = pickle["cls.predictions.decoder.weight"], pickle["bert.embeddings.word_embeddings.weight"]
    assert tied[0].data_ptr() == tied[1].data_ptr() and size < 60_000


def test_the_page_names_the_forms_and_what_their_files_are(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "weights.md").read_text("utf-8")
    table = page.split("| `--to` |")[1].splitlines()[2:]
    rows = [line.split("|")[1:3] for line in table if line.startswith("|")][: len(FORMATS)]
    assert [form.strip(" `") for form, _ in rows] == [*FORMATS] == [*converting.FORMATS]
    for form, files in rows:
        write(random_weights(), str(tmp_path / form.strip(" `")), form.strip(" `"), "tiny")  # type: ignore[arg-type]
        written = storage.list_names(str(tmp_path / form.strip(" `")))
        assert all(any(name.startswith(one) or one in name for name in written) for one in re.findall("`([^`]+)`", files))
