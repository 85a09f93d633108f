"""An export: transformers loads it in a separate process and computes and tokenizes as we do; a broken one is refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from benchmarks import peers
from model.config import EncoderConfig
from model.exporting.export import export_model, load_export
from model.heads import PretrainingModel
from model.remote_code import attention_nezha as attention
from model.training.loop import train
from pipeline import storage
from pipeline.errors import CheckpointError
from pipeline.tokenization.vocab import Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from tests import tiny
from workflows.cli import main
from workflows.converting import convert
from workflows.exporting import export_checkpoint, find_checkpoint
from workflows.inference.fill_mask import fill

TOKENS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2028", "今", "天", "气", "很", "好", "，", "。", "北", "京"),
    *("cafe", "Cafe", "##s", "[", "]", "mask", "1", "##9", "（", "）", "x", '"', "-"),
)
TINY = EncoderConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_relative_position=6)
FACTS = {
    "name": "tiny",
    "sources": [
        {"source": "news", "licence": "CC BY 4.0", "rows": 20_433, "tokens": 2_172_390, "share": 0.6},
        {"source": "reviews", "licence": "unknown | ask", "rows": 33_046, "tokens": 1_517_034, "share": 0.4},
    ],
    "masking": {"policy": "word", "masked_lm_prob": 0.15},
    "validation": [
        {"source": "all", "step": 1_200, "loss": 5.6344, "mlm_loss": 5.0, "masked_accuracy": 0.2312, "pair_accuracy": None}
    ],
    "training": {
        "step": 1_200,
        "samples": 76_800,
        "averaged": [],
        "config": {
            "seed": 7,
            "optimizer": {"variant": "nezha2019", "weight_decay": 0.01},
            "phases": [{"sequence_length": 128, "batch_size": 64, "steps": 1_200, "learning_rate": 1.8e-4, "warmup_steps": 10}],
        },
    },
}
TEXTS = ["今天天气很好，北京。", "“今天”——好……x…“Cafés”", "Cafés 199 x今天", "北京\u2028（cafes）\t\u200b京鑫", "", "CAFE"]
FORMS: tuple[tuple[Literal["released", "paper"], Literal["gelu", "gelu_tanh"], bool, bool], ...] = (
    ("released", "gelu_tanh", True, True),
    ("paper", "gelu", False, False),
)

PROBE = """
import json, sys, torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer
from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, AutoModelForTokenClassification
from transformers import pipeline
folder, request = sys.argv[1], json.loads(sys.argv[2])
ids, mask, segments = (torch.tensor(request[name]) for name in ("input_ids", "attention_mask", "token_type_ids"))
inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
load = {"trust_remote_code": True}
out = {}
with torch.no_grad():
    base = AutoModel.from_pretrained(folder, **load)(**inputs, output_hidden_states=True)
    out["hidden"], out["pooled"] = base.last_hidden_state.tolist(), base.pooler_output.tolist()
    out["layers"] = len(base.hidden_states)
    slow = AutoModel.from_pretrained(folder, attn_implementation="eager", **load)
    out["implementations"] = [AutoModel.from_pretrained(folder, **load).config._attn_implementation]
    out["implementations"].append(slow.config._attn_implementation)
    weighed = slow(**inputs, output_attentions=True)
    out["eager"], out["attentions"] = weighed.last_hidden_state.tolist(), weighed.attentions[0].sum(-1).flatten()[:2].tolist()
    vectors = {**inputs, "inputs_embeds": slow.get_input_embeddings()(ids)}
    del vectors["input_ids"]
    out["embedded"] = slow(**vectors).last_hidden_state.tolist()
    whole, info = AutoModelForPreTraining.from_pretrained(folder, output_loading_info=True, **load)
    both = whole(**inputs)
    out["words"], out["pairs"] = both.prediction_logits.tolist(), both.seq_relationship_logits.tolist()
    out["problems"] = [str(name) for problem in info.values() for name in (problem or ())]
    lm = AutoModelForMaskedLM.from_pretrained(folder, **load)
    out["lm"] = lm(**inputs).logits.tolist()
    out["loss"] = lm(**inputs, labels=ids.masked_fill(mask == 0, -100)).loss.item()
    for name, auto in (("sequence", AutoModelForSequenceClassification), ("token", AutoModelForTokenClassification)):
        out[name] = list(auto.from_pretrained(folder, num_labels=3, **load)(**inputs).logits.shape)
    spans = AutoModelForQuestionAnswering.from_pretrained(folder, **load)(
        **inputs, start_positions=torch.tensor([3, 99]), end_positions=torch.tensor([4, 2])
    )
    out["spans"] = [*spans.start_logits.shape, *spans.end_logits.shape, spans.loss.item() > 0]
tokenizer = AutoTokenizer.from_pretrained(folder, **load)
out["tokenizer"] = [tokenizer(text)["input_ids"] for text in request["texts"]]
out["offsets"] = [tokenizer(text, return_offsets_mapping=True)["offset_mapping"] for text in request["texts"]]
out["pair"] = dict(tokenizer("今天", "北京"))
out["long"] = [len(tokenizer("今天" * 200, truncation=cut)["input_ids"]) for cut in (True, False)]
out["fast"], out["most"] = tokenizer.is_fast, tokenizer.model_max_length
out["padded"] = tokenizer(["今", "今天"], padding=True)["attention_mask"]
filled = pipeline("fill-mask", model=lm, tokenizer=tokenizer)("今[MASK]天", top_k=1)
out["filled"] = filled[0]["token"]
lm.save_pretrained(request["again"])
tokenizer.save_pretrained(request["again"])
out["code"] = type(AutoModelForMaskedLM.from_pretrained(request["again"], **load)).__name__
out["grown"] = list(lm.resize_token_embeddings(40).weight.shape) + list(lm(**inputs).logits.shape)
print(json.dumps(out))
"""


def make(folder: Path, config: EncoderConfig, do_lower_case: bool, map_punctuation: bool = False) -> PretrainingModel:
    """Write a tiny export whose weights are large enough that every part of the network matters."""
    torch.manual_seed(11)
    model = PretrainingModel(config, len(TOKENS)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    write = lambda name, data: storage.write_bytes(str(folder / name), data)  # noqa: E731
    export_model(model, TOKENS, do_lower_case, write, FACTS, map_punctuation)
    return model


@pytest.mark.parametrize(("form", "activation", "do_lower_case", "map_punctuation"), FORMS)
def test_transformers_computes_and_tokenises_as_we_do(
    tmp_path: Path,
    form: Literal["released", "paper"],
    activation: Literal["gelu", "gelu_tanh"],
    do_lower_case: bool,
    map_punctuation: bool,
) -> None:
    pytest.importorskip("transformers")
    config = replace(TINY, relative_positions=form, hidden_act=activation)
    model = make(tmp_path / "export", config, do_lower_case, map_punctuation)
    input_ids = torch.randint(5, len(TOKENS), (2, 20), generator=torch.Generator().manual_seed(3))
    mask = torch.arange(20) < torch.tensor([[20], [13]])
    segments = (torch.arange(20) > 7).long().expand(2, 20)
    request = {
        "input_ids": input_ids.tolist(),
        "attention_mask": mask.long().tolist(),
        "token_type_ids": segments.tolist(),
        "texts": TEXTS,
        "again": str(tmp_path / "again"),
    }
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path / "export"), json.dumps(request)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    theirs: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])

    with torch.no_grad():
        hidden = model.nezha(input_ids, mask, segments)
        words, pairs = model(input_ids, mask, segments, mask.flatten().nonzero()[:, 0])
    for name, expected in (
        ("hidden", hidden[mask]),  # values at padding are meaningless
        ("pooled", model.nezha.pool(hidden)),
        ("words", words),
        ("lm", words),
        ("eager", hidden[mask]),
        ("embedded", hidden[mask]),
        ("pairs", pairs),
    ):
        found = torch.tensor(theirs[name])
        found = found[mask] if found.ndim == 3 else found
        torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-5, msg=name)
    assert theirs["problems"] == [] and theirs["layers"] == 3
    expected_loss = torch.nn.functional.cross_entropy(words, input_ids[mask]).item()
    assert theirs["loss"] == pytest.approx(expected_loss, rel=1e-4)
    assert theirs["sequence"] == [2, 3] and theirs["token"] == [2, 20, 3] and theirs["spans"] == [2, 20, 2, 20, True]
    assert theirs["implementations"] == ["sdpa", "eager"] and theirs["attentions"] == pytest.approx([1.0, 1.0])
    assert theirs["code"] == "NezhaForMaskedLM" and theirs["grown"] == [40, 16, 2, 20, 40]

    vocab = Vocab(TOKENS)
    encoder = WordPieceEncoder(vocab, do_lower_case, map_punctuation)
    ours = [encoder.encode(text) for text in TEXTS]
    assert theirs["tokenizer"] == [[vocab.cls_id, *encoded.ids.tolist(), vocab.sep_id] for encoded in ours]
    assert [offsets[1:-1] for offsets in theirs["offsets"]] == [encoded.offsets.tolist() for encoded in ours]
    assert (ours[1].unknown == 0) is map_punctuation
    assert theirs["fast"] and theirs["most"] == 128 and theirs["long"] == [128, 402]
    assert theirs["padded"] == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert theirs["pair"]["input_ids"] == [2, 6, 7, 3, 13, 14, 3]
    assert theirs["pair"]["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    fill, _ = model(torch.tensor([[2, 6, 4, 7, 3]]), None, None, torch.tensor([2]))
    assert theirs["filled"] == fill.argmax().item()

    saved = safetensors.torch.load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in saved.items())


@pytest.mark.parametrize("positions", ["functional", "relative", "absolute"])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_each_kind_of_positions_is_exported(tmp_path: Path, positions: Any, implementation: str) -> None:
    pytest.importorskip("transformers")
    from model.remote_code.configuration_nezha import NezhaPipeConfig
    from model.remote_code.modeling_nezha import NezhaModel

    model = make(tmp_path, replace(TINY, positions=positions, max_position_embeddings=40), True)
    kept: dict[str, Any] = {"max_position_embeddings": 40, "max_relative_position": 64} if positions == "absolute" else {}
    assert load_export(str(tmp_path))[1] == replace(TINY, positions=positions, **kept), "what the form lacks is not kept"
    settings = json.loads((tmp_path / "config.json").read_text("utf-8"))
    network: Any = NezhaModel(NezhaPipeConfig(**settings, attn_implementation=implementation))
    network.eval().load_state_dict(model.nezha.state_dict())
    ids = torch.randint(len(TOKENS), (2, 30), generator=torch.Generator().manual_seed(4))
    mask = torch.arange(30) < torch.tensor([[30], [11]])
    with torch.no_grad():
        expected, found = model.nezha(ids, mask), network(ids, mask.long()).last_hidden_state
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-5)
    if positions == "absolute":
        with pytest.raises(ValueError, match="the model has positions for 40"):
            network(torch.zeros(1, 41, dtype=torch.long))


OLD = """
import json, sys, torch, transformers
from transformers import AutoModel, AutoModelForQuestionAnswering, AutoTokenizer
from transformers.models.deprecated.nezha.modeling_nezha import NezhaModel
folder, ids = sys.argv[1], torch.tensor([[2, 6, 4, 7, 3] * 3])
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
slow = AutoModel.from_pretrained(folder, trust_remote_code=True, attn_implementation="eager").eval()
with torch.no_grad():
    out = {"hidden": model(ids).last_hidden_state.tolist(), "eager": slow(ids).last_hidden_state.tolist()}
out["implementations"] = [one.config._attn_implementation for one in (model, slow)]
out["head"] = type(AutoModelForQuestionAnswering.from_pretrained(folder, trust_remote_code=True)).__name__
out["tokenizer"] = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)("今天，好")["input_ids"]
for name, load in (("by name", NezhaModel.from_pretrained), ("by type", AutoModel.from_pretrained)):
    try:
        load(folder, **({"trust_remote_code": False} if name == "by type" else {}))
        out[name] = "loaded"
    except Exception as error:
        out[name] = type(error).__name__
print(json.dumps(out))
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["released", "paper"])
def test_transformers_4_loads_the_code_and_its_own_class_refuses_the_weights(
    tmp_path: Path, form: Literal["released", "paper"]
) -> None:
    try:
        python = peers.environment(os.environ.get("PEERS_PYTHON"))
    except peers.PeerMissing as missing:
        pytest.skip(str(missing))
    model = make(tmp_path / "export", replace(TINY, relative_positions=form), True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [python, "-c", OLD, str(tmp_path / "export")]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    theirs = json.loads(run.stdout.splitlines()[-1])
    with torch.no_grad():
        expected = model.nezha(torch.tensor([[2, 6, 4, 7, 3] * 3]))
    for name in ("hidden", "eager"):
        torch.testing.assert_close(torch.tensor(theirs[name]), expected, rtol=1e-5, atol=1e-5, msg=name)
    assert theirs["implementations"] == ["sdpa", "eager"] and theirs["head"] == "NezhaForQuestionAnswering"
    assert theirs["tokenizer"] == [2, 6, 7, 11, 10, 3]
    assert "loaded" not in (theirs["by name"], theirs["by type"])


def test_an_export_loads_as_it_was_written(tmp_path: Path) -> None:
    model = make(tmp_path, TINY, do_lower_case=False, map_punctuation=True)
    loaded, config, tokens, rules = load_export(str(tmp_path))
    assert (config, tuple(tokens), rules) == (TINY, TOKENS, {"do_lower_case": False, "map_punctuation": True})
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in loaded.state_dict().items())
    assert all(weight.requires_grad and weight.device.type == "cpu" for weight in loaded.parameters())


def test_an_export_tells_rules_of_text_data_and_validation_as_they_were_recorded(tmp_path: Path) -> None:
    run = tiny.pretrain_run(tiny.prepare(tmp_path / "data", rows=60), tmp_path / "run", validate_every=20, checkpoint_every=20)
    result = train(run)
    assert result.last_checkpoint
    export_checkpoint(result.last_checkpoint, str(tmp_path / "export"), {"name": "tiny"}, data=str(tmp_path / "data"))
    assert load_export(str(tmp_path / "export"))[3] == {"do_lower_case": True, "map_punctuation": True}
    card = (tmp_path / "export" / "README.md").read_text("utf-8")
    assert "| news | not recorded | 50.0% | 60 |" in card and "- 20 steps, 320 sequences" in card
    assert f"| all | 20 | {result.best_validation_loss:.3f} |" in card
    with pytest.raises(
        CheckpointError, match="the shards of news/24, reviews/24 that the checkpoint was trained on are not here"
    ):
        export_checkpoint(result.last_checkpoint, str(tmp_path / "again"), {}, data=str(tmp_path))
    export_checkpoint(result.last_checkpoint, str(tmp_path / "alone"), {})
    assert "Not recorded with this export." in (tmp_path / "alone" / "README.md").read_text("utf-8")


def test_an_export_reports_its_checkpoint_and_that_training_is_still_running(tmp_path: Path) -> None:
    run = tiny.pretrain_run(tiny.prepare(tmp_path / "data", rows=60), tmp_path / "run", validate_every=20, checkpoint_every=20)
    result = train(run)
    command = ["export", str(tmp_path / "run"), "--output", str(tmp_path / "export")]
    ended = CliRunner(catch_exceptions=False).invoke(main, command).stderr
    assert (
        ended == f"attempt-0001/checkpoint-00000020: the best checkpoint, validation loss {result.best_validation_loss:.4g}\n"
    )
    progress = tmp_path / "run" / "progress.json"
    progress.write_text(json.dumps({**json.loads(progress.read_text()), "steps": 3_000}))
    running = CliRunner(catch_exceptions=False).invoke(main, command).stderr
    assert running == f"{ended.strip()}; training is at step 20 of 3,000\n"


def test_masks_are_filled_in_text_as_it_was_trained_on(tmp_path: Path) -> None:
    make(tmp_path / "mapped", TINY, True, map_punctuation=True)
    make(tmp_path / "plain", TINY, True)
    texts = ["“今[MASK]天”", '"今[MASK]天"']
    curly, straight = fill(str(tmp_path / "mapped"), texts, 3)
    assert curly == straight
    curly, straight = fill(str(tmp_path / "plain"), texts, 3)
    assert curly != straight


def test_an_export_of_before_maps_no_punctuation(tmp_path: Path) -> None:
    make(tmp_path, TINY, True)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}', "utf-8")
    assert load_export(str(tmp_path))[3] == {"do_lower_case": True, "map_punctuation": False}


def definition(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, clip: int | None, mask: torch.Tensor) -> torch.Tensor:
    """NEZHA's attention as in the paper, with the table of all pairs."""
    length, width = q.shape[-2:]
    offset = torch.arange(length) - torch.arange(length)[:, None]
    index = offset if clip is None else offset.clamp(-clip, clip) + clip
    angle = index[..., None].double() * 10_000.0 ** (-torch.arange(0, width, 2).double() / width)
    table = torch.stack((angle.sin(), angle.cos()), -1).flatten(-2)
    scores = (q @ k.mT + torch.einsum("bnlh,lmh->bnlm", q, table)) * width**-0.5
    weights = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(-1)
    context: torch.Tensor = weights @ v + torch.einsum("bnlm,lmh->bnlh", weights, table)
    return context


@pytest.mark.parametrize("clip", [None, 6, 64])
@pytest.mark.parametrize("length", [1, 7, 8, 130, 300])
@pytest.mark.parametrize("weights", [False, True], ids=["attend", "weighed"])
def test_each_form_of_attention_is_the_definition_with_its_gradients(clip: int | None, length: int, weights: bool) -> None:
    torch.manual_seed(length)
    q, k, v = inputs = [torch.randn(2, 3, length, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = torch.arange(length) < torch.tensor([[length], [max(1, length // 2)]])
    bias = torch.zeros(2, length, dtype=torch.float64).masked_fill(~mask, torch.finfo(torch.float64).min / 2)[:, None, None, :]
    where = attention.positions(length, 8, clip, q)
    if weights:
        found, shares = attention.weighed(q, k, v, where, bias, 0.0)
        torch.testing.assert_close(shares.sum(-1), torch.ones(2, 3, length, dtype=torch.float64))
    else:
        found = attention.attend(q, k, v, where, bias, 0.0)
    expected = definition(q, k, v, clip, mask)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    aim = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad((found * aim).sum(), inputs), torch.autograd.grad((expected * aim).sum(), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weights", [False, True], ids=["attend", "weighed"])
def test_learned_rows_are_taken_by_clipped_offset(weights: bool) -> None:
    torch.manual_seed(2)
    q, k, v = (torch.randn(1, 2, 150, 4, dtype=torch.float64) for _ in range(3))
    keys, values = torch.randn(11, 4, dtype=torch.float64), torch.randn(11, 4, dtype=torch.float64)
    where = attention.learned(keys, values)
    found = attention.weighed(q, k, v, where, None, 0.0)[0] if weights else attention.attend(q, k, v, where, None, 0.0)
    row = (torch.arange(150) - torch.arange(150)[:, None]).clamp(-5, 5) + 5
    shares = ((q @ k.mT + torch.einsum("bnlh,lmh->bnlm", q, keys[row])) / 2).softmax(-1)
    torch.testing.assert_close(found, shares @ v + torch.einsum("bnlm,lmh->bnlh", shares, values[row]))


def test_positions_far_into_a_text_lose_no_precision() -> None:
    """The same 8 tokens at the start and after 4,000 masked ones: only their offsets matter."""
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, 1, 8, 64) for _ in range(3))
    long_q, long_k, long_v = (torch.cat((torch.randn(1, 1, 4_000, 64), part), 2) for part in (q, k, v))
    bias = torch.zeros(1, 1, 1, 4_008).masked_fill(torch.arange(4_008) < 4_000, torch.finfo(torch.float32).min / 2)
    for clip in (None, 64):
        near = attention.attend(q, k, v, attention.positions(8, 64, clip, q), None, 0.0)
        far = attention.attend(long_q, long_k, long_v, attention.positions(4_008, 64, clip, q), bias, 0.0)
        torch.testing.assert_close(far[:, :, 4_000:], near, rtol=2e-6, atol=2e-6)


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a", TINY, True)
    make(tmp_path / "b", TINY, True)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        *("README.md", "attention_nezha.py", "config.json", "configuration_nezha.py", "model.safetensors", "modeling_nezha.py"),
        *("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
    ]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_the_card_tells_sources_licences_and_training(tmp_path: Path) -> None:
    make(tmp_path, TINY, True)
    card = (tmp_path / "README.md").read_text("utf-8")
    assert card.startswith("---\nlanguage: zh\nlibrary_name: transformers\n")
    for line in (
        "# tiny",
        "| news | CC BY 4.0 | 60.0% | 20,433 | 2,172,390 |",
        "| reviews | unknown \\| ask | 40.0% | 33,046 | 1,517,034 |",
        "- 1,200 steps, 76,800 sequences",
        "- masking: word, 15% of the tokens",
        "| all | 1,200 | 5.634 | 5.000 | 23.1% | - |",
        "28 tokens: one per Chinese character, WordPiece for other words. Latin text is lowercased and stripped of accents.",
        "- phase 1: length 128, 64 sequences per step, 1,200 steps, learning rate 0.00018, 10 warm-up steps",
    ):
        assert line in card.splitlines(), line


def test_a_vocabulary_of_another_model_is_refused() -> None:
    model = PretrainingModel(TINY, len(TOKENS) + 1)
    with pytest.raises(CheckpointError, match="29 tokens, the vocabulary 28"):
        export_model(model, TOKENS, True, lambda name, data: None, {})


def set_config(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "config.json").read_text("utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(content), "utf-8")


def set_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
    "no folder": (shutil.rmtree, "no such folder"),
    "a BERT model": (lambda folder: set_config(folder, model_type="bert"), "model_type is 'bert'"),
    "an unknown activation": (lambda folder: set_config(folder, hidden_act="relu"), "unsupported hidden_act 'relu'"),
    "an unknown form": (
        lambda folder: set_config(folder, relative_positions="learned"),
        "unsupported relative_positions 'learned'",
    ),
    "heads that do not divide": (lambda folder: set_config(folder, num_attention_heads=3), "not a multiple"),
    "no heads": (lambda folder: set_config(folder, num_attention_heads=0), "config.json"),
    "another width": (lambda folder: set_config(folder, intermediate_size=25), "has shape .* config.json requires"),
    "another depth": (lambda folder: set_config(folder, num_hidden_layers=3), "layer.2.* is missing"),
    "another vocabulary size": (lambda folder: set_config(folder, vocab_size=30), "28 tokens, but config.json says 30"),
    "a list for a configuration": (lambda folder: (folder / "config.json").write_text("[]"), "not a JSON object"),
    "a short vocabulary": (
        lambda folder: (folder / "vocab.txt").write_text("\n".join(TOKENS[:-1]), "utf-8"),
        "27 tokens, but config.json says 28",
    ),
    "a vocabulary with a blank line": (
        lambda folder: (folder / "vocab.txt").write_text("\n\n".join(TOKENS), "utf-8"),
        "vocab.txt: line 2 is blank",
    ),
    "case left open": (
        lambda folder: (folder / "tokenizer_config.json").write_text("{}", "utf-8"),
        "do_lower_case is not true or false",
    ),
    "weights cut short": (lambda folder: cut(folder / "model.safetensors"), "model.safetensors: damaged"),
    "a weight less": (
        lambda folder: set_weights(folder, lambda weights: weights.pop("cls.predictions.bias")),
        "cls.predictions.bias is missing",
    ),
    "a weight more": (
        lambda folder: set_weights(folder, lambda weights: weights.update(extra=torch.zeros(1))),
        "extra is not part of a NEZHA model",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_export_is_refused_by_name(tmp_path: Path, name: str) -> None:
    make(tmp_path / "export", TINY, True)
    breaks, message = BROKEN[name]
    breaks(tmp_path / "export")
    with pytest.raises(CheckpointError, match=message) as refused:
        load_export(str(tmp_path / "export"))
    assert str(tmp_path / "export") in str(refused.value) and "\n" not in str(refused.value)


def test_what_transformers_saved_without_vocab_txt_has_its_vocabulary_in_tokenizer_json(tmp_path: Path) -> None:
    make(tmp_path / "saved", TINY, True)
    (tmp_path / "saved" / "vocab.txt").unlink()
    assert convert(str(tmp_path / "saved"), str(tmp_path / "out"))["tokens"] == len(TOKENS)
    assert tuple(load_export(str(tmp_path / "out"))[2]) == TOKENS
    content = json.loads((tmp_path / "saved" / "tokenizer.json").read_text("utf-8"))
    content["model"]["vocab"]["今"] = 99
    (tmp_path / "saved" / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: ids are missing or shared; give the vocab\.txt"):
        convert(str(tmp_path / "saved"), str(tmp_path / "other"))


def test_a_folder_gets_no_mix_of_two_formats_or_of_an_export_and_a_checkpoint(tmp_path: Path) -> None:
    make(tmp_path / "export", TINY, True)
    convert(str(tmp_path / "export"), str(tmp_path / "out"), to="huawei-pytorch")
    with pytest.raises(CheckpointError, match=r"has weights of another format, pytorch_model\.bin"):
        convert(str(tmp_path / "export"), str(tmp_path / "out"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.json").write_text("{}")
    with pytest.raises(CheckpointError, match="a checkpoint, whose files an export would replace"):
        export_checkpoint("nowhere", str(tmp_path / "run"), {})
    (tmp_path / "run" / "best.json").write_text("{}")
    with pytest.raises(CheckpointError, match="a training folder, whose files an export would replace"):
        convert(str(tmp_path / "export"), str(tmp_path / "run"), to="huggingface")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["best.json", "checkpoint.json"]


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"checkpoint": 7}'])
def test_a_damaged_note_on_the_best_checkpoint_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"best\.json: damaged; name a checkpoint in"):
        find_checkpoint(str(tmp_path))
