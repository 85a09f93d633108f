"""The network and training settings of a recipe: one frozen class per table, one docstring per setting.

Settings are named as in Hugging Face's configurations where those have them. Imports nothing heavy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.config import LONGEST_SEQUENCE
from pipeline.validation import check_ranges, check_types

MOST_UNITS = 1 << 20
"""Largest width and longest distance of a network that is taken for a real one."""
MOST_LAYERS = 1_000
"""Most layers of one."""
ABOVE_ZERO = 1e-30
"""Least value of a setting that must not be 0."""
BELOW_ONE = 0.999_999
"""Largest decay rate of a moment."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """`[encoder]`: the shape of the network (NEZHA paper, section 3.3 and table 1)."""

    hidden_size: int = 768
    """Width of the hidden states."""
    num_hidden_layers: int = 12
    """Transformer blocks: self-attention and a feed-forward network each."""
    num_attention_heads: int = 12
    """Attention heads per layer; must divide hidden_size."""
    intermediate_size: int = 3072
    """Inner width of the feed-forward networks."""
    hidden_act: Literal["gelu", "gelu_tanh"] = "gelu_tanh"
    """`gelu_tanh`: the approximation that the released weights were trained with. `gelu`: the exact (erf) form."""
    hidden_dropout_prob: float = 0.1
    """Dropout after the embeddings, each attention and each feed-forward network."""
    attention_probs_dropout_prob: float = 0.1
    """Dropout on attention weights."""
    type_vocab_size: int = 2
    """Number of segment types: A and B."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights, a normal distribution truncated at two standard deviations."""
    layer_norm_eps: float = 1e-12
    """Added to the variance in layer normalisation."""
    positions: Literal["functional", "relative", "absolute"] = "functional"
    """`functional`: NEZHA's fixed sines and cosines of j - i. `relative`: learned embeddings of j - i (Shaw et al.).
    `absolute`: learned embeddings added to the tokens, as in BERT."""
    relative_positions: Literal["released", "paper"] = "released"
    """`released`: table row clip(j - i, -m, m) + m, as in Huawei's code. `paper`: sine and cosine of j - i, unclipped."""
    max_relative_position: int = 64
    """The clipping distance m, for the released form and for learned relative positions."""
    max_position_embeddings: int = 512
    """Longest sequence with absolute positions; relative ones have no limit."""

    def __post_init__(self) -> None:
        check_types(self)
        sizes = ("hidden_size", "num_attention_heads", "intermediate_size", "type_vocab_size")
        lengths = ("max_relative_position", "max_position_embeddings")
        check_ranges(self, **dict.fromkeys((*sizes, *lengths), (1, MOST_UNITS)), num_hidden_layers=(1, MOST_LAYERS))
        check_ranges(self, initializer_range=(ABOVE_ZERO, 1), layer_norm_eps=(0, 1))
        check_ranges(self, hidden_dropout_prob=(0, 0.99), attention_probs_dropout_prob=(0, 0.99))
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.head_size % 2:
            raise ValueError(f"head size {self.head_size} is odd: sine and cosine come in pairs")

    @property
    def head_size(self) -> int:
        """Width H of an attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """`[optimizer]`: how gradients become updates."""

    variant: Literal["nezha2019", "nvlamb", "adamw"] = "nezha2019"
    """LAMB as in the 2019 release, NVIDIA's LAMB, or AdamW. Each needs its own learning rate; checkpoints name the variant."""
    beta1: float = 0.9
    """Decay rate of the first moment (mean of gradients)."""
    beta2: float = 0.999
    """Decay rate of the second moment (mean of squared gradients)."""
    epsilon: float = 1e-6
    """Added to the root of the second moment; `nezha2019` also adds it under the root in the trust ratio."""
    weight_decay: float = 0.01
    """Weight decay; biases and layer normalisation are exempt."""
    max_grad_norm: float = 1.0
    """Global norm to which gradients are clipped."""

    def __post_init__(self) -> None:
        check_ranges(self, beta1=(0, BELOW_ONE), beta2=(0, BELOW_ONE), epsilon=(ABOVE_ZERO, 1))
        check_ranges(self, weight_decay=(0, math.inf), max_grad_norm=(ABOVE_ZERO, math.inf))


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """`[[phase]]`: a stretch of training at one sequence length (the 2019 release had two: 128, then 512)."""

    sequence_length: int
    """Maximum sequence length, in tokens."""
    batch_size: int
    """Sequences per step, over all workers."""
    steps: int
    """Updates of the weights."""
    learning_rate: float = 1.8e-4
    """Peak learning rate; not scaled by the number of workers."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    schedule: Literal["linear", "polynomial", "wsd", "constant"] = "linear"
    """How the learning rate falls to 0 after the warm-up: `linear`; `polynomial`, with exponent `power`; `wsd` (warm-up,
    stable, decay), as 1 - sqrt over the last `decay_steps` only. `constant`: not at all, for a phase that another follows."""
    power: float = 1.0
    """Exponent of the polynomial schedule."""
    decay_steps: int = 0
    """Final steps over which the learning rate of `wsd` falls; usually 10 to 20 % of all steps."""
    ramp_batch_size: int | None = None
    """Batch size of the first step. It grows by this much at a time up to `batch_size`, which must be a multiple of it."""
    ramp_steps: int = 0
    """Steps over which the batch grows."""
    weights: dict[str, float] = field(default_factory=dict)
    """Relative weight of each source in a batch, by name; empty = all sources, in proportion to their number of rows."""

    def __post_init__(self) -> None:
        if self.sequence_length < 8:
            raise ValueError(f"sequence_length {self.sequence_length} is below 8: [CLS] a [SEP] b [SEP] must fit")
        check_ranges(self, sequence_length=(8, LONGEST_SEQUENCE), learning_rate=(0, math.inf), power=(0, math.inf))
        if self.batch_size < 1 or self.steps < 1:
            raise ValueError(f"batch_size {self.batch_size} and steps {self.steps} must be at least 1")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} is not between 0 and steps {self.steps}")
        self._check_decay()
        self._check_ramp()
        if not all(0 <= weight < math.inf for weight in self.weights.values()):
            raise ValueError(f"weights {self.weights} must be finite numbers, none negative")
        if self.weights and not any(self.weights.values()):
            raise ValueError("weights are all zero: nothing to train on")

    def _check_decay(self) -> None:
        if self.schedule != "wsd":
            if self.decay_steps:
                raise ValueError(f"decay_steps {self.decay_steps} needs schedule 'wsd', not {self.schedule!r}; set it to 0")
        elif not 1 <= self.decay_steps <= self.steps - self.warmup_steps:
            raise ValueError(
                f"decay_steps {self.decay_steps} is not between 1 and the {self.steps - self.warmup_steps} steps after the "
                "warm-up, as schedule 'wsd' needs"
            )

    def _check_ramp(self) -> None:
        if (self.ramp_batch_size is None) != (self.ramp_steps == 0):
            raise ValueError("ramp_batch_size and ramp_steps go together: the first batch size, and how long it grows")
        if self.ramp_batch_size is None:
            return
        if not 1 <= self.ramp_batch_size < self.batch_size or self.batch_size % self.ramp_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is not a larger multiple of ramp_batch_size {self.ramp_batch_size}")
        if not 0 < self.ramp_steps <= self.steps:
            raise ValueError(f"ramp_steps {self.ramp_steps} is not between 1 and steps {self.steps}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """`[training]`: how the training loop runs."""

    start_from: str = ""
    """URL of initial weights: an export, or anything `nezha-pipe convert` reads. [encoder] must match them, and the vocabulary
    is theirs. In `nezha-pipe run` also `champion`: that of the registry."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 if the device has fast bf16 arithmetic, fp16 on GPUs with fast fp16 only, otherwise fp32."""
    loss_scale: Literal["torch", "2019"] = "torch"
    """How the fp16 loss scale starts and adapts: as in torch (from 65,536) or as in the 2019 release (from 2^32)."""
    reduce_precision: Literal["fp32", "bf16"] = "fp32"
    """In which precision gradients are summed over workers; bf16 halves what they send. They are accumulated in float32."""
    attention: Literal["auto", "eager", "sdpa", "banded", "triton"] = "auto"
    """Implementation of attention; all give the same result. `auto`: the fastest that this machine supports."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Let torch.compile fuse the network's operations; `auto`: on GPUs only. Compiled code is cached on disk."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass instead of storing them: a third more arithmetic, far less memory."""
    micro_batch_tokens: int = 8_192
    """Maximum tokens per forward pass, padding included; each step is split into as many micro-batches as it needs."""
    validate_every: int = 1_000
    """Steps between measurements of the validation loss."""
    validation_sequences: int = 2_048
    """Maximum validation sequences per source."""
    checkpoint_every: int = 1_000
    """Steps between checkpoints: the most work that a failure can lose."""
    keep_checkpoints: int = 3
    """Number of newest checkpoints to keep; the best by validation loss is always kept."""
    keep_every: int = 0
    """Keep every checkpoint whose step is a multiple of this forever; a multiple of checkpoint_every. 0 = none."""
    average_checkpoints: int = 1
    """What to export: 1 = the best checkpoint; n > 1 = the mean of the n newest, so keep_checkpoints must be at least n."""
    log_every: int = 10
    """Steps between rows of metrics."""
    log_examples: bool = False
    """Also list the ids of the examples of every step, by worker: `examples-*.jsonl` beside the metrics, 20 bytes for each."""
    tensorboard: bool = True
    """Also write the rows as TensorBoard's event files, when they are made: `tensorboard --logdir` on the folder of the run."""
    mlflow: str = ""
    """Also write them to MLflow, if it is installed: `sqlite:////runs/mlflow.db`, or the URL of a server. Empty: do not."""
    spike_sigma: float = 6.0
    """Skip a step whose loss or gradient norm is more than this many standard deviations above the recent mean; 0 = never."""
    spike_window: int = 128
    """Number of recent updates in this mean and standard deviation."""
    rollback_after: int = 10
    """Bad steps in a row (not finite, or spikes) after which training rolls back to a checkpoint and skips their samples."""
    skipped_ranges: tuple[tuple[int, int, int], ...] = ()
    """Samples to skip: [phase, first, end], phases from 0. With the ranges in a run's state.json another run reproduces it."""
    store_timeout_seconds: float = 600
    """How long an object store may be away before training ends; it resumes when called again. Steps do not wait for it."""
    mlm_normalisation: Literal["global", "per_worker"] = "global"
    """Divisor of the MLM loss: the step's masked tokens over all workers, or each worker's own, as in 2019."""

    def __post_init__(self) -> None:
        every = ("validate_every", "checkpoint_every", "log_every")
        positive = ("micro_batch_tokens", *every, "keep_checkpoints", "rollback_after")
        check_ranges(self, **dict.fromkeys(positive, (1, math.inf)), validation_sequences=(0, math.inf))
        if self.mlflow and not self.mlflow.startswith(("sqlite:////", "http://", "https://")):
            raise ValueError(f"mlflow {self.mlflow!r} is neither sqlite:////absolute/path.db nor the URL of a server")
        check_ranges(self, spike_sigma=(0, math.inf), spike_window=(2, math.inf))
        ranges = tuple(tuple(part) for part in self.skipped_ranges)  # JSON has lists
        if any(len(part) != 3 or not 0 <= part[1] < part[2] for part in ranges):
            raise ValueError(f"skipped_ranges {list(ranges)} must each be [phase, first sample, end]")
        object.__setattr__(self, "skipped_ranges", ranges)
        check_ranges(self, keep_every=(0, math.inf), store_timeout_seconds=(0, math.inf))
        if self.keep_every % self.checkpoint_every:
            raise ValueError(f"keep_every {self.keep_every} is not a multiple of checkpoint_every {self.checkpoint_every}")
        if not 1 <= self.average_checkpoints <= self.keep_checkpoints:
            raise ValueError(
                f"average_checkpoints {self.average_checkpoints} is not between 1 and keep_checkpoints {self.keep_checkpoints}"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that pretraining needs to know. Every checkpoint contains it, so a checkpoint can be opened by itself."""

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
        """Read a configuration from a JSON document, such as the config.json of a checkpoint, which has more fields."""
        return PretrainConfig(
            phases=tuple(PhaseConfig(**phase) for phase in document["phases"]),
            encoder=EncoderConfig(**document.get("encoder", {})),
            optimizer=OptimizerConfig(**document.get("optimizer", {})),
            training=TrainingConfig(**document.get("training", {})),
            **({"seed": document["seed"]} if "seed" in document else {}),
        )
