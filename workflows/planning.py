"""Estimate what a recipe costs: parameters, FLOPs, hours on GPUs, memory and disk.

    costs(load("nezha-base-2019"), gpus=8, gpu="h100")["hours"]     62.8

Nothing is measured on this machine. Hours assume full sequences and a utilisation of the GPU's peak (MFU) that others have
published for similar networks; shorter sequences take less.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from model.flops import PEAK_TERAFLOPS, sequence_flops
from model.optimization.schedule import sequences
from model.sizes import FLOAT32, Memory, parameters, training_memory
from pipeline.facts import DocumentsFacts, VocabularyFacts
from workflows.chain import Chain
from workflows.recipe import Recipe


@dataclass(frozen=True)
class Gpu:
    """One GPU of a model."""

    teraflops: float
    """Peak of dense matrix products in bf16 (V100: fp16), accumulated in float32."""
    memory_gb: int
    mfu: float
    """Model FLOPs utilisation: assumed fraction of the peak, without counting recomputation."""


GPUS: Mapping[str, Gpu] = {
    # 43 %: NVIDIA's DeepLearningExamples, BERT-large at 128 tokens, 224 sequences/s.
    "v100": Gpu(PEAK_TERAFLOPS["V100"], 32, 0.40),
    # 44.7 %: the same on an A100, 580 sequences/s; MLPerf v2.1 reached 47 %.
    "a100-40g": Gpu(PEAK_TERAFLOPS["A100"], 40, 0.45),
    "a100-80g": Gpu(PEAK_TERAFLOPS["A100"], 80, 0.45),
    # MLPerf v3.1 and v4.0: 48 % and 49 % of the bf16 peak, with FP8; ModernBERT, in bf16, 26 % to 33 %.
    "h100": Gpu(PEAK_TERAFLOPS["H100"], 80, 0.40),
    "h200": Gpu(PEAK_TERAFLOPS["H200"], 141, 0.40),
    # MLPerf v4.1, preview.
    "b200": Gpu(PEAK_TERAFLOPS["B200"], 180, 0.29),
    # No published figure.
    "4090": Gpu(165, 24, 0.40),
}
BYTES_PER_TOKEN = {"documents": 1.8, "signatures": 0.5, "tokens": 2.3}
"""Bytes on disk per token of text, by stage: measured on news, an encyclopedia and articles (1.1 to 2.0; 0.5; 2.3)."""
ROW_BYTES = 48
"""Bytes of a shard's row that do not depend on its length."""
MEAN_LENGTH = 0.8
"""Mean length of a row as a fraction of the longest."""
USABLE_MEMORY = 0.9
"""Fraction of a GPU's memory to plan for; the allocator and communication need the rest."""


def costs(
    recipe: Recipe,
    *,
    vocabulary_size: int | None = None,
    gpus: int = 8,
    gpu: str = "h100",
    mfu: float | None = None,
    corpus_tokens: int | None = None,
) -> dict[str, Any]:
    """Return all figures by name, as JSON types.

    Args:
        vocabulary_size: tokens of the vocabulary; None = the maximum size of one to be built.
        gpus: number of GPUs.
        gpu: their model, a key of `GPUS`.
        mfu: fraction of the peak to assume; None = that of the GPU model.
        corpus_tokens: tokens of all sources together; None = unknown.
    """
    kind = GPUS[gpu]
    utilisation = mfu if mfu is not None else kind.mfu
    size = vocabulary_size or recipe.vocabulary.size
    phases = [_phase(recipe, number, size, gpus * kind.teraflops * 1e12 * utilisation) for number in range(len(recipe.phase))]
    tokens = sum(phase["sequences"] * phase["sequence_length"] for phase in phases)
    return {
        "parameters": parameters(recipe.encoder, size),
        "training sequences": sum(phase["sequences"] for phase in phases),
        "training tokens": tokens,
        "training petaflop": round(sum(phase["petaflop"] for phase in phases), 3),
        "phases": phases,
        "machine": {"gpus": gpus, "gpu": gpu, "mfu": utilisation, "teraflops": kind.teraflops, "memory_gb": kind.memory_gb},
        "hours": sum(phase["hours"] for phase in phases),
        "memory_gb": _memory(recipe, size, gpus, kind),
        "disk_gb": _disk(recipe, size, corpus_tokens),
        "corpus_tokens": corpus_tokens,
        "epochs": round(tokens / (corpus_tokens * recipe.pairs.dupe_factor), 1) if corpus_tokens else None,
    }


def vocabulary_size(chain: Chain) -> int:
    """Return the size of the vocabulary that is given or already built, else the maximum size of one to be built.

    Raises: StorageError or CorpusError for an unusable vocabulary file.
    """
    from pipeline import storage
    from pipeline.tokenization.vocab import Vocab

    recipe = chain.recipe
    if url := recipe.vocabulary.url:
        return len(Vocab.from_bytes(storage.read_bytes(url), url))
    built = chain.find("vocabulary")
    return VocabularyFacts.of(built).size if built else recipe.vocabulary.size


def corpus_tokens(chain: Chain) -> int | None:
    """Return the tokens of the documents, about one per character; None if some sources have not been read yet."""
    characters = 0
    for step in chain.steps.values():
        if step.kind == "documents":
            if (documents := chain.find(step.name)) is None:
                return None
            characters += DocumentsFacts.of(documents).characters
    return characters or None


def _phase(recipe: Recipe, number: int, vocabulary_size: int, flops_per_second: float) -> dict[str, Any]:
    phase = recipe.phase[number]
    flops = sequence_flops(recipe.encoder, phase.sequence_length, vocabulary_size, recipe.masking.masked_lm_prob)
    total = sequences(phase) * flops
    return {
        "sequence_length": phase.sequence_length,
        "batch_size": phase.batch_size,
        "steps": phase.steps,
        "sequences": sequences(phase),
        "gigaflop_per_sequence": round(flops / 1e9, 3),
        "petaflop": round(total / 1e15, 3),
        "hours": total / flops_per_second / 3_600,
    }


def _memory(recipe: Recipe, vocabulary_size: int, gpus: int, kind: Gpu) -> dict[str, Any]:
    per_gpu = max((-(-phase.batch_size // gpus) * phase.sequence_length for phase in recipe.phase), default=0)
    tokens = min(recipe.training.micro_batch_tokens, per_gpu)

    def needed(checkpointing: bool) -> Memory:
        return training_memory(
            recipe.encoder,
            vocabulary_size,
            tokens,
            recipe.masking.masked_lm_prob,
            half=recipe.training.precision != "fp32",
            activation_checkpointing=checkpointing,
        )

    plain, saving = needed(False), needed(True)
    return {
        "micro_batch_tokens": tokens,
        **{name: _gb(value) for name, value in asdict(plain).items()},
        "total": _gb(plain.total),
        "fits": plain.total <= USABLE_MEMORY * kind.memory_gb * 1e9,
        "activations with activation_checkpointing": _gb(saving.activations),
        "total with activation_checkpointing": _gb(saving.total),
        "fits with activation_checkpointing": saving.total <= USABLE_MEMORY * kind.memory_gb * 1e9,
    }


def _disk(recipe: Recipe, vocabulary_size: int, tokens: int | None) -> dict[str, Any]:
    """Return the disk space of checkpoints and export, per billion tokens of text, and of the text if its tokens are known."""
    weights = parameters(recipe.encoder, vocabulary_size) * FLOAT32
    training = recipe.training
    kept = (training.keep_checkpoints + 1) * 3 * weights + (weights if training.average_checkpoints > 1 else 0)
    lengths = sorted({phase.sequence_length for phase in recipe.phase})
    per_token = {**BYTES_PER_TOKEN, "shards": sum(shard_bytes(recipe, length) for length in lengths)}
    return {
        "checkpoints": _gb(kept),
        "export": _gb(weights),
        "per billion tokens": {name: round(size, 2) for name, size in per_token.items()},
        **({name: _gb(size * tokens) for name, size in per_token.items()} if tokens else {}),
    }


def shard_bytes(recipe: Recipe, length: int) -> float:
    """Return the bytes of shards of one length per token of text: ids, word bits, masks (position, replacement), rows."""
    id_bytes = 2 if recipe.vocabulary.size <= 1 << 16 else 4
    masks = recipe.masking.static_draws * recipe.masking.masked_lm_prob * (2 + id_bytes)
    return recipe.pairs.dupe_factor * (id_bytes + 1 / 8 + masks + ROW_BYTES / (MEAN_LENGTH * length))


def lines(cost: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines that `plan` prints, as names and figures."""
    for name in ("parameters", "training sequences", "training tokens"):
        yield name, f"{cost[name]:,}"
    if cost["epochs"] is not None:
        yield "passes over the text", f"{cost['epochs']:,} of {cost['corpus_tokens']:,} tokens"
    for phase in cost["phases"]:
        steps = f"{phase['steps']:,} steps of {phase['batch_size']:,}: {_figure(phase['hours'])} hours"
        yield f"length {phase['sequence_length']}", f"{_figure(phase['gigaflop_per_sequence'])} GFLOP per sequence, {steps}"
    yield "training petaflop", f"{cost['training petaflop']:,}"
    machine, memory, disk = cost["machine"], cost["memory_gb"], cost["disk_gb"]
    peak = f"{machine['mfu']:.0%} of {machine['teraflops']:,.0f} TFLOP/s assumed"
    yield f"hours on {machine['gpus']} x {machine['gpu']}", f"{_figure(cost['hours'])} ({peak}, full sequences)"
    parts = ", ".join(f"{name} {memory[name]:,}" for name in ("weights", "gradients", "optimizer", "activations", "logits"))
    yield "memory per GPU (GB)", f"{memory['total']:,}{_fits(memory['fits'], machine)}: {parts}"
    saving = f"{memory['total with activation_checkpointing']:,}{_fits(memory['fits with activation_checkpointing'], machine)}"
    yield "  with checkpointing", f"{saving}: training.activation_checkpointing, a third more FLOPs"
    yield "  micro-batch (tokens)", f"{memory['micro_batch_tokens']:,}"
    yield "disk (GB)", f"checkpoints {disk['checkpoints']:,}, export {disk['export']:,}"
    per_billion = disk["per billion tokens"]
    yield "  per billion tokens", ", ".join(f"{name} {value:,}" for name, value in per_billion.items())
    if cost["corpus_tokens"]:
        yield "  text", ", ".join(f"{name} {disk[name]:,}" for name in per_billion)


def _fits(fits: bool, machine: Mapping[str, Any]) -> str:
    return f" of {machine['memory_gb']}" if fits else f", too much for {machine['memory_gb']}"


def _figure(number: float) -> str:
    return f"{number:,.1f}" if number >= 1 else f"{number:.2g}"


def _gb(count: float) -> float:
    return round(count / 1e9, 2)
