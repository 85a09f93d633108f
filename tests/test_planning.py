"""`plan`: parameters and FLOPs as torch counts them; hours, memory and disk from both."""

import json
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

from model.config import EncoderConfig
from model.flops import sequence_flops
from model.heads import PretrainingModel
from model.optimization.schedule import sequences
from model.sizes import activation_bytes, parameters, training_memory
from workflows import recipe
from workflows.chain import Chain
from workflows.cli import main
from workflows.planning import BYTES_PER_TOKEN, GPUS, costs, lines, shard_bytes, vocabulary_size

SMALL = EncoderConfig(
    hidden_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=192,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    max_position_embeddings=96,
)
VOCABULARY = 1_000


@pytest.mark.parametrize("positions", ["functional", "relative", "absolute"])
def test_parameters_are_those_of_the_network(positions: str) -> None:
    config = EncoderConfig(**{**vars(SMALL), "positions": positions})
    network = PretrainingModel(config, VOCABULARY)
    assert parameters(config, VOCABULARY) == sum(weight.numel() for weight in network.parameters())


def test_parameters_of_the_networks_of_the_paper() -> None:
    assert parameters(recipe.load("nezha-base-2019").encoder, 21_128) == 102_489_226
    assert parameters(recipe.load("nezha-large-2019").encoder, 21_128) == 326_072_970
    # Google's bert-base-chinese: 102,267,648 in the encoder and its pooler, and the same heads.
    heads = 102_489_226 - 101_874_432
    assert parameters(recipe.load("bert").encoder, 21_128) == 102_267_648 + heads


@pytest.mark.parametrize(("positions", "length"), [("absolute", 96), ("functional", 96), ("functional", 32)])
def test_operations_are_those_that_torch_counts(positions: str, length: int) -> None:
    config = EncoderConfig(**{**vars(SMALL), "positions": positions})
    network = PretrainingModel(config, VOCABULARY)
    network.nezha.use_attention("eager")  # the plain products, which the counter knows
    ids = torch.randint(0, VOCABULARY, (2, length))
    masked = torch.arange(0, 2 * length, 4)
    with FlopCounterMode(display=False) as counter:
        mlm, pairs = network(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids), masked)
        forward = counter.get_total_flops()
        (mlm.sum() + pairs.sum()).backward()
    ours = 2 * sequence_flops(config, length, VOCABULARY, 0.25)
    # Pooler and pair head are not in the formula.
    assert 3 * forward == pytest.approx(ours, rel=0.01)
    # Backward: nothing flows into a table without weights.
    assert counter.get_total_flops() == pytest.approx(ours, rel=0.01 if positions == "absolute" else 0.08)


@pytest.mark.parametrize(
    ("name", "length", "gigaflop"),
    [("nezha-base-2019", 128, 70.8), ("nezha-base-2019", 512, 326.7), ("nezha-large-2019", 128, 244.2)],
)
def test_operations_of_the_networks_of_the_paper(name: str, length: int, gigaflop: float) -> None:
    flops = sequence_flops(recipe.load(name).encoder, length, 21_128, 0.15)
    assert flops / 1e9 == pytest.approx(gigaflop, abs=0.05)


def test_relative_terms_cost_as_much_as_attention_once_more() -> None:
    base = EncoderConfig()
    plain, whole = (sequence_flops(base, 512, 21_128, 0.15, relative=relative) for relative in (False, True))
    assert whole - plain == 3 * 12 * 4 * 512 * 512 * 768
    absolute = EncoderConfig(positions="absolute")
    assert sequence_flops(absolute, 512, 21_128, 0.15) == plain
    learned = EncoderConfig(positions="relative")
    assert sequence_flops(learned, 512, 21_128, 0.15) - plain == 3 * 12 * 4 * 512 * 129 * 768


def test_hours_follow_from_operations_and_the_peak() -> None:
    loaded = recipe.load("nezha-base-2019")
    cost = costs(loaded, gpus=8, gpu="h100")
    flops = sum(
        sequences(phase) * sequence_flops(loaded.encoder, phase.sequence_length, 21_128, 0.15) for phase in loaded.phase
    )
    assert cost["hours"] == pytest.approx(flops / (8 * 989e12 * GPUS["h100"].mfu) / 3_600)
    assert cost["hours"] / 24 == pytest.approx(2.6, abs=0.05)
    assert costs(loaded, gpus=16, gpu="h100")["hours"] == pytest.approx(cost["hours"] / 2)
    assert costs(loaded, gpus=8, gpu="h100", mfu=0.2)["hours"] == pytest.approx(cost["hours"] * 2)


def test_a_ramp_takes_fewer_sequences() -> None:
    cost = costs(recipe.load("encoder-base-modern"))
    assert cost["training sequences"] == 14_000 * 4_096 + 76_000 * 8_192 + 10_000 * 2_048
    assert cost["phases"][0]["sequences"] == sequences(recipe.load("encoder-base-modern").phase[0])


def test_memory_counts_weights_gradients_and_moments_exactly() -> None:
    memory = training_memory(EncoderConfig(), 21_128, 8_192, 0.15, half=False)
    assert (memory.weights, memory.gradients, memory.optimizer) == tuple(102_489_226 * n for n in (4, 4, 8))
    assert training_memory(EncoderConfig(), 21_128, 8_192, 0.15).weights == 102_489_226 * 6
    assert memory.total == memory.weights + memory.gradients + memory.optimizer + memory.activations + memory.logits


def test_activations_grow_with_tokens_and_shrink_with_checkpointing() -> None:
    base = EncoderConfig()
    small, large = (training_memory(base, 21_128, tokens, 0.15).activations for tokens in (8_192, 16_384))
    assert large == 2 * small == 16_384 * 12 * activation_bytes(base)
    saving = training_memory(base, 21_128, 16_384, 0.15, activation_checkpointing=True).activations
    assert saving == 16_384 * (12 * 4 * 768 + activation_bytes(base))


def kept_for_backward(network: PretrainingModel, rows: int, length: int, half: bool) -> int:
    """Return the bytes that autograd keeps after a forward pass, without weights and their copies in bf16."""
    shapes = {weight.shape for weight in network.parameters()}
    storages = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        is_weight = tensor.shape in shapes or (tensor.dim() == 2 and tensor.t().shape in shapes)
        if not is_weight:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, VOCABULARY, (rows, length))
    masked = torch.arange(0, rows * length, 7)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=half),
    ):
        network(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids), masked)
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


@pytest.mark.parametrize("positions", ["absolute", "functional"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_about_what_torch_keeps(positions: str, half: bool, checkpointing: bool) -> None:
    changed = {"positions": positions, "relative_positions": "paper", "num_hidden_layers": 8}
    config = EncoderConfig(**{**vars(SMALL), **changed})
    network = PretrainingModel(config, VOCABULARY)
    network.nezha.use_attention("sdpa")
    network.nezha.checkpoint_activations(checkpointing)
    kept = kept_for_backward(network, 3, 80, half)
    memory = training_memory(config, VOCABULARY, 240, 1 / 7, half=half, activation_checkpointing=checkpointing)
    planned = memory.activations
    if checkpointing:  # one layer more, while it is computed again
        planned -= 240 * activation_bytes(config, half=half)
    assert kept == pytest.approx(planned + memory.logits / 2, rel=0.25)


def test_memory_is_planned_for_the_tokens_that_a_gpu_gets() -> None:
    loaded = recipe.load("bert-wwm", ["training.micro_batch_tokens=100000"])
    assert costs(loaded, gpus=8)["memory_gb"]["micro_batch_tokens"] == 2_560 // 8 * 128
    assert costs(loaded, gpus=1)["memory_gb"]["micro_batch_tokens"] == 100_000
    assert not costs(loaded, gpus=1, gpu="4090")["memory_gb"]["fits"]
    assert costs(loaded, gpus=1, gpu="h200")["memory_gb"]["fits"]


def test_disk_of_the_text_is_given_when_its_tokens_are_known() -> None:
    loaded = recipe.load("nezha-base-2019")
    disk = costs(loaded, corpus_tokens=2_000_000_000)["disk_gb"]
    per_billion = disk["per billion tokens"]
    assert per_billion.keys() == {*BYTES_PER_TOKEN, "shards"}
    assert all(disk[name] == pytest.approx(2 * per_billion[name], abs=0.02) for name in per_billion)
    assert "documents" not in costs(loaded)["disk_gb"]
    # Four copies (three kept and the best) of weights and two moments, in float32.
    assert disk["checkpoints"] == pytest.approx(4 * 3 * 4 * 102_489_226 / 1e9, abs=0.01)
    assert costs(loaded, corpus_tokens=10_000_000_000)["epochs"] == pytest.approx(25.5)  # 5 times paired anew


def test_bytes_of_shards_follow_their_schema() -> None:
    one = recipe.load("bert-wwm", ["pairs.dupe_factor=1", "masking.static_draws=0"])
    assert shard_bytes(one, 128) == pytest.approx(2 + 1 / 8 + 48 / (0.8 * 128))
    masked = recipe.load("bert-wwm", ["pairs.dupe_factor=3", "masking.static_draws=4"])
    assert shard_bytes(masked, 128) == pytest.approx(3 * (shard_bytes(one, 128) + 4 * 0.15 * 4))


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_shipped_recipe_plans(name: str, tmp_path: Path) -> None:
    arguments = ["plan", name, "--output", str(tmp_path), "--gpus", "4", "--gpu", "a100-80g"]
    result = CliRunner(catch_exceptions=False).invoke(main, arguments)
    assert result.exit_code == 0, result.output
    for figure in (
        "parameters",
        "GFLOP per sequence",
        "hours on 4 x a100-80g",
        "memory per GPU (GB)",
        "with checkpointing",
        "disk",
    ):
        assert figure in result.output
    assert {path.name for path in tmp_path.iterdir()} <= {"digests.json"}, "planning must not start a stage"
    shown = json.loads(CliRunner(catch_exceptions=False).invoke(main, [*arguments, "--json"]).stdout)
    assert shown["costs"] == json.loads(json.dumps(costs(recipe.load(name), gpus=4, gpu="a100-80g")))
    assert {*shown["steps"].values()} == {"to do"}


def test_a_vocabulary_that_is_there_is_counted(tmp_path: Path) -> None:
    given = tmp_path / "vocab.txt"
    given.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "北", "京"]), encoding="utf-8")
    tiny = recipe.load("tiny").encoder

    def planned(*settings: str) -> int:
        result = CliRunner(catch_exceptions=False).invoke(
            main, ["plan", "tiny", "--json", "--output", str(tmp_path / "run"), *settings]
        )
        return int(json.loads(result.stdout)["costs"]["parameters"])

    assert planned("--set", f"vocabulary.url={given}") == parameters(tiny, 7)
    assert planned("--set", "vocabulary.size=900") == parameters(tiny, 900)


def test_the_size_of_a_vocabulary_is_what_was_built_once_it_is(tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": "他出生在北京，后来在上海的大学里读书。" * 20}, ensure_ascii=False), encoding="utf-8")
    content = {"name": "small", "source": [{"name": "text", "kind": "text", "input": [str(text)]}]}
    loaded = recipe.build(content, "small", ["vocabulary.size=900", "filters.judge_from_characters=9000"])
    before = vocabulary_size(Chain(loaded, str(tmp_path / "run")))
    built = Chain(loaded, str(tmp_path / "run")).run("vocabulary").manifest["size"]
    assert before == 900 > built == vocabulary_size(Chain(loaded, str(tmp_path / "run")))


def test_every_gpu_can_be_chosen_and_has_an_mfu_between_0_and_1() -> None:
    (option,) = [option for option in main.commands["plan"].params if option.name == "gpu"]
    assert isinstance(option.type, click.Choice) and [*option.type.choices] == [*GPUS]
    assert all(0 < gpu.mfu < 1 for gpu in GPUS.values())


def test_lines_say_what_is_too_much() -> None:
    shown = dict(lines(costs(recipe.load("nezha-large-2019", ["training.micro_batch_tokens=65536"]), gpu="4090")))
    assert "too much for 24" in shown["memory per GPU (GB)"]
