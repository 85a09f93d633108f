"""Names of weights. Ours are Hugging Face's for NEZHA; all others are translated to and from these.

    TensorFlow          bert/encoder/layer_0/attention/self/query/kernel, transposed     cls/predictions/output_bias
    Huawei's PyTorch    bert.encoder.layer.0.attention.self.query.weight                 cls.predictions.bias
    Hugging Face, ours  nezha.encoder.layer.0.attention.self.query.weight                cls.predictions.bias

Sources: run_pretraining.py, modeling.py and NEZHA_PyTorch/modeling_nezha.py of huawei-noah/Pretrained-Language-Model;
models/deprecated/nezha of transformers 4.57.
"""

import re
from dataclasses import dataclass

ENCODER = "nezha."
WORDS = "nezha.embeddings.word_embeddings.weight"
ABSOLUTE = "nezha.embeddings.position_embeddings.weight"
BIAS = "cls.predictions.bias"
ALIASES = {"cls.predictions.decoder.weight": WORDS, "cls.predictions.decoder.bias": BIAS}
"""Second names under which some files repeat a weight."""
PARTS = {
    "pooler": "nezha.pooler.",
    "MLM head": "cls.predictions.",
    "sentence-pair head": "cls.seq_relationship.",
}
"""Parts that a file may lack, but only as a whole."""
TASK_HEADS = ("classifier.", "qa_outputs.")
"""Heads of fine-tuned models."""
BUFFERS = re.compile(r"\.(position_ids|token_type_ids|positions_encoding|relative_positions\w*)$")
"""Computed values that old versions stored: positions 0, 1, 2...; segments; tables of relative positions."""
TABLE = re.compile(r"\.positions_encoding$")
"""Stored tables of relative positions."""

_MOMENTS = {"adam_m", "adam_v", "lamb_m", "lamb_v", "Adam", "Adam_1"}
_COUNTERS = {"global_step", "loss_scale", "good_steps", "bad_steps", "beta1_power", "beta2_power"}
_HEADS = {
    "cls/predictions/output_bias": BIAS,
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
    "output_weights": "classifier.weight",
    "output_bias": "classifier.bias",
    "cls/squad/output_weights": "qa_outputs.weight",
    "cls/squad/output_bias": "qa_outputs.bias",
}
_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}


@dataclass(frozen=True)
class Place:
    """The name of a weight in the other format, and whether it is transposed there."""

    name: str
    transposed: bool = False


def is_training_state(name: str) -> bool:
    """Return whether a TensorFlow variable is an optimizer moment or a counter: `bert/pooler/dense/kernel/lamb_m`.

    Moments have the shape of their weight, so a loader that confuses them is silently wrong.
    """
    return name.rpartition("/")[2] in _MOMENTS | _COUNTERS


def from_tensorflow(name: str) -> Place:
    """`bert/pooler/dense/kernel` -> `nezha.pooler.dense.weight`, transposed. Unknown names stay as they are."""
    if name in _HEADS:
        return Place(_HEADS[name])
    path, _, leaf = name.rpartition("/")
    ours = re.sub(r"^bert\.", ENCODER, re.sub(r"\blayer_(\d+)", r"layer.\1", path.replace("/", ".")))
    if leaf.endswith("_embeddings"):
        return Place(f"{ours}.{leaf}.weight")
    return Place(f"{ours}.{_LEAVES[leaf]}", leaf == "kernel") if leaf in _LEAVES else Place(name)


def to_tensorflow(name: str) -> Place:
    """The reverse of `from_tensorflow`."""
    for theirs, ours in _HEADS.items():
        if name == ours:
            return Place(theirs)
    path, _, leaf = name.rpartition(".")
    theirs = re.sub(r"\blayer\.(\d+)", r"layer_\1", re.sub(r"^nezha\.", "bert.", path)).replace(".", "/")
    if theirs.endswith("_embeddings"):
        return Place(theirs)
    if theirs.endswith("LayerNorm"):
        return Place(f"{theirs}/{'gamma' if leaf == 'weight' else 'beta'}")
    return Place(f"{theirs}/{'kernel' if leaf == 'weight' else leaf}", leaf == "weight")


def from_torch(name: str) -> str:
    """`bert.pooler.dense.weight`, `module.bert...`, `pooler.dense.weight` -> `nezha.pooler.dense.weight`.

    In files from 2019 the weights of a LayerNorm are called gamma and beta.
    """
    name = re.sub(r"^(bert\.|(?=embeddings\.|encoder\.|pooler\.))", ENCODER, name.removeprefix("module."))
    return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


def to_bert(name: str) -> str:
    """`nezha.pooler.dense.weight` -> `bert.pooler.dense.weight`, as in Huawei's PyTorch code and in BERT."""
    return re.sub(r"^nezha\.", "bert.", name)
