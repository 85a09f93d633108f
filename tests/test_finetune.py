"""Fine-tuning learns, is reproducible by seed, and tags every item of a long text."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config import EncoderConfig
from model.encoder import Encoder
from model.finetuning.finetune import Finetuned, Splits, finetune
from model.finetuning.learner import FinetuneConfig, Learner, scores
from model.finetuning.objectives import Classify, Tag
from model.finetuning.start import Nezha
from model.finetuning.windows import (
    IGNORED,
    Frame,
    Text,
    Window,
    longest_first,
    shuffled,
    truncated,
    windows,
)
from model.heads import SequenceClassifier
from pipeline.arrays import Ints
from pipeline.tokenization.vocab import Vocab
from pipeline.tokenization.wordpiece import WordPieceEncoder
from workflows.evaluation import tasks

TINY = EncoderConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, max_relative_position=8)
VOCAB, CLS, SEP = 40, 1, 2
DATA = Path(__file__).parents[2] / "shared/data"
START = Nezha(TINY, VOCAB, CLS, SEP)
CONFIG = FinetuneConfig(epochs=6, batch_size=16, learning_rate=5e-3, max_length=12)
pytestmark = pytest.mark.usefixtures("one_thread")


def reviews(count: int, seed: int) -> list[Text]:
    """Texts of tokens 10-39; label 1 where token 7 is in the text, else 0."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(count):
        tokens = rng.integers(10, VOCAB, rng.integers(3, 10))
        if number % 2:
            tokens[rng.integers(len(tokens))] = 7
        texts.append(Text(tokens, np.array([number % 2])))
    return texts


def sentences(count: int, seed: int, length: int = 8) -> list[Text]:
    """Every token is an item, tagged 1 if the token before it is 7, so that only context decides."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        tokens = np.where(rng.random(length) < 0.3, 7, rng.integers(10, VOCAB, length))
        texts.append(Text(tokens, np.concatenate([[0], tokens[:-1] == 7]).astype(np.int64), np.arange(length)))
    return texts


def pairs(count: int, seed: int) -> list[Text]:
    """One text has token 7 in the middle, the other token 8; label 1 if the first has 7."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(count):
        first, second = rng.integers(10, VOCAB, 3), rng.integers(10, VOCAB, 3)
        first[1], second[1] = ((8, 7), (7, 8))[number % 2]
        texts.append(Text(first, np.array([number % 2]), second=second))
    return texts


def accuracy(gold: list[Text], predicted: list[Ints]) -> float:
    pairs = [(a, b) for text, guess in zip(gold, predicted, strict=True) for a, b in zip(text.labels, guess, strict=True)]
    return sum(int(a == b) for a, b in pairs) / len(pairs)


def classify(seed: int = 0, start: Nezha = START) -> Finetuned[Ints]:
    splits = Splits(reviews(256, 1), reviews(64, 2), reviews(64, 3))
    config = FinetuneConfig(epochs=5, batch_size=16, learning_rate=5e-3, max_length=12, seed=seed)
    return finetune(start, Classify(2), splits, config, score=lambda predicted: accuracy(list(splits.dev), predicted))


def test_a_classifier_learns_a_separable_problem() -> None:
    result = classify()
    assert accuracy(reviews(64, 3), result.test) > 0.9
    assert result.losses[-1] < result.losses[0] / 2


class Breaks(Classify):
    """Its loss is no number after some batches."""

    batches = itertools.count()

    def loss(self, scores: Tensor, rows: Sequence[Window]) -> tuple[Tensor, int]:
        mean, count = super().loss(scores, rows)
        return mean * (1.0 if next(self.batches) < 4 else math.nan), count


@pytest.mark.parametrize(("objective", "rate", "epoch"), [(Breaks(2), 5e-3, 2), (Classify(2), 1e30, 1)])
def test_fine_tuning_that_diverges_ends_with_what_was_before(objective: Classify, rate: float, epoch: int) -> None:
    splits = Splits(reviews(64, 1), reviews(64, 2), reviews(64, 2))
    config = FinetuneConfig(epochs=3, batch_size=16, learning_rate=rate, max_length=12)
    result = finetune(START, objective, splits, config, score=lambda predicted: accuracy(list(splits.dev), predicted))
    assert (result.diverged, result.best_epoch, len(result.losses), len(result.dev_scores)) == (epoch, 1, epoch, 1)
    assert np.array_equal(result.test, result.dev), "the weights of that epoch predict both, which are the same texts"
    assert classify().diverged == 0


def test_a_classifier_of_pairs_tells_the_first_text_from_the_second() -> None:
    # Both labels have the same tokens; only their order, segments and [SEP] differ.
    splits = Splits(pairs(256, 1), pairs(64, 2), pairs(64, 3))
    result = finetune(START, Classify(2), splits, CONFIG, score=lambda predicted: accuracy(list(splits.dev), predicted))
    assert accuracy(list(splits.test), result.test) > 0.95


def test_the_network_gets_the_segments_of_a_pair() -> None:
    torch.manual_seed(1)
    seen: list[list[int]] = []

    class Watched(SequenceClassifier):
        def forward(self, input_ids, attention_mask=None, token_type_ids=None):  # type: ignore[no-untyped-def]
            seen.extend(token_type_ids.tolist())
            return super().forward(input_ids, attention_mask, token_type_ids)

    rows = truncated([Text(np.array([11, 12]), np.array([1]), second=np.array([13])), *reviews(1, 0)], Frame(CLS, SEP, 12))
    scores(Watched(Encoder(TINY, VOCAB), 2), rows, CONFIG)
    width = max(6, len(rows[1].ids))
    assert seen == [[0, 0, 0, 0, 1, 1] + [0] * (width - 6), [0] * width]


def test_the_longest_are_predicted_first_so_that_memory_stays() -> None:
    objective = Classify(2)
    windows = objective.windows(reviews(50, 4), START.frame(12))
    batches = Learner([objective.network(START.body())], CONFIG, 1).predict(0, windows, lambda _: None)
    lengths = [[len(row.ids) for row in rows] for rows, _ in batches]
    assert sum(map(len, lengths)) == 50 and len(lengths) == 4
    assert all(min(one) >= max(after) for one, after in itertools.pairwise(lengths)) and min(lengths[-1]) < max(lengths[0])


def test_a_seed_is_reproducible_and_does_not_affect_the_caller() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    once, again, other = classify(), classify(), classify(seed=1)
    assert once.losses == again.losses and once.dev_scores == again.dev_scores
    assert all((a == b).all() for a, b in zip(once.test, again.test, strict=True))
    assert once.losses != other.losses
    assert torch.equal(torch.rand(3), expected)


def test_a_tagger_learns_tags_that_depend_on_the_neighbour() -> None:
    splits = Splits(sentences(400, 1), sentences(50, 2), sentences(50, 3))
    result = finetune(START, Tag(2), splits, CONFIG, score=lambda predicted: accuracy(list(splits.dev), predicted))
    assert accuracy(list(splits.test), result.test) > 0.95


def test_every_item_of_a_text_longer_than_the_network_is_tagged() -> None:
    splits = Splits(sentences(400, 1), sentences(50, 2), [*sentences(3, 3, length=57), *sentences(1, 4, length=1)])
    result = finetune(START, Tag(2), splits, CONFIG, score=lambda predicted: accuracy(list(splits.dev), predicted))
    assert [len(tags) for tags in result.test] == [57, 57, 57, 1]
    assert all((tags >= 0).all() for tags in result.test)
    assert accuracy(list(splits.test), result.test) > 0.9


def test_an_item_without_a_token_is_predicted_as_minus_one() -> None:
    text = Text(np.array([11, 12]), np.array([0, 0, 1]), np.array([0, -1, 1]))
    empty = Text(np.zeros(0, np.int64), np.array([0]), np.array([-1]))
    splits = Splits([text, *sentences(15, 1)], [text], [text, empty])
    result = finetune(START, Tag(2), splits, CONFIG, score=lambda predicted: 0.0)
    assert [tags.tolist()[:2][-1] for tags in result.test] == [-1, -1]
    assert result.test[0][0] >= 0 and result.test[0][2] >= 0


def test_the_first_of_the_best_epochs_is_what_predicts_the_test_split() -> None:
    said = iter([0.2, 0.7, 0.7, 0.1])
    dev: list[list[Ints]] = []

    def score(predicted: list[Ints]) -> float:
        dev.append(predicted)
        return next(said)

    same = reviews(64, 9)
    config = FinetuneConfig(epochs=4, batch_size=16, learning_rate=5e-3, max_length=12)
    result = finetune(
        START,
        Classify(2),
        Splits(reviews(64, 1), same, same),
        config,
        score=score,
    )
    assert result.best_epoch == 2 and result.dev_scores == [0.2, 0.7, 0.7, 0.1]
    assert all((a == b).all() for a, b in zip(result.test, dev[1], strict=True))
    assert any((a != b).any() for a, b in zip(dev[1], dev[3], strict=True)), (
        "epochs 2 and 4 must differ for this to say anything"
    )


def test_pretrained_weights_are_what_training_starts_from() -> None:
    torch.manual_seed(1)
    weights = {name: torch.zeros_like(value) for name, value in Encoder(TINY, VOCAB).state_dict().items()}
    result = classify(start=Nezha(TINY, VOCAB, CLS, SEP, weights))
    # With all encoder weights 0, all texts look alike and gradients stay 0.
    assert len({int(label[0]) for label in result.test}) == 1
    assert accuracy(reviews(64, 3), result.test) == 0.5


def test_windows_cover_every_item_once_and_well_inside() -> None:
    frame = Frame(CLS, SEP, max_length=12)
    for length in range(1, 60):
        (text,) = sentences(1, 0, length)
        cut = windows([text], frame)
        assert sorted(item for window in cut for item in window.items) == list(range(length))
        for window in cut:
            assert len(window.ids) <= 12 and window.ids[0] == CLS and window.ids[-1] == SEP
            assert (window.ids[window.positions] == text.tokens[window.items]).all()
            assert (window.labels[window.positions] == text.labels[window.items]).all()
            assert (window.labels != IGNORED).sum() == len(window.items)
            inside = (window.items > 2) & (window.items < length - 3)
            assert (window.positions[inside] > 2).all() and (window.positions[inside] < len(window.ids) - 3).all()


def test_only_the_first_token_of_a_word_has_its_label() -> None:
    text = Text(np.array([20, 21, 22, 23]), np.array([3, 5]), np.array([0, 3]))
    (window,) = windows([text], Frame(CLS, SEP, max_length=12))
    assert window.labels.tolist() == [IGNORED, 3, IGNORED, IGNORED, 5, IGNORED]


def test_a_text_to_classify_is_truncated() -> None:
    (window,) = truncated([Text(np.arange(10, 40), np.array([1]))], Frame(CLS, SEP, max_length=12))
    assert window.ids.tolist() == [CLS, *range(10, 20), SEP]


def test_the_longer_text_of_a_pair_is_truncated_as_in_bert() -> None:
    for first in range(12):
        for second in range(12):
            for room in range(1, 15):
                a, b = first, second
                while a + b > room:
                    a, b = (a - 1, b) if a > b else (a, b - 1)
                assert longest_first(first, second, room) == (a, b)


def test_a_pair_is_framed_with_a_sep_after_each_text() -> None:
    short, long = (Text(np.arange(10, 10 + n), np.array([1]), second=np.array([30, 31, 32])) for n in (2, 20))
    first, second = truncated([short, long], Frame(CLS, SEP, max_length=10))
    assert first.ids.tolist() == [CLS, 10, 11, SEP, 30, 31, 32, SEP] and first.segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert second.ids.tolist() == [CLS, 10, 11, 12, 13, SEP, 30, 31, 32, SEP] and second.second_start == 6


def test_batches_contain_every_text_once_shuffled_per_epoch_and_sorted_by_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 1000).tolist()
    first, second = (shuffled(lengths, 16, np.random.default_rng([0, epoch])) for epoch in (1, 2))
    assert sorted(index for batch in first for index in batch) == list(range(1000)) and first != second
    padding = sum(max(lengths[index] for index in batch) * len(batch) for batch in first) / sum(lengths)
    assert padding < 1.1  # in random order it is about 1.9


@pytest.mark.parametrize("name", ["chnsenticorp", "ocnli", "cmrc2018", "peoples_daily_ner"])
def test_at_least_nine_tenths_of_what_is_computed_is_text(name: str) -> None:
    if not (DATA / "tasks" / name).exists():
        pytest.skip(f"needs the files of {name}")
    vocab = Vocab.from_bytes((DATA / "vocab/vocab.txt").read_bytes(), "vocab.txt")
    data = tasks.load(tasks.find(name), str(DATA / "tasks"), limit_train=1_500, limit_test=500)
    kind = data.kind
    splits = kind.encode((data.train, data.dev, data.test), data.labels, WordPieceEncoder(vocab, do_lower_case=True))
    objective, frame = kind.objective(data.labels), Frame(vocab.cls_id, vocab.sep_id, kind.max_length)
    lengths = [len(window.ids) for window in objective.to_learn(splits.train, frame)]
    learned = [[lengths[index] for index in batch] for batch in shuffled(lengths, 32, np.random.default_rng(1))]
    read = sorted(len(window.ids) for window in objective.windows(splits.test, frame))
    predicted = [read[begin : begin + 32] for begin in range(0, len(read), 32)]
    for batches in (learned, predicted):
        assert sum(map(sum, batches)) / sum(max(batch) * len(batch) for batch in batches) >= 0.9
