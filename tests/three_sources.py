"""A recipe of three small sources, without training: what fails in one of them, and what is done of the others."""

import json
from pathlib import Path

SOURCES = ("first", "second", "third")
RECIPE = """
name = "three"

[dedup]
near = false

[filters]
max_top_7gram_ratio = 1
max_dup_8gram_ratio = 1

[vocabulary]
size = 400
"""
SOURCE = """
[[source]]
name = "{name}"
kind = "news"
input = ["{path}"]
"""


def write(folder: Path) -> Path:
    """Write the recipe and its texts, and return its path."""
    text = RECIPE
    for name in SOURCES:
        mend(folder, name)
        text += SOURCE.format(name=name, path=folder / f"{name}.jsonl")
    (folder / "three.toml").write_text(text, encoding="utf-8")
    return folder / "three.toml"


def mend(folder: Path, name: str) -> None:
    """Write the texts of a source."""
    lines = [f"{name}的第{n}条新闻，讲的是一家开在山里的旅馆，房间很干净，早饭也好吃，价钱是{n}元。" for n in range(60)]
    rows = (json.dumps({"title": f"新闻{n}", "content": line}, ensure_ascii=False) for n, line in enumerate(lines))
    (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")


def spoil(folder: Path, name: str) -> None:
    """Break records of a source: more than a recipe allows by default."""
    with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"title": "新闻", "content":' * 20)


def finished(output: Path) -> set[str]:
    """Return the names of the finished stages in a folder."""
    return {manifest.parent.name.rpartition("-")[0] for manifest in output.glob("*/manifest.json")}
