"""What a recipe may say about the network and its training: one frozen class a table, one string a field.

Names are those of Hugging Face's configurations where they have one. Imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """`[encoder]`: the shape of the network (NEZHA paper, section 3.3 and table 1)."""

    hidden_size: int = 768
    """Width of the hidden states."""
    num_hidden_layers: int = 12
    """Blocks of attention and feed-forward network."""
    num_attention_heads: int = 12
    """Heads of each attention; hidden_size is a multiple of it."""
    intermediate_size: int = 3072
    """Inner width of the feed-forward networks."""
    hidden_act: Literal["gelu", "gelu_tanh"] = "gelu_tanh"
    """`gelu_tanh` is what the released weights were trained with; `gelu` is the exact (erf) form."""
    hidden_dropout_prob: float = 0.1
    """Dropout after embeddings, attention and feed-forward networks."""
    attention_probs_dropout_prob: float = 0.1
    """Dropout of attention weights."""
    type_vocab_size: int = 2
    """Kinds of segments: A and B."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights, cut off at two of them."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in layer normalisation."""
    positions: Literal["functional", "relative", "absolute"] = "functional"
    """`functional`: NEZHA's sines and cosines. `relative`: learned rows instead (Shaw). `absolute`: BERT's, with the tokens."""
    relative_positions: Literal["released", "paper"] = "released"
    """`released`: index clip(j - i, -m, m) + m, as Huawei's code has it. `paper`: sin and cos of j - i itself, unclipped."""
    max_relative_position: int = 64
    """m of the released form, and of learned relative positions."""
    max_position_embeddings: int = 512
    """Longest sequence that absolute positions can be given to; the others know no limit."""

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.head_size % 2:
            raise ValueError(f"head size {self.head_size} is odd: sine and cosine come in pairs")

    @property
    def head_size(self) -> int:
        """H, the width of one attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """`[optimizer]`: how gradients become updates."""

    variant: Literal["nezha2019", "nvlamb", "adamw"] = "nezha2019"
    """LAMB of the 2019 release, NVIDIA's LAMB, or AdamW. Learning rates do not carry over, so checkpoints name theirs."""
    beta1: float = 0.9
    """Decay of the mean of gradients."""
    beta2: float = 0.999
    """Decay of the mean of squared gradients."""
    epsilon: float = 1e-6
    """Added to the root of the second moment; by `nezha2019` also under the root in the trust ratio."""
    weight_decay: float = 0.01
    """Not applied to biases and layer normalisation."""
    max_grad_norm: float = 1.0
    """Gradients of a step are scaled down to this global norm."""


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """`[[phase]]`: a stretch of training at one sequence length (2019 had two: 128, then 512)."""

    sequence_length: int
    """Longest sequence, in tokens."""
    batch_size: int
    """Sequences a step, over all workers."""
    steps: int
    """Updates of the weights."""
    learning_rate: float = 1.8e-4
    """Highest learning rate; never multiplied by the number of workers."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises from 0."""
    schedule: Literal["linear", "polynomial", "wsd", "constant"] = "linear"
    """How the learning rate falls to 0 after the warm-up: straight, by `power`, or (`wsd`: warm-up, stable, decay) only in the
    last `decay_steps`, as 1 - sqrt. `constant`: not at all, for a phase that another one follows."""
    power: float = 1.0
    """Exponent of the polynomial schedule."""
    decay_steps: int = 0
    """Steps at the end in which the learning rate of `wsd` falls; a tenth to a fifth of all is usual."""
    ramp_batch_size: int | None = None
    """Sequences of the first step, where the batch grows: by itself at a time, up to `batch_size`, a multiple of it."""
    ramp_steps: int = 0
    """Steps in which the batch grows."""
    weights: dict[str, float] = field(default_factory=dict)
    """Share of each source in the sequences of a step, by its name; empty = all sources, by their number of rows."""

    def __post_init__(self) -> None:
        if self.sequence_length < 8:
            raise ValueError(f"sequence_length {self.sequence_length} is below 8: [CLS] a [SEP] b [SEP] must fit")
        if self.batch_size < 1 or self.steps < 1:
            raise ValueError(f"batch_size {self.batch_size} and steps {self.steps} must be at least 1")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} is not between 0 and steps {self.steps}")
        self._check_decay()
        self._check_ramp()
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError(f"weights {self.weights} must not be negative")
        if self.weights and not any(self.weights.values()):
            raise ValueError("weights are all zero: nothing to train on")

    def _check_decay(self) -> None:
        if self.schedule != "wsd":
            if self.decay_steps:
                raise ValueError(f"decay_steps {self.decay_steps} are of schedule 'wsd', not of {self.schedule!r}; set 0")
        elif not 1 <= self.decay_steps <= self.steps - self.warmup_steps:
            raise ValueError(
                f"schedule 'wsd' decays in its last decay_steps: {self.decay_steps} is not between 1 and the "
                f"{self.steps - self.warmup_steps} steps after the warm-up"
            )

    def _check_ramp(self) -> None:
        if (self.ramp_batch_size is None) != (self.ramp_steps == 0):
            raise ValueError("ramp_batch_size and ramp_steps go together: where the batch begins, and how long it grows")
        if self.ramp_batch_size is None:
            return
        if not 1 <= self.ramp_batch_size < self.batch_size or self.batch_size % self.ramp_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not twice, three times, ... ramp_batch_size {self.ramp_batch_size}"
            )
        if not 0 < self.ramp_steps <= self.steps:
            raise ValueError(f"ramp_steps {self.ramp_steps} is not between 1 and steps {self.steps}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """`[training]`: how the loop runs."""

    start_from: str = ""
    """URL of weights to begin with: an export, or what `nezha-pipe convert` reads. [encoder] and vocabulary must be theirs."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto` = bf16 where the device computes in it fast, fp16 on GPUs that have units for that alone, else fp32."""
    loss_scale: Literal["torch", "2019"] = "torch"
    """How the loss scale of fp16 begins and moves: as torch's (from 65,536) or as the 2019 release's (from 2^32)."""
    attention: Literal["auto", "eager", "sdpa", "banded", "triton"] = "auto"
    """Which of the equal ways to compute attention; `auto` = the fastest that this machine can."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Let torch.compile fuse the network's operations; `auto` = on GPUs. Compiled code is kept in a cache folder."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass in place of keeping them: a third more arithmetic, far less memory."""
    micro_batch_tokens: int = 8_192
    """Most tokens, padding included, that go through the network at once; a step is cut into as many as it needs."""
    validate_every: int = 1_000
    """Steps between two measurements of the validation loss."""
    validation_sequences: int = 2_048
    """Most sequences measured, per source."""
    checkpoint_every: int = 1_000
    """Steps between two checkpoints: what a failure may cost."""
    keep_checkpoints: int = 3
    """Newest checkpoints kept; the best by validation loss is always kept."""
    average_checkpoints: int = 1
    """What is exported: 1 = the best checkpoint, more = the mean of the weights of so many newest ones (keep as many)."""
    log_every: int = 10
    """Steps between two lines of metrics."""
    spike_sigma: float = 6.0
    """A step whose loss or gradient norm is above the mean by more standard deviations than this is left out; 0 = never."""
    spike_window: int = 128
    """Newest updates that this mean and deviation are of."""
    rollback_after: int = 10
    """Bad steps in a row (not finite, or spikes) after which training goes back to the last checkpoint, and passes them by."""
    skipped_ranges: tuple[tuple[int, int, int], ...] = ()
    """Samples to pass by: [phase, first, end], phases from 0. Given those of a run's state.json, another run repeats it."""
    mlm_normalisation: Literal["global", "per_worker"] = "global"
    """What the masked-word loss is divided by: the step's masked tokens over all workers, or as in 2019 each worker's own."""

    def __post_init__(self) -> None:
        every = ("validate_every", "checkpoint_every", "log_every")
        positive = ("micro_batch_tokens", *every, "keep_checkpoints", "rollback_after")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.spike_sigma < 0 or self.spike_window < 2:
            raise ValueError(
                f"spike_sigma {self.spike_sigma} must not be negative, spike_window {self.spike_window} at least 2"
            )
        ranges = tuple(tuple(part) for part in self.skipped_ranges)  # JSON has lists
        if any(len(part) != 3 or not 0 <= part[1] < part[2] for part in ranges):
            raise ValueError(f"skipped_ranges {list(ranges)} must each be [phase, first sample, end]")
        object.__setattr__(self, "skipped_ranges", ranges)
        if not 1 <= self.average_checkpoints <= self.keep_checkpoints:
            raise ValueError(
                f"average_checkpoints {self.average_checkpoints} is not between 1 and keep_checkpoints {self.keep_checkpoints}"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """All that pretraining needs to know; written whole into every checkpoint, so that one can be opened with nothing else."""

    phases: tuple[PhaseConfig, ...]
    seed: int = 12_345
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("no [[phase]]: nothing to train")

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "PretrainConfig":
        """The configuration in a JSON document; also in the config.json of a checkpoint, which has more fields."""
        return PretrainConfig(
            phases=tuple(PhaseConfig(**phase) for phase in document["phases"]),
            encoder=EncoderConfig(**document.get("encoder", {})),
            optimizer=OptimizerConfig(**document.get("optimizer", {})),
            training=TrainingConfig(**document.get("training", {})),
            **({"seed": document["seed"]} if "seed" in document else {}),
        )
