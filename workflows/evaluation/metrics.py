"""Metrics: from gold and predicted answers of a split to numbers, at best 1.

accuracy            texts, pairs, choices   labels, or choices, that are right
macro_f1            texts, pairs, labels    F1 of each label, averaged
micro_f1            labels                  F1 over all labels of all texts
entity_f1           tagging                 entities with the right ends and type
token_f1            tagging                 tags other than O that are right
exact_match         reading                 answers equal to a gold one, but for punctuation
f1                  reading                 overlap with the best gold answer
pearson, spearman   regression              correlation of numbers, of ranks: between -1 and 1
map, mrr            ranking                 how high the right candidates are, and the first of them
"""

import difflib
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from nltk.tokenize.destructive import NLTKWordTokenizer

Metric = Literal[
    "accuracy", "macro_f1", "micro_f1", "entity_f1", "token_f1", "exact_match", "f1", "pearson", "spearman", "map", "mrr"
]

PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
"""What answers are compared without. Source: cmrc2018_evaluate.py, whose list has no ASCII comma, full stop or bracket, and
`……` as one entry of two characters, which no character equals."""

_IDEOGRAPH = re.compile("[\u4e00-\u9fa5]")
_RUNS = re.compile("[\u4e00-\u9fa5]+|[^\u4e00-\u9fa5]+")


def accuracy(gold: Sequence[str], predicted: Sequence[str]) -> float:
    """Return the ratio of equal labels."""
    return sum(one == other for one, other in zip(gold, predicted, strict=True)) / len(gold)


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Return micro F1 over entities. An entity counts if both ends and its type are right (nervaluate's "strict",
    CoNLL's metric).

    gold       B-PER I-PER O B-LOC          2 entities
    predicted  B-PER I-PER O B-ORG          2 entities, 1 right: precision 1/2, recall 1/2, F1 1/2
    """
    from nervaluate import Evaluator

    types = sorted({tag[2:] for tags in (*gold, *predicted) for tag in tags if tag != "O"})
    if not types:
        return 0.0
    evaluator = Evaluator([list(tags) for tags in gold], [list(tags) for tags in predicted], tags=types, loader="list")
    return float(evaluator.evaluate()["overall"]["strict"].f1)


def token_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Return micro F1 over the tags of items, O left out.

    gold       B-PER I-PER O B-LOC          3 tags
    predicted  B-PER O     O B-LOC          2 tags, 2 right: precision 1, recall 2/3, F1 4/5

    Source: NEZHA's run_classifier_ner.py.
    """
    counts: Counter[str] = Counter()
    for tags, guesses in zip(gold, predicted, strict=True):
        for tag, guess in zip(tags, guesses, strict=True):
            counts["gold"] += tag != "O"
            counts["predicted"] += guess != "O"
            counts["right"] += tag == guess != "O"
    return _ratio(2 * counts["right"], counts["gold"] + counts["predicted"])


def micro_f1(gold: Iterable[Iterable[str]], predicted: Iterable[Iterable[str]]) -> float:
    """Return F1 over all labels of all texts, each text with any number of them."""
    counts = _label_counts(gold, predicted).values()
    return _ratio(2 * sum(one["right"] for one in counts), sum(one["gold"] + one["predicted"] for one in counts))


def macro_f1(gold: Iterable[Iterable[str]], predicted: Iterable[Iterable[str]]) -> float:
    """Return the mean F1 of the labels that are gold or predicted for some text."""
    counts = _label_counts(gold, predicted).values()
    return statistics.fmean(_ratio(2 * one["right"], one["gold"] + one["predicted"]) for one in counts) if counts else 0.0


def _label_counts(gold: Iterable[Iterable[str]], predicted: Iterable[Iterable[str]]) -> dict[str, Counter[str]]:
    """Return for each label how often it is gold, predicted, and both for one text."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for labels, guesses in zip(map(set, gold), map(set, predicted), strict=True):
        for name, found in (("gold", labels), ("predicted", guesses), ("right", labels & guesses)):
            for label in found:
                counts[label][name] += 1
    return counts


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def correlation(gold: Sequence[float], predicted: Sequence[float], *, ranks: bool = False) -> float:
    """Return Pearson's correlation, or Spearman's, that of ranks. 0 if all numbers on a side are equal."""
    from scipy import stats

    if len({*gold}) < 2 or len({*predicted}) < 2:
        return 0.0
    found = float((stats.spearmanr if ranks else stats.pearsonr)(gold, predicted).statistic)
    return found if math.isfinite(found) else 0.0


def rankings(groups: Sequence[str], gold: Sequence[bool], scores: Sequence[float]) -> list[list[bool]]:
    """Return the candidates of each question that has a right one, by falling score: whether each is right."""
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for group, right, score in zip(groups, gold, scores, strict=True):
        found[group].append((score, right))
    ordered = ([right for _, right in sorted(one, key=lambda pair: -pair[0])] for one in found.values())
    return [candidates for candidates in ordered if any(candidates)]


def mean_average_precision(ranked: Sequence[Sequence[bool]]) -> float:
    """Return the mean over questions of the precision at each right candidate.

    right wrong right     (1/1 + 2/3) / 2 = 5/6
    """
    precisions = []
    for candidates in ranked:
        places = [place for place, right in enumerate(candidates, start=1) if right]
        precisions.append(statistics.fmean(number / place for number, place in enumerate(places, start=1)))
    return statistics.fmean(precisions) if precisions else 0.0


def mean_reciprocal_rank(ranked: Sequence[Sequence[bool]]) -> float:
    """Return the mean over questions of 1 / the place of the first right candidate."""
    return statistics.fmean(1 / (1 + [*candidates].index(True)) for candidates in ranked) if ranked else 0.0


def exact_match(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> float:
    """Return the ratio of answers that equal one of their gold answers without punctuation, spaces at the ends, and case."""
    right = (_bare(guess) in map(_bare, answers) for answers, guess in zip(gold, predicted, strict=True))
    return sum(right) / len(predicted)


def answer_f1(gold: Sequence[Sequence[str]], predicted: Sequence[str]) -> float:
    """Return the mean F1 of answers, each against the gold answer that it is nearest to.

    What is right is the longest run of units that both have: characters of Chinese, and words of other text.

    gold       光荣和ω-force开发      光 荣 和 ωforce 开 发
    predicted  光荣公司               光 荣 公 司           2 of 4 predicted, 2 of 6 gold: F1 2/5

    Source: cmrc2018_evaluate.py. Its words come from nltk, too, but after sentences were told apart, which needs a model; so a
    full stop inside a run of Latin text may stay with its word here.
    """
    return sum(max(_f1(answer, guess) for answer in answers) for answers, guess in zip(gold, predicted, strict=True)) / len(
        gold
    )


def _f1(gold: str, predicted: str) -> float:
    one, other = _units(gold), _units(predicted)
    common = difflib.SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size
    return 2 * common / (len(one) + len(other)) if common else 0.0


def _bare(text: str) -> str:
    return "".join(character for character in text.lower().strip() if character not in PUNCTUATION)


def _units(text: str) -> list[str]:
    """Split an answer into characters of Chinese and words of other text, without punctuation."""
    units: list[str] = []
    for run in _RUNS.findall(_bare(text)):
        units += run if _IDEOGRAPH.match(run) else _words().tokenize(run)
    return units


@cache
def _words() -> "NLTKWordTokenizer":
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()
