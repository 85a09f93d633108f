"""Convert weights between programs (`convert`): read them, add tokens to the vocabulary on request, write them.

convert("NEZHA-Base", "my-nezha", to="ours", extend_vocab="medical.txt")
->  {"from": "Huawei's TensorFlow", "to": "ours", "parameters": 102489226, "tokens": 21128, "notes": ["left out 418 ..."]}
"""

from typing import TYPE_CHECKING, Any, Literal

from pipeline import storage
from pipeline.errors import CheckpointError

if TYPE_CHECKING:
    from model.conversion.writing import WeightFormat

FORMATS = ("ours", "huggingface", "huawei-pytorch", "huawei-tensorflow")


def convert(
    source: str,
    folder: str,
    *,
    to: "WeightFormat" = "ours",
    name: str = "nezha",
    config: str | None = None,
    vocab: str | None = None,
    positions: Literal["keep", "functional"] = "keep",
    hidden_act: Literal["gelu", "gelu_tanh"] | None = None,
    extend_vocab: str | None = None,
    seed: int = 12_345,
) -> dict[str, Any]:
    """Convert the weights at `source` into `folder`; return their size and notes on what was left out or initialised.

    Raises: CheckpointError for weights that are damaged, contradict their configuration, or do not fit the requested format;
    CorpusError for an invalid vocabulary or file of new tokens.
    """
    from model.conversion.reading import read
    from model.conversion.vocabulary import extended, read_tokens
    from model.conversion.writing import write

    if folder in (source, storage.parent(source)):
        raise CheckpointError(f"{folder}: contains the weights to convert; give another output folder")
    weights = read(source, config_url=config, vocab_url=vocab, positions=positions, hidden_act=hidden_act)
    if extend_vocab:
        tokens = read_tokens(storage.read_bytes(extend_vocab), extend_vocab)
        weights, _ = extended(weights, tokens, seed)
    notes = [*weights.notes, *write(weights, folder, to, name, seed)]
    return {
        "from": weights.origin,
        "to": to,
        "output": folder,
        "layers": weights.config.num_hidden_layers,
        "hidden_size": weights.config.hidden_size,
        "tokens": len(weights.vocab),
        "parameters": sum(tensor.numel() for tensor in weights.tensors.values()),
        "notes": notes,
    }
