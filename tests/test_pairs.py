"""Pairs: B follows A or is from another document, half and half; no token is lost; only the text reveals the labels."""

import itertools
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import PairsConfig
from pipeline.examples import pairs
from pipeline.examples.pairs import PairCounts
from pipeline.examples.random_streams import PAIRS, generator
from pipeline.examples.segments import _endless
from pipeline.tokenization.vocab import SPECIALS, Vocab
from tests import demo_text, parts
from tests.parts import Document, Example
from tests.tiny import pack_units

VOCAB = Vocab((*SPECIALS, "中"))
CLS, SEP = VOCAB.cls_id, VOCAB.sep_id


def document(number: int, sentences: list[list[int]]) -> Document:
    """Return a document of sentences, given as lengths of their words. Token ids are distinct over the whole test."""
    words = [word for sentence in sentences for word in sentence]
    starts = np.zeros(sum(words), np.bool_)
    starts[np.cumsum([0, *words[:-1]])] = True
    ends = np.cumsum([sum(sentence) for sentence in sentences]).tolist()
    return Document(number, np.arange(sum(words), dtype=np.uint32) + 10_000 * (number + 1), starts, ends)


def build(documents: list[Any], task: str = "nsp", length: int = 32, **changed: Any) -> list[Example]:
    return parts.build(documents, length=length, task=task, **{"vocab": VOCAB, **changed})


def segments(example: Example) -> tuple[list[int], list[int]]:
    if not example.second_start:
        return example.input_ids[1:-1].tolist(), []
    return example.input_ids[1 : example.second_start - 1].tolist(), example.input_ids[example.second_start : -1].tolist()


def own_tokens(examples: list[Example]) -> dict[int, list[int]]:
    """Return the tokens of each document in the examples, in order: both segments, or only A for label 1."""
    found: dict[int, list[int]] = {}
    for example in examples:
        first, second = segments(example)
        found.setdefault(example.document_id, []).extend(first + (second if example.pair_label != 1 else []))
    return found


SENTENCES = st.lists(st.lists(st.integers(1, 16), min_size=1, max_size=12), min_size=1, max_size=8)
CORPORA = st.lists(SENTENCES, min_size=1, max_size=5)


@settings(deadline=None)
@given(
    CORPORA,
    st.integers(8, 64),
    st.sampled_from([("nsp", "segments"), ("nsp", "sentences"), ("none", "segments"), ("none", "sentences")]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(0, 2**64 - 1),
)
def test_what_holds_for_every_corpus(
    corpus: list[list[list[int]]], length: int, mode: tuple[str, str], short: float, seed: int
) -> None:
    task, layout = mode
    documents = [document(number, sentences) for number, sentences in enumerate(corpus)]
    counts = PairCounts()
    examples = build(documents, task, length, layout=layout, short_seq_prob=short, seed=seed, counts=counts)
    for example in examples:
        first, second = segments(example)
        assert bool(second) == (task == "nsp")
        check_specials(example, length)
        source = first[0] // 10_000 - 1
        assert source == example.document_id
        if task == "none":
            assert example.pair_label is None
        elif example.pair_label == 0:
            assert second[0] == first[-1] + 1
        else:
            assert example.pair_label == 1
            assert second[0] // 10_000 - 1 != source
    found = own_tokens(examples)
    lost = sum(len(one.ids) - len(found.get(one.document_id, [])) for one in documents)
    assert lost == counts.lost_tokens
    if task == "none" or len(documents) > 1:
        assert lost == 0
        assert found == {one.document_id: one.ids.tolist() for one in documents}
    assert counts.examples == len(examples)
    assert counts.random_next == sum(one.pair_label == 1 for one in examples)
    assert counts.tokens == sum(len(one.ids) for one in documents)


def check_specials(example: Example, length: int) -> None:
    """[CLS] A [SEP] or [CLS] A [SEP] B [SEP], specials and beginnings of segments are units, segments are stretches."""
    assert len(example.input_ids) == len(example.unit_starts) <= length
    first, second = segments(example)
    assert first and bool(second) == (example.second_start > 0)
    places = [0, len(first) + 1, *([len(example.input_ids) - 1] if second else [])]
    assert example.input_ids[places].tolist() == [CLS, SEP, SEP][: len(places)]
    assert example.unit_starts[[*places, *(place + 1 for place in places[:-1])]].all()
    assert np.diff(first).tolist() == [1] * (len(first) - 1)
    assert np.diff(second).tolist() == [1] * (len(second) - 1 if second else 0)


@settings(deadline=None)
@given(CORPORA, st.integers(8, 64), st.sampled_from(["segments", "sentences"]), st.sampled_from([0.0, 1.0]), st.integers(0, 9))
def test_what_holds_for_every_corpus_of_sop(
    corpus: list[list[list[int]]], length: int, layout: str, short: float, seed: int
) -> None:
    documents = [document(number, sentences) for number, sentences in enumerate(corpus)]
    counts = PairCounts()
    examples = build(documents, "sop", length, layout=layout, short_seq_prob=short, seed=seed, counts=counts)
    found: dict[int, list[int]] = {}
    for example in examples:
        check_specials(example, length)
        first, second = segments(example)
        begins = {0, *documents[example.document_id].sentence_ends}
        places = [number - 10_000 * (example.document_id + 1) for number in (first[0], first[-1] + 1)]
        if example.pair_label is None:
            assert not second and sum(place in begins for place in range(places[0] + 1, places[1])) == 0
        else:  # whole sentences only, or the cut would tell the order
            places += [number - 10_000 * (example.document_id + 1) for number in (second[0], second[-1] + 1)]
            assert set(places) <= begins
        found.setdefault(example.document_id, []).extend(second + first if example.pair_label == 1 else first + second)
    assert found == {one.document_id: one.ids.tolist() for one in documents}
    assert counts.swapped == sum(one.pair_label == 1 for one in examples)
    assert counts.single == sum(one.pair_label is None for one in examples)
    assert counts.lost_tokens == counts.random_next == 0


@settings(deadline=None)
@given(CORPORA, st.integers(8, 64), st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 9))
def test_what_holds_for_every_corpus_of_full_sentences(
    corpus: list[list[list[int]]], length: int, short: float, seed: int
) -> None:
    documents = [document(number, sentences) for number, sentences in enumerate(corpus)]
    documents.insert(len(documents) // 2, Document(99, np.empty(0, np.uint32), np.empty(0, np.bool_), []))
    examples = build(documents, "none", length, layout="full_sentences", short_seq_prob=short, seed=seed)
    tokens: list[int] = []
    for example in examples:
        assert len(example.input_ids) <= length and example.pair_label is None and example.second_start == 0
        ids = example.input_ids.tolist()
        assert (ids[0], ids[-1]) == (CLS, SEP) and SEP not in (ids[1], ids[-2])
        assert example.document_id == ids[1] // 10_000 - 1
        assert all(example.unit_starts[place] for place in (0, 1))
        for place, (left, right) in enumerate(itertools.pairwise(ids[1:-1]), start=2):
            assert SEP in (left, right) or right == left + 1  # [SEP] stands wherever a document ends inside
            assert SEP not in (left, right) or example.unit_starts[place]
        tokens += [number for number in ids if number not in (CLS, SEP)]
    assert tokens == [number for one in documents for number in one.ids.tolist()]
    assert len({one.example_id for one in examples}) == len(examples)


def test_full_sentences_go_on_over_the_ends_of_documents() -> None:
    documents = [document(0, [[1] * 4]), document(1, [[1] * 3, [1] * 5]), document(2, [[1] * 30])]
    examples = build(documents, "none", 16, layout="full_sentences", short_seq_prob=0)
    own = [[number if number in (CLS, SEP) else number - 10_000 for number in one.input_ids.tolist()] for one in examples[:2]]
    assert own[0] == [CLS, 0, 1, 2, 3, SEP, 10_000, 10_001, 10_002, 10_003, 10_004, 10_005, 10_006, 10_007, SEP]
    assert own[1] == [CLS, *range(20_000, 20_014), SEP]
    assert [one.document_id for one in examples] == [0, 2, 2, 2]


def test_pairs_of_sentences_are_pairs_of_sentences() -> None:
    documents = [document(number, [[1] * tokens for tokens in (3, 5, 4, 6) * 10]) for number in range(20)]
    ends = [{0, *one.sentence_ends} for one in documents]
    for one in build(documents, layout="sentences", length=64):
        for segment in segments(one):
            number, begin = divmod(segment[0] - 10_000, 10_000)
            alone = begin >= max(ends[number]) - 6  # the last sentence, where no other follows, is parted
            assert alone or ({begin, begin + len(segment)} <= ends[number] and len(segment) <= 6)


def test_with_none_a_sentence_is_a_sequence() -> None:
    examples = build([document(0, [[1] * 7, [1] * 3, [3] * 10])], "none", length=26, layout="sentences")
    assert [len(segments(one)[0]) for one in examples] == [7, 3, 24, 6]


def test_half_of_the_orders_are_swapped() -> None:
    documents = [document(number, [[1] * 4] * 200) for number in range(5)]
    examples = build(documents, "sop", length=40)
    assert len(examples) > 100
    assert np.mean([one.pair_label == 1 for one in examples]) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("task", ["nsp", "sop"])
@pytest.mark.parametrize("layout", ["full_sentences", "document_sentences"])
def test_layouts_of_one_segment_have_no_pairs(task: str, layout: str) -> None:
    with pytest.raises(ValueError, match="needs two; set task = 'none'"):
        PairsConfig(task=task, layout=layout)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [{"dupe_factor": 0}, {"short_seq_prob": 1.5}, {"short_seq_prob": -0.1}])
def test_settings_that_cannot_be_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        PairsConfig(**field)


def test_document_sentences_are_what_segments_without_pairs_are() -> None:
    documents = [document(number, [[1] * 9] * 30) for number in range(3)]
    one, other = (build(documents, "none", layout=layout) for layout in ("segments", "document_sentences"))
    assert [example.input_ids.tolist() for example in one] == [example.input_ids.tolist() for example in other]


@pytest.fixture(scope="module")
def news() -> list[Example]:
    return build(demo_text.article_documents(), length=128, vocab=demo_text.vocabulary(), dupe_factor=2)


@pytest.fixture(scope="module")
def reviews() -> list[Example]:
    return build(demo_text.review_documents(), length=128, vocab=demo_text.vocabulary(), dupe_factor=2)


@pytest.mark.parametrize("corpus", ["news", "reviews"])
def test_half_of_the_pairs_are_random_and_their_looks_do_not_tell(corpus: str, request: pytest.FixtureRequest) -> None:
    examples: list[Example] = request.getfixturevalue(corpus)
    stops = [demo_text.vocabulary().ids[character] for character in "。！？"]
    pairs = [[one for one in examples if one.pair_label == label] for label in (0, 1)]
    assert len(pairs[1]) / len(examples) == pytest.approx(0.5, abs=0.03)
    for looks, tolerance in (
        (lambda one: len(one.input_ids) / 128, 0.03),
        (lambda one: (len(one.input_ids) - one.second_start) / 128, 0.03),
        (lambda one: len(one.input_ids) > 126, 0.05),
        (lambda one: one.input_ids[-2] in stops, 0.08),
        (lambda one: one.input_ids[one.second_start - 2] in stops, 0.08),
    ):
        of_0, of_1 = (np.mean([looks(one) for one in some]) for some in pairs)
        assert of_1 == pytest.approx(of_0, abs=tolerance)


def test_reviews_of_a_single_sentence_train_both_labels(reviews: list[Example]) -> None:
    single = {one.document_id for one in demo_text.review_documents() if len(one.sentence_ends) == 1}
    labels = [one.pair_label for one in reviews if one.document_id in single]
    assert len(single) > 30
    assert 0.3 < np.mean(np.array(labels) == 0) < 0.7


def test_a_sentence_that_is_parted_is_parted_between_words_near_the_middle() -> None:
    examples = build([document(0, [[2, 3, 4, 3, 2]])], length=64, short_seq_prob=0)
    assert [segments(one) for one in examples] == [(list(range(10_000, 10_005)), list(range(10_005, 10_014)))]


def random_next(documents: list[Document], length: int) -> list[tuple[list[int], list[int]]]:
    """Return A and B of label 1, B as positions in its document; without A's of one token, which are not split."""
    examples = build(documents, length=length, short_seq_prob=0)
    found = [segments(one) for one in examples if one.pair_label == 1]
    return [(first, [number % 10_000 for number in second]) for first, second in found if len(first) > 1]


def test_b_of_label_1_ends_its_document_where_that_of_label_0_would_have() -> None:
    documents = [document(number, [[1] * 6, [1] * 9, [1] * 4, [1] * 11]) for number in range(50)]
    found = random_next(documents, length=64)
    assert len(found) > 20
    assert all(second[-1] == 29 for _, second in found)


def test_b_of_label_1_fills_the_sequence_where_that_of_label_0_would_have() -> None:
    documents = [document(number, [[1] * 7] * 300) for number in range(4)]
    found = random_next(documents, length=43)
    assert len(found) > 100
    assert np.mean([len(first) + len(second) == 40 for first, second in found]) > 0.9  # but at the ends of documents


def test_b_of_label_1_begins_a_sentence_where_that_of_label_0_would_have() -> None:
    found = random_next([document(number, [[1] * 5] * 12) for number in range(50)], length=43)
    begins = [second[0] for first, second in found if len(first) > 5 and len(first) % 5 == 0]
    assert len(begins) > 30
    assert np.mean(np.array(begins) % 5 == 0) > 0.9


@pytest.mark.parametrize("layout", ["segments", "sentences"])
def test_b_of_label_1_is_not_a_title(layout: str) -> None:
    """The first sentence of a document is never the B of a label 0."""
    documents = [document(number, [[1] * 6] * 40) for number in range(20)]
    examples = build(documents, length=33, layout=layout)
    seconds = [segments(one)[1][0] % 10_000 for one in examples if one.pair_label == 1]
    assert len(seconds) > 100
    assert min(seconds) > 0


@pytest.mark.parametrize("tokens", [20, 200])
def test_b_of_label_1_begins_inside_a_sentence_where_that_of_label_0_would_have(tokens: int) -> None:
    found = random_next([document(number, [[1] * tokens]) for number in range(50)], length=64)
    assert len(found) > 20
    assert all(second[0] > 0 for _, second in found)


def test_b_of_label_1_is_as_long_as_that_of_label_0_would_have_been() -> None:
    examples = build(demo_text.review_documents(), length=512, vocab=demo_text.vocabulary(), dupe_factor=2)
    lengths = [np.sort([len(one.input_ids) for one in examples if one.pair_label == label]) for label in (0, 1)]
    shares = [np.searchsorted(some, np.arange(512)) / len(some) for some in lengths]
    assert np.abs(shares[0] - shares[1]).max() < 0.07  # 0.04 measured; 0.12 with B's of any length


def test_words_stay_whole(news: list[Example]) -> None:
    """Every segment starts and ends with a word."""
    documents = {one.document_id: one for one in demo_text.article_documents()}
    at = dict.fromkeys(documents, 0)
    for example in news:
        first, second = segments(example)
        length = len(first) + (len(second) if example.pair_label == 0 else 0)
        source = documents[example.document_id]
        begin = at[example.document_id] % len(source.ids)  # the second repetition begins anew
        end = begin + length
        assert end == len(source.ids) or source.unit_starts[end]
        assert example.unit_starts[1 : len(first) + 1].tolist() == source.unit_starts[begin : begin + len(first)].tolist()
        at[example.document_id] = end


def test_sequences_of_one_segment_are_whole_sentences() -> None:
    examples = build([document(0, [[1] * 7, [1] * 8, [1] * 9, [1] * 10])], "none", length=26, short_seq_prob=0)
    assert [len(segments(one)[0]) for one in examples] == [24, 10]
    assert [one.second_start for one in examples] == [0, 0]


def test_a_sentence_longer_than_a_sequence_goes_on_in_the_next() -> None:
    counts = PairCounts()
    examples = build([document(0, [[3] * 10, [2]])], "none", length=12, short_seq_prob=0, counts=counts)
    assert [len(segments(one)[0]) for one in examples] == [9, 9, 9, 5]
    assert counts.cut_sentences == 3


def test_pairs_are_full_and_go_on_in_the_next() -> None:
    counts = PairCounts()
    examples = build([document(0, [[1] * 7] * 6)], length=23, short_seq_prob=0, counts=counts)
    assert [len(one.input_ids) for one in examples] == [23, 23, 5]
    assert counts.cut_sentences == 2


def test_short_sequences_are_as_many_as_asked_for() -> None:
    documents = [document(number, [[1] * 4] * 20_000) for number in range(2)]
    lengths = np.array([len(one.input_ids) for one in build(documents, "none", 128, short_seq_prob=0.1)])
    assert np.mean(lengths < 120) == pytest.approx(
        0.1 * 114 / 125, abs=0.02
    )  # targets from 2 to 126, 114 of them visibly short


def test_a_document_alone_has_only_pairs_that_follow() -> None:
    examples = build([document(0, [[1] * 9] * 40)])
    assert {one.pair_label for one in examples} == {0}


def test_a_single_word_alone_is_counted_as_lost() -> None:
    counts = PairCounts()
    assert build([document(0, [[2]])], counts=counts) == []
    assert asdict(counts) == {**asdict(PairCounts()), "tokens": 2, "lost_tokens": 2}


def test_a_single_word_among_others_is_kept_with_a_random_next() -> None:
    examples = [one for one in build([document(0, [[2]]), document(1, [[1] * 9])]) if one.document_id == 0]
    assert [(one.pair_label, segments(one)[0]) for one in examples] == [(1, [10_000, 10_001])]


def test_documents_without_tokens_are_passed_over() -> None:
    empty = Document(9, np.empty(0, np.uint32), np.empty(0, np.bool_), [])
    full = [document(0, [[1] * 9] * 4), document(1, [[1] * 9] * 4)]
    with_empty = build([full[0], empty, full[1]])
    assert [one.input_ids.tolist() for one in with_empty] == [one.input_ids.tolist() for one in build(full)]


def test_repetitions_pair_anew_and_number_on() -> None:
    documents = [document(number, [[1] * 6] * 30) for number in range(5)]
    once, thrice = build(documents), build(documents, dupe_factor=3)
    by_document = {number: [one for one in thrice if one.document_id == number] for number in range(5)}
    for number, examples in by_document.items():
        assert [one.ordinal for one in examples] == list(range(len(examples)))
        first = [one.input_ids.tolist() for one in once if one.document_id == number]
        repeated = [one.input_ids.tolist() for one in examples]
        assert repeated[: len(first)] == first
        assert repeated[len(first) : 2 * len(first)] != first
    assert len({one.example_id for one in thrice}) == len(thrice)


@pytest.mark.parametrize("mode", [{}, {"task": "sop"}, {"task": "none", "layout": "full_sentences"}])
def test_examples_do_not_depend_on_how_many_are_gathered_at_a_time(
    mode: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [document(number, [[1, 2] * 4] * 20) for number in range(6)]
    whole = build(documents, dupe_factor=2, **mode)
    monkeypatch.setattr(pairs, "CHUNK_TOKENS", 50)
    for one, other in zip(whole, build(documents, dupe_factor=2, **mode), strict=True):
        assert (one.example_id, one.pair_label, one.ordinal) == (other.example_id, other.pair_label, other.ordinal)
        assert one.input_ids.tolist() == other.input_ids.tolist()


def test_a_document_has_numbers_without_end() -> None:
    """The first numbers of all documents are drawn at once; a document that needs more continues its stream."""
    stream = generator(7, 2, 5, PAIRS).random(200).tolist()
    assert list(itertools.islice(_endless(stream[:3], 7, 2, 5), 200)) == stream


def test_units_are_packed_as_shards_hold_them() -> None:
    documents = parts.join([document(number, [[1, 2, 3] * 3] * 7) for number in range(4)])
    found = list(pairs.build(documents, length=32, pairs=PairsConfig(), seed=1, vocab=VOCAB, counts=PairCounts()))
    packed, offsets = found[0].packed_units()
    sequences = found[0].sequences
    for row, (start, end) in enumerate(itertools.pairwise(sequences.offsets.tolist())):
        assert packed[offsets[row] : offsets[row + 1]].tobytes() == pack_units(sequences.unit_starts[start:end])
    assert offsets[-1] == len(packed)


@given(st.lists(st.tuples(SENTENCES, st.booleans()), max_size=6))
def test_some_documents_are_selected(corpus: list[tuple[list[list[int]], bool]]) -> None:
    documents = [document(number, sentences) for number, (sentences, _) in enumerate(corpus)]
    documents.append(Document(99, np.empty(0, np.uint32), np.empty(0, np.bool_), []))
    kept = np.array([*(kept for _, kept in corpus), True])
    found, expected = parts.join(documents).select(kept), parts.join(list(itertools.compress(documents, kept)))
    for name in ("ids", "unit_starts", "sentence_ends", "document_starts", "document_ids"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()


def test_nothing_makes_no_examples() -> None:
    empty = Document(9, np.empty(0, np.uint32), np.empty(0, np.bool_), [])
    for nothing in ([], [empty, empty._replace(document_id=8)]):
        assert build(nothing) == build(nothing, "none", layout="full_sentences") == []


def test_an_example_id_is_golden_and_depends_on_the_seed() -> None:
    documents = [document(0, [[1] * 9] * 2)]
    assert build(documents, "none", 64, seed=12_345)[0].example_id == GOLDEN_ID
    assert build(documents, "none", 64, seed=12_346)[0].example_id != GOLDEN_ID


GOLDEN_ID = 2_180_530_181_649_698_327


def test_examples_depend_on_the_list_and_the_seed_only() -> None:
    documents = [document(number, [[1, 2] * 4] * 10) for number in range(6)]

    def state(examples: list[Example]) -> list[object]:
        return [(one.example_id, one.input_ids.tolist(), one.pair_label) for one in examples]

    assert state(build(documents)) == state(build(documents))
    assert state(build(documents)) != state(build(documents, seed=2))
    # A document's own decisions do not move with those before it in the list: same neighbours, other texts.
    changed = [document(0, [[1] * 50]), *documents[1:]]
    labels = [[one.pair_label for one in build(some) if one.document_id == 5] for some in (documents, changed)]
    assert labels[0] == labels[1]
