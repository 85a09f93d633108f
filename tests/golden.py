"""Golden files: the output for fixed input, kept in tests/golden/ so that no change goes unnoticed.

examples.json    text to masked examples, readable (this file)
data_files.json  digests of all that `prepare` writes for sources of every kind (tests/golden_corpus.py)
training.json    losses of the first steps of `tiny`, and the checkpoint they end in (tests/golden_training.py)

python -m tests.golden        writes them anew; look at the difference before committing it
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config import MaskingConfig, PairsConfig
from pipeline.examples.masking import MaskingRules, static_masks
from pipeline.examples.sequences import Sequences
from pipeline.tokenization import vocab
from pipeline.tokenization.vocab import Vocab
from tests import golden_corpus, golden_training, parts
from tests.characters import count
from tests.parts import Example

FOLDER = Path(__file__).parent / "golden"
SEED = 12_345
LENGTH = 40

DOCUMENTS = (
    "春天的公园\n清晨的公园里，老人们在湖边打太极拳。“空气真好！”王大爷说。湖面上有几只野鸭，孩子们扔面包给它们吃……"
    "太阳升起来以后，来散步的人越来越多，卖早点的小摊也忙了起来。",
    "火车站售票系统升级\n记者从铁路局了解到，新版APP将于１０月１日上线，支持Face ID登录。旅客可以提前15天购票，"
    "退票手续费为票价的5%；改签不收费。铁路局负责人表示，今后还会推出更多便民措施。",
    "这本书写得很好，推荐给喜欢历史的朋友",
    "把[MASK]写进正文也只是文字。Café的é有重音，龘字很少见。版本2.3.1见https://example.com/a?b=1的说明。",
    "不错！",
)


def examples() -> list[dict[str, Any]]:
    """Return all examples of DOCUMENTS, for all tasks, each with two masks, in readable form."""
    tokens = vocab.build(*count("".join(DOCUMENTS).replace("龘", "")), size=400, min_count=1)
    documents = parts.encode(list(DOCUMENTS), tokens)
    rules = MaskingRules.of(tokens, MaskingConfig(), PairsConfig())
    return [
        {"task": task, **_readable(example, tokens, rules)}
        for task in ("nsp", "sop", "none")
        for example in parts.build(documents, length=LENGTH, task=task, seed=SEED, vocab=tokens, dupe_factor=2)
    ]


def _readable(example: Example, tokens: Vocab, rules: MaskingRules) -> dict[str, Any]:
    sequences = Sequences.join([example.example_id], [example.input_ids], [example.unit_starts], [example.second_start])
    masks = static_masks(2, SEED, sequences, rules)
    first: list[str] = []
    second: list[str] = []
    for number, (position, replacement) in enumerate(zip(masks.positions.tolist(), masks.replacements.tolist(), strict=True)):
        mask = first if number < masks.lengths[0, 0] else second
        mask.append(f"{position} {tokens.tokens[example.input_ids[position]]} -> {tokens.tokens[replacement]}")
    units = zip(example.input_ids.tolist(), example.unit_starts.tolist(), strict=True)
    return {
        "document_id": example.document_id,
        "ordinal": example.ordinal,
        "example_id": example.example_id,
        "pair_label": example.pair_label,
        "second_start": example.second_start,
        "pieces, | where a unit begins": "".join(
            f"{'|' if begins else ' '}{tokens.tokens[number]}" for number, begins in units
        ),
        "masks": [first, second],
    }


GOLDEN: dict[str, Callable[[], Any]] = {
    "examples.json": examples,
    "data_files.json": golden_corpus.data_files,
    "training.json": golden_training.training,
}


def written(name: str) -> str:
    """Return what the golden file should contain."""
    return json.dumps(GOLDEN[name](), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in GOLDEN:
        (FOLDER / name).write_text(written(name), encoding="utf-8")
        print(f"wrote tests/golden/{name}")
