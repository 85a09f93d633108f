"""Counts add up, in place."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import counting

TALLIES: Any = st.fixed_dictionaries(
    {},
    optional={
        "read": st.integers(0, 9),
        "reasons": st.dictionaries(st.sampled_from("甲乙丙"), st.integers(1, 9)),
        "samples": st.dictionaries(st.sampled_from("甲乙"), st.lists(st.integers(0, 99), max_size=counting.MOST_SAMPLES)),
    },
)


@given(st.lists(TALLIES, max_size=6))
def test_a_sum_holds_every_number_and_the_first_samples(tallies: list[counting.Counts]) -> None:
    before = copy.deepcopy(tallies)
    total = counting.total(tallies)
    assert tallies == before, "what is added must stay as it is"
    assert total.get("read", 0) == sum(one.get("read", 0) for one in tallies)
    for reason in "甲乙丙":
        expected = sum(one.get("reasons", {}).get(reason, 0) for one in tallies)
        assert total.get("reasons", {}).get(reason, 0) == expected
    for kind in "甲乙":
        joined = [sample for one in tallies for sample in one.get("samples", {}).get(kind, [])]
        assert total.get("samples", {}).get(kind, []) == joined[: counting.MOST_SAMPLES]


def test_adding_does_not_copy_the_sum() -> None:
    """Copying the counts for every part would take quadratic time."""
    total: counting.Counts = {"words": {"图书馆": 1}}
    words = total["words"]
    counting.add(total, {"words": {"图书馆": 2, "大学": 1}})
    assert total["words"] is words
    assert words == {"图书馆": 3, "大学": 1}
