"""Examples as tokens for the network, and its predictions as labels.

海 钓 厦 门   ->   tokens [1207, 895, 412, 633], firsts [0, 1, 2, 3], labels [6, 6, 0, 2]
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workflows.evaluation.tasks import TaskData

if TYPE_CHECKING:
    from model.finetuning.finetune import Splits
    from pipeline.tokenization.wordpiece import WordPieceEncoder


def encode(data: TaskData, encoder: "WordPieceEncoder") -> "Splits":
    """Encode train, dev and test.

    Items are encoded one by one, so that each character of a tagged sentence has a token of its own: encoded together, 1 9 9 8
    would become one token, with one label.
    """
    import numpy as np

    from model.finetuning.finetune import Splits
    from model.finetuning.windows import Text

    numbers = {label: number for number, label in enumerate(data.labels)}
    tagging = data.task.kind == "tagging"
    splits = []
    for split in (data.train, data.dev, data.test):
        # Encode each distinct item once.
        items = dict.fromkeys(item for example in split for item in example.items)
        tokens = {
            item: encoded.ids.astype(np.int64) for item, encoded in zip(items, encoder.encode_batch(list(items)), strict=True)
        }
        texts = []
        for example in split:
            parts = [tokens[item] for item in example.items]
            lengths = np.array([len(ids) for ids in parts])
            # Where each item's first token is; -1 for an item without tokens.
            firsts = np.where(lengths > 0, lengths.cumsum() - lengths, -1) if tagging else None
            second = parts.pop() if data.task.kind == "pair" else None
            labels = np.array([numbers[label] for label in example.labels])
            texts.append(Text(np.concatenate(parts), labels, firsts, second))
        splits.append(texts)
    return Splits(*splits)


def label_names(labels: Sequence[str], predicted: Sequence[Any]) -> list[list[str]]:
    """Return predicted numbers as labels. An item without a token (a control character) has number -1 and label O."""
    return [["O" if number < 0 else labels[number] for number in numbers.tolist()] for numbers in predicted]
