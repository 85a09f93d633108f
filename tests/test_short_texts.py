"""Short texts: all near duplicates and contained texts are found, compared with brute force; and nothing else is dropped."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.arrays import ranges
from pipeline.cleaning import cleaning
from pipeline.dedup import short_pairs, short_texts
from pipeline.dedup.kept import decision_files
from pipeline.dedup.ngrams import normalize_texts
from pipeline.sources import demo
from tests.deciding import Texts, decide, kept_texts, reasons, rows
from tests.made_documents import generated, identity

SHORT = 150


def grams(text: str) -> set[str]:
    letters = cleaning.folded(text)
    return {letters[start : start + 5] for start in range(max(len(letters) - 4, 1))}


def brute_force(texts: list[str]) -> Iterator[tuple[int, int, str]]:
    """Yield every pair of a short text and another that is similar to it, or contains it and is longer."""
    sets, lengths = [grams(text) for text in texts], [len(cleaning.folded(text)) for text in texts]
    owners = defaultdict(list)
    for number, own in enumerate(sets):
        for gram in own:
            owners[gram].append(number)
    for number, own in enumerate(sets):
        if not 6 <= lengths[number] <= SHORT:
            continue
        for other, common in Counter(other for gram in own for other in owners[gram] if other != number).items():
            if common >= 0.75 * (len(own) + len(sets[other]) - common) and lengths[other] <= SHORT:
                yield number, other, "near_duplicate"
            elif common >= 0.9 * len(own) and lengths[number] < lengths[other] <= short_texts.CONTAINER_CHARACTERS:
                yield number, other, "contained"


def edited(text: str, chance: random.Random) -> str:
    """Return a text with a few random edits: characters left out, changed or added anywhere, cut or added at the ends."""
    for _ in range(chance.randint(1, 3)):
        place, other = chance.randrange(len(text)), chr(chance.randrange(0x4E00, 0x9FA5))
        text = chance.choice(
            [
                text[:place] + text[place + 1 :],
                text[:place] + other + text[place + 1 :],
                text[:place] + other + text[place:],
                text[: -len(text) // 10],
                text + other * chance.randint(1, 4),
                other + text,
                text[place:] + text[:place],
            ]
        )
        text = text or other
    return text


def posts(seed: int, number: int, base: list[str]) -> list[str]:
    """Return texts of which half are edited or contain others."""
    chance = random.Random(seed)
    result = chance.sample(base, number // 2)
    while len(result) < number:
        text = chance.choice(result)
        result.append(chance.choice([edited(text, chance), edited(text, chance), f"{text}，{chance.choice(result)}"]))
    return result


def nothing_is_left(root: Path, texts: list[str]) -> Counter[str]:
    """Check the decisions on some texts against brute force; return how many pairs of each kind there were."""
    done = decide(root, {"a": texts}, min_paragraph_characters=0)
    gone = reasons(done, "a")
    kept = [number for number in range(len(texts)) if identity("a", number) not in gone]
    left = list(brute_force([texts[number] for number in kept]))
    assert left == [], [(texts[kept[a]], texts[kept[b]], kind) for a, b, kind in left[:3]]
    return Counter(kind for _, _, kind in brute_force(texts))


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30))
def test_no_pair_of_made_posts_is_left(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    base = [line for text in generated(seed, 40, 8) for line in text.split("\n")]
    found = nothing_is_left(tmp_path_factory.mktemp("posts"), posts(seed, 160, base))
    assert found["near_duplicate"] > 10 and found["contained"] > 10


def reviews(number: int) -> list[str]:
    lines = [line for file in demo.files("reviews") for line in Path(file).read_text(errors="replace").splitlines()]
    return random.Random(3).sample([line for line in lines if len(line) > 8], number)


def test_no_pair_of_thousands_of_reviews_is_left(tmp_path: Path) -> None:
    texts = posts(5, 3_000, reviews(2_000))
    found = nothing_is_left(tmp_path, texts)
    assert found["near_duplicate"] > 300 and found["contained"] > 300


def test_nothing_is_dropped_without_a_twin(tmp_path: Path) -> None:
    texts = posts(6, 400, [line for text in generated(6, 60, 8) for line in text.split("\n")])
    done = decide(tmp_path, {"a": texts}, min_paragraph_characters=0)
    number = {identity("a", place): place for place in range(len(texts))}
    contained = [row for row in rows(done, "a") if row["reason"] == "contained"]
    assert len(contained) > 20
    for row in contained:
        own, other = (grams(texts[number[row[name]]]) for name in ("id", "kept_id"))
        assert len(own & other) >= 0.9 * len(own)
        assert len(texts[number[row["id"]]]) < len(texts[number[row["kept_id"]]])


def test_a_short_text_is_found_inside_a_long_one(tmp_path: Path) -> None:
    long = "".join(generated(2, 9, 10)).replace("\n", "")[:480]
    texts: Texts = {"a": [long, long[400:430], long[320:460], long[100:130][:14] + "囍" + long[100:130][15:], long[90:280]]}
    gone = reasons(decide(tmp_path, texts, min_paragraph_characters=0), "a")
    assert gone == {identity("a", 1): "contained", identity("a", 2): "contained"}
    assert reasons(decide(tmp_path, texts, min_paragraph_characters=0, containment=0), "a") == {}
    assert reasons(decide(tmp_path, texts, min_paragraph_characters=0, short_characters=0), "a") == {}


def test_a_phrase_in_two_documents_does_not_join_them(tmp_path: Path) -> None:
    one, two, phrase = (generated(seed, 1, 8)[0].replace("\n", "") for seed in (1, 2, 3))
    texts: Texts = {"a": [phrase[:30], one + phrase[:30], two + phrase[:30]]}
    done = decide(tmp_path, texts, min_paragraph_characters=0)
    assert reasons(done, "a") == {identity("a", 0): "contained"}
    assert len(kept_texts(tmp_path, done, "a", texts)) == 2


def test_a_better_source_keeps_what_a_worse_one_contains(tmp_path: Path) -> None:
    long = generated(4, 1, 12)[0].replace("\n", "")
    old: Texts = {"a": [long[20:60], *generated(5, 3)], "b": generated(6, 3)}
    new: Texts = {**old, "c": [long, long[100:140], *generated(7, 3)]}
    before, after = (decide(tmp_path, texts, min_paragraph_characters=0) for texts in (old, new))
    for source in "ab":
        assert before.digest_of(decision_files(source)) == after.digest_of(decision_files(source))
    assert reasons(after, "a") == {}
    assert reasons(after, "c") == {identity("c", 1): "contained"}
    first = decide(tmp_path, new, priorities={"c": 1}, min_paragraph_characters=0)
    assert reasons(first, "a") == {identity("a", 0): "contained"}


def test_what_a_withdrawn_document_contains_goes_too(tmp_path: Path) -> None:
    long = generated(8, 1, 12)[0].replace("\n", "")
    texts: Texts = {"a": [long, long[30:70], *generated(9, 2)]}
    done = decide(tmp_path, texts, withdrawn=[identity("a", 0)], min_paragraph_characters=0)
    assert reasons(done, "a") == {identity("a", 0): "withdrawn", identity("a", 1): "withdrawn_copy"}


def test_sources_in_any_number_of_parts_give_the_same_decisions(tmp_path: Path) -> None:
    texts: Texts = {"a": posts(7, 300, [line for text in generated(7, 50, 8) for line in text.split("\n")])}
    found = [reasons(decide(tmp_path / str(parts), texts, parts=parts), "a") for parts in (1, 16)]
    assert found[0] == found[1]


@pytest.mark.parametrize("length", [6, 7, 15, 16, 31, 32, 63, 64, 96, 150])
def test_anchors_are_inside_the_text_and_do_not_overlap(length: int) -> None:
    owners, places, sizes = short_texts.anchors(np.array([0, 5, length]))
    assert set(owners.tolist()) == {2}
    assert places[0] >= 0 and places[-1] + sizes[-1] <= length
    assert (places[1:] >= places[:-1] + sizes[:-1]).all()
    # An edit costs 5 n-grams in both texts: of n, this many are possible at a similarity of 0.75, and one anchor is left.
    assert len(places) > (length - 4) // 35


def test_hashes_of_anchors_are_those_of_their_places() -> None:
    texts = normalize_texts(["他在北京大学图书馆里读书，读了一整天的书。", "𠀀" * 20, "太短了"], 4)
    table = short_texts.stored(np.arange(3, dtype=np.uint64), texts, SHORT)
    codes, lengths = short_texts.flat_codes(table["codes"].combine_chunks())
    assert lengths.tolist() == texts.lengths.tolist()
    assert codes[ranges(np.zeros(1, int), lengths[:1])].tolist() == texts.codes[: texts.lengths[0]].tolist()
    hashes = short_texts._hashes(codes.astype(np.uint16))
    owners, places, sizes = short_texts.anchors(lengths)
    starts = np.cumsum(lengths) - lengths
    wanted = [int(hashes[size][starts[owner] + place]) for owner, place, size in zip(owners, places, sizes, strict=True)]
    wanted = [number & ~1 | (size == short_texts.SMALL_ANCHOR) for number, size in zip(wanted, sizes, strict=True)]
    stored = np.concatenate([np.frombuffer(row, np.uint32) for row in table["anchors"].to_pylist()])
    assert stored.tolist() == wanted


def test_popular_phrases_do_not_take_quadratic_time(tmp_path: Path) -> None:
    number = short_pairs.MAX_LEADERS + 50
    texts = [f"{text[:40]}这家酒店的服务态度非常好{text[40:80]}" for text in generated(10, number, 12)]
    done = decide(tmp_path, {"a": ["这家酒店的服务态度非常好", *texts]}, min_paragraph_characters=0)
    assert reasons(done, "a") == {identity("a", 0): "contained"}
    assert done.manifest["comparison"]["unpaired"] > 0
