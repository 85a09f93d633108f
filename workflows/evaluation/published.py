"""Published scores of Chinese encoders, to set beside our own: one table, each row with its source.

    rows("xnli")  ->  Published("BERT", "base", "xnli", "accuracy", "dev", 77.8, 77.4, 10, "wwm"), ...

Figures are in percent. `best` is the highest of several runs and `mean` their mean, each on its own split, as the sources
report them; where a source has one figure, of one run or without saying of how many, it is neither. The models were fine-tuned
by their authors' own programs: what they show is where a score should be, and is no duel.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal


@dataclass(frozen=True)
class Source:
    """Where figures are from."""

    title: str
    url: str
    runs: int | None
    """Fine-tuning runs of each figure; None: several, as their source says without a number."""


SOURCES = {
    "wwm": Source("Chinese-BERT-wwm, README", "https://github.com/ymcui/Chinese-BERT-wwm", 10),
    "MacBERT": Source("MacBERT, README", "https://github.com/ymcui/MacBERT", 10),
    "LERT": Source("LERT, README", "https://github.com/ymcui/LERT", None),
    "NEZHA": Source("NEZHA, table 4", "https://arxiv.org/abs/1909.00204v3", 1),
    "NEZHA quoting": Source("NEZHA, table 4, from the models' own papers", "https://arxiv.org/abs/1909.00204v3", None),
    "PaddleNLP": Source("PaddleNLP, model_zoo/ernie-3.0, best of a grid", "https://github.com/PaddlePaddle/PaddleNLP", None),
}

# size, model, task, dev, test, source. A figure is best (mean); of reading, exact match / F1; - is not reported.
_TABLE = """
base  | BERT                  | cmrc2018 | 65.5 (64.4) / 84.5 (84.0) | 70.0 (68.7) / 87.0 (86.3) | wwm
base  | ERNIE                 | cmrc2018 | 65.4 (64.3) / 84.7 (84.2) | 69.4 (68.2) / 86.6 (86.1) | wwm
base  | BERT-wwm              | cmrc2018 | 66.3 (65.0) / 85.6 (84.7) | 70.5 (69.1) / 87.4 (86.7) | wwm
base  | RoBERTa-wwm-ext       | cmrc2018 | 67.4 (66.5) / 87.2 (86.5) | 72.6 (71.4) / 89.4 (88.8) | wwm
base  | NEZHA                 | cmrc2018 | 67.07 / 86.35             | -                         | NEZHA
base  | NEZHA-wwm             | cmrc2018 | 67.04 / 86.65             | -                         | NEZHA
base  | MacBERT               | cmrc2018 | 68.5 (67.3) / 87.9 (87.1) | 73.2 (72.4) / 89.5 (89.2) | MacBERT
base  | LERT                  | cmrc2018 | 69.2 (68.4) / 88.1 (87.9) | 73.5 (72.8) / 89.7 (89.4) | LERT
large | RoBERTa-wwm-ext-large | cmrc2018 | 68.5 (67.6) / 88.4 (87.9) | 74.2 (72.4) / 90.6 (90.0) | wwm
large | NEZHA-large           | cmrc2018 | 68.10 / 87.20             | -                         | NEZHA
large | NEZHA-large-wwm       | cmrc2018 | 67.32 / 86.62             | -                         | NEZHA
large | MacBERT-large         | cmrc2018 | 70.7 (68.6) / 88.9 (88.2) | 74.8 (73.2) / 90.7 (90.1) | MacBERT
large | LERT-large            | cmrc2018 | 71.2 (70.5) / 89.5 (89.1) | 75.6 (75.1) / 90.9 (90.6) | LERT
base  | BERT                  | drcd     | 83.1 (82.7) / 89.9 (89.6) | 82.2 (81.6) / 89.2 (88.8) | wwm
base  | ERNIE                 | drcd     | 73.2 (73.0) / 83.9 (83.8) | 71.9 (71.4) / 82.5 (82.3) | wwm
base  | BERT-wwm              | drcd     | 84.3 (83.4) / 90.5 (90.2) | 82.8 (81.8) / 89.7 (89.0) | wwm
base  | RoBERTa-wwm-ext       | drcd     | 86.6 (85.9) / 92.5 (92.2) | 85.6 (85.2) / 92.0 (91.7) | wwm
base  | MacBERT               | drcd     | 89.4 (89.2) / 94.3 (94.1) | 89.5 (88.7) / 93.8 (93.5) | MacBERT
large | RoBERTa-wwm-ext-large | drcd     | 89.6 (89.1) / 94.8 (94.4) | 89.6 (88.9) / 94.5 (94.1) | wwm
large | MacBERT-large         | drcd     | 91.2 (90.8) / 95.6 (95.3) | 91.7 (90.9) / 95.6 (95.3) | MacBERT
base  | BERT                  | xnli     | 77.8 (77.4)               | 77.8 (77.5)               | wwm
base  | ERNIE                 | xnli     | 79.7 (79.4)               | 78.6 (78.2)               | wwm
base  | BERT-wwm              | xnli     | 79.0 (78.4)               | 78.2 (78.0)               | wwm
base  | RoBERTa-wwm-ext       | xnli     | 80.0 (79.2)               | 78.8 (78.3)               | wwm
base  | NEZHA                 | xnli     | 81.37                     | 79.32                     | NEZHA
base  | NEZHA-wwm             | xnli     | 81.08                     | 80.68                     | NEZHA
base  | MacBERT               | xnli     | 80.3 (79.7)               | 79.3 (78.8)               | MacBERT
base  | LERT                  | xnli     | 80.2 (79.5)               | -                         | LERT
large | RoBERTa-wwm-ext-large | xnli     | 82.1 (81.3)               | 81.2 (80.6)               | wwm
large | NEZHA-large           | xnli     | 81.53                     | 80.44                     | NEZHA
large | NEZHA-large-wwm       | xnli     | 82.21                     | 81.17                     | NEZHA
large | MacBERT-large         | xnli     | 82.4 (81.8)               | 81.3 (80.6)               | MacBERT
large | LERT-large            | xnli     | 81.7 (81.2)               | -                         | LERT
base  | BERT                  | lcqmc    | 89.4 (88.4)               | 86.9 (86.4)               | wwm
base  | ERNIE                 | lcqmc    | 89.8 (89.6)               | 87.2 (87.0)               | wwm
base  | BERT-wwm              | lcqmc    | 89.4 (89.2)               | 87.0 (86.8)               | wwm
base  | RoBERTa-wwm-ext       | lcqmc    | 89.0 (88.7)               | 86.4 (86.1)               | MacBERT
base  | NEZHA                 | lcqmc    | 89.98                     | 87.41                     | NEZHA
base  | NEZHA-wwm             | lcqmc    | 90.07                     | 87.37                     | NEZHA
base  | MacBERT               | lcqmc    | 89.5 (89.3)               | 87.0 (86.5)               | MacBERT
large | RoBERTa-wwm-ext-large | lcqmc    | 90.4 (90.0)               | 87.0 (86.8)               | wwm
large | NEZHA-large           | lcqmc    | 90.18                     | 87.20                     | NEZHA
large | NEZHA-large-wwm       | lcqmc    | 90.87                     | 87.94                     | NEZHA
large | MacBERT-large         | lcqmc    | 90.6 (90.3)               | 87.6 (87.1)               | MacBERT
base  | BERT                  | bq       | 86.0 (85.5)               | 84.8 (84.6)               | wwm
base  | ERNIE                 | bq       | 86.3 (85.5)               | 85.0 (84.6)               | wwm
base  | BERT-wwm              | bq       | 86.1 (85.6)               | 85.2 (84.9)               | wwm
base  | RoBERTa-wwm-ext       | bq       | 86.0 (85.4)               | 85.0 (84.6)               | MacBERT
base  | MacBERT               | bq       | 86.0 (85.5)               | 85.2 (84.9)               | MacBERT
large | RoBERTa-wwm-ext-large | bq       | 86.3 (85.7)               | 85.8 (84.9)               | wwm
large | MacBERT-large         | bq       | 86.2 (85.7)               | 85.6 (85.0)               | MacBERT
base  | BERT                  | chnsenticorp | 94.7 (94.3)           | 95.0 (94.7)               | MacBERT
base  | ERNIE                 | chnsenticorp | 95.20                 | 95.40                     | NEZHA quoting
base  | BERT-wwm              | chnsenticorp | 95.1 (94.5)           | 95.4 (95.0)               | MacBERT
base  | RoBERTa-wwm-ext       | chnsenticorp | 95.0 (94.6)           | 95.6 (94.8)               | MacBERT
base  | NEZHA                 | chnsenticorp | 94.74                 | 95.17                     | NEZHA
base  | NEZHA-wwm             | chnsenticorp | 95.50                 | 95.58                     | NEZHA
base  | MacBERT               | chnsenticorp | 95.2 (94.8)           | 95.6 (94.9)               | MacBERT
base  | LERT                  | chnsenticorp | 94.9 (94.7)           | -                         | LERT
large | RoBERTa-wwm-ext-large | chnsenticorp | 95.8 (94.9)           | 95.8 (94.9)               | MacBERT
large | NEZHA-large           | chnsenticorp | 95.92                 | 95.83                     | NEZHA
large | NEZHA-large-wwm       | chnsenticorp | 95.75                 | 96.00                     | NEZHA
large | MacBERT-large         | chnsenticorp | 95.7 (95.0)           | 95.9 (95.1)               | MacBERT
large | LERT-large            | chnsenticorp | 95.6 (94.9)           | -                         | LERT
base  | BERT                  | msra_ner | -                         | 95.3 (94.9)               | wwm
base  | ERNIE                 | msra_ner | -                         | 95.4 (95.1)               | wwm
base  | BERT-wwm              | msra_ner | -                         | 95.4 (95.1)               | wwm
base  | RoBERTa-wwm-ext       | msra_ner | -                         | 95.5 (95.1)               | LERT
base  | MacBERT               | msra_ner | -                         | 95.3 (95.1)               | LERT
base  | LERT                  | msra_ner | -                         | 95.7 (95.4)               | LERT
large | RoBERTa-wwm-ext-large | msra_ner | -                         | 95.5 (95.5)               | LERT
large | MacBERT-large         | msra_ner | -                         | 96.2 (95.9)               | LERT
large | LERT-large            | msra_ner | -                         | 96.3 (96.0)               | LERT
base  | BERT                  | peoples_daily_ner | 95.2 (94.9)      | -                         | wwm
base  | ERNIE                 | peoples_daily_ner | 95.7 (94.5)      | -                         | wwm
base  | BERT-wwm              | peoples_daily_ner | 95.3 (95.1)      | -                         | wwm
base  | RoBERTa-wwm-ext       | peoples_daily_ner | 95.1 (94.9)      | -                         | LERT
base  | MacBERT               | peoples_daily_ner | 95.2 (94.9)      | -                         | LERT
base  | LERT                  | peoples_daily_ner | 95.6 (95.4)      | -                         | LERT
large | RoBERTa-wwm-ext-large | peoples_daily_ner | 95.7 (95.4)      | -                         | LERT
large | MacBERT-large         | peoples_daily_ner | 95.8 (95.7)      | -                         | LERT
large | LERT-large            | peoples_daily_ner | 96.3 (96.0)      | -                         | LERT
base  | BERT                  | peoples_daily_ner tokens | 96.53     | 98.58                     | NEZHA
base  | BERT-wwm              | peoples_daily_ner tokens | 96.86     | 98.58                     | NEZHA
base  | NEZHA                 | peoples_daily_ner tokens | 97.22     | 98.58                     | NEZHA
base  | NEZHA-wwm             | peoples_daily_ner tokens | 97.34     | 98.58                     | NEZHA
large | NEZHA-large           | peoples_daily_ner tokens | 97.51     | 97.87                     | NEZHA
large | NEZHA-large-wwm       | peoples_daily_ner tokens | 97.26     | 97.63                     | NEZHA
base  | BERT-wwm-ext          | ocnli    | 76.0 (75.3)               | -                         | LERT
base  | RoBERTa-wwm-ext       | ocnli    | 76.5 (76.0)               | -                         | LERT
base  | MacBERT               | ocnli    | 77.0 (76.5)               | -                         | LERT
base  | LERT                  | ocnli    | 78.2 (77.5)               | -                         | LERT
large | RoBERTa-wwm-ext-large | ocnli    | 78.5 (78.2)               | -                         | LERT
large | MacBERT-large         | ocnli    | 79.0 (78.7)               | -                         | LERT
large | LERT-large            | ocnli    | 79.4 (78.9)               | -                         | LERT
base  | BERT-wwm-ext          | tnews    | 57.0 (56.6)               | -                         | LERT
base  | RoBERTa-wwm-ext       | tnews    | 57.4 (56.9)               | -                         | LERT
base  | MacBERT               | tnews    | 57.4 (57.1)               | -                         | LERT
base  | LERT                  | tnews    | 57.5 (57.1)               | -                         | LERT
base  | BERT                  | afqmc    | 74.63                     | -                         | PaddleNLP
base  | RoBERTa-wwm-ext       | afqmc    | 74.60                     | -                         | PaddleNLP
base  | ERNIE-3.0             | afqmc    | 75.93                     | -                         | PaddleNLP
base  | BERT                  | iflytek  | 61.29                     | -                         | PaddleNLP
base  | RoBERTa-wwm-ext       | iflytek  | 61.23                     | -                         | PaddleNLP
base  | ERNIE-3.0             | iflytek  | 61.56                     | -                         | PaddleNLP
base  | BERT                  | cmnli    | 80.97                     | -                         | PaddleNLP
base  | RoBERTa-wwm-ext       | cmnli    | 81.11                     | -                         | PaddleNLP
base  | ERNIE-3.0             | cmnli    | 83.02                     | -                         | PaddleNLP
base  | BERT                  | cluewsc  | 81.91                     | -                         | PaddleNLP
base  | RoBERTa-wwm-ext       | cluewsc  | 88.49                     | -                         | PaddleNLP
base  | ERNIE-3.0             | cluewsc  | 86.18                     | -                         | PaddleNLP
base  | BERT                  | csl      | 81.90                     | -                         | PaddleNLP
base  | RoBERTa-wwm-ext       | csl      | 80.77                     | -                         | PaddleNLP
base  | ERNIE-3.0             | csl      | 82.63                     | -                         | PaddleNLP
base  | BERT                  | chid     | 82.01                     | -                         | PaddleNLP
base  | RoBERTa-wwm-ext       | chid     | 83.43                     | -                         | PaddleNLP
base  | ERNIE-3.0             | chid     | 84.26                     | -                         | PaddleNLP
base  | BERT                  | c3       | 65.38                     | -                         | PaddleNLP
base  | RoBERTa-wwm-ext       | c3       | 68.03                     | -                         | PaddleNLP
base  | ERNIE-3.0             | c3       | 77.88                     | -                         | PaddleNLP
"""
_METRICS = {
    "cmrc2018": ("exact_match", "f1"),
    "drcd": ("exact_match", "f1"),
    "msra_ner": ("entity_f1",),
    "peoples_daily_ner": ("entity_f1",),
    "peoples_daily_ner tokens": ("token_f1",),
}
"""Metrics of the figures of a task; of others, accuracy."""
_FIGURE = re.compile(r"([\d.]+)(?: \(([\d.]+)\))?")


@dataclass(frozen=True)
class Published:
    """A published figure."""

    model: str
    size: str
    """`base` or `large`."""
    task: str
    metric: str
    split: Literal["dev", "test"]
    best: float | None
    """In percent, of several runs; None if only a single figure is reported."""
    mean: float | None
    single: float | None
    """In percent: the only figure that is reported, of one run or of several; the source says of how many."""
    source: str
    """Its key in SOURCES."""

    @property
    def runs(self) -> int | None:
        return SOURCES[self.source].runs


@cache
def table() -> tuple[Published, ...]:
    """Return all rows."""
    return tuple(row for line in _TABLE.strip().splitlines() for row in _rows(*(cell.strip() for cell in line.split("|"))))


def rows(task: str) -> list[Published]:
    """Return the rows of a task."""
    return [row for row in table() if row.task == task]


def _rows(size: str, model: str, key: str, dev: str, test: str, source: str) -> Iterator[Published]:
    assert source in SOURCES, f"{model}, {key}: no source {source!r}"
    metrics = _METRICS.get(key, ("accuracy",))
    task = key.removesuffix(" tokens")
    cells: tuple[tuple[Literal["dev", "test"], str], ...] = (("dev", dev), ("test", test))
    for split, cell in cells:
        if cell == "-":
            continue
        for metric, figure in zip(metrics, cell.split(" / "), strict=True):
            match = _FIGURE.fullmatch(figure)
            assert match, f"{model}, {key}: {figure!r} is no figure"
            first, mean = float(match[1]), float(match[2]) if match[2] else None
            best, single = (first, None) if mean is not None else (None, first)
            yield Published(model, size, task, metric, split, best, mean, single, source)
