"""The files of an export whose weights were tuned: a copy of the old one, with a section in its card."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from model.exporting.card import with_section
from pipeline import storage

if TYPE_CHECKING:
    from model.heads import PretrainingModel

COPIED = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
"""Files of an export that stay as they are, with its configuration and its code."""
CARD = "README.md"


def export_files(model_url: str, network: "PretrainingModel", title: str, lines: Sequence[str]) -> dict[str, bytes]:
    """Return the files of the new export by name.

    title, lines: of the section that its card says more in
    """
    import safetensors.torch

    from model.exporting.export import CODE, LAST

    files = {}
    for name in (LAST, *CODE, *COPIED):
        if storage.exists(url := storage.join(model_url, name)):
            files[name] = storage.read_bytes(url)
    weights = {name: weight.detach().float().cpu().contiguous() for name, weight in network.state_dict().items()}
    files["model.safetensors"] = safetensors.torch.save(weights, {"format": "pt"})
    card_url = storage.join(model_url, CARD)
    old = storage.read_bytes(card_url).decode(errors="replace") if storage.exists(card_url) else ""
    files[CARD] = with_section(old, title, lines).encode()
    return files
