"""Numbers as spans: whatever is added in whatever order, the same numbers come out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.storage import spans
from core.storage.spans import Numbers, joined

NUMBERS = st.lists(st.integers(0, 60))


def listed(found: list[spans.Span]) -> list[int]:
    """The numbers of spans, which must be in order and apart."""
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))
    return [number for first, last in found for number in range(first, last + 1)]


@given(NUMBERS, st.integers(1, 5))
def test_a_set_of_numbers(numbers: list[int], loose_max: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "LOOSE_MAX", loose_max)
        made = Numbers()
        seen: set[int] = set()
        for number in numbers:
            assert made.add(number) == (number not in seen)
            seen.add(number)
        assert [number in made for number in range(62)] == [number in seen for number in range(62)]
        assert listed(made.spans()) == sorted(seen)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9))))
def test_spans_that_touch_or_overlap_are_joined(found: list[tuple[int, int]]) -> None:
    given_spans = [(first, first + more) for first, more in found]
    assert listed(joined(given_spans)) == sorted({n for first, last in given_spans for n in range(first, last + 1)})
