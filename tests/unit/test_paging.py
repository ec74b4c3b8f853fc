"""Page tokens lead on in the same listing and nowhere else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import limits
from core.domain.errors import BillowError, Reason
from server.services import paging


def test_a_token_leads_to_its_key_in_its_listing_only() -> None:
    token = paging.encode(("sellers", 7), "shop-1")
    assert paging.decode(("sellers", 7), token) == "shop-1"
    assert paging.decode(("sellers", 7), "") == ""
    for other in (("sellers", 8), ("api_keys", 7), ("sellers", "7")):
        with pytest.raises(BillowError) as error:
            paging.decode(other, token)
        assert error.value.reason is Reason.INVALID_PAGE_TOKEN


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_what_was_never_given_out_is_refused(token: str) -> None:
    if token:
        with pytest.raises(BillowError) as error:
            paging.decode(("sellers", 7), token)
        assert error.value.reason is Reason.INVALID_PAGE_TOKEN


@pytest.mark.parametrize("change", [lambda token: token + "=", lambda token: token[:-1], lambda token: " " + token])
def test_a_changed_token_is_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(BillowError):
        paging.decode(("sellers", 7), change(paging.encode(("sellers", 7), "shop")))


@pytest.mark.parametrize(("asked", "size"), [(0, limits.PAGE_ITEMS_DEFAULT), (1, 1), (1_000, 1_000)])
def test_sizes(asked: int, size: int) -> None:
    assert paging.size_of(asked) == size


@pytest.mark.parametrize("asked", [-1, limits.PAGE_ITEMS_MAX + 1, 2**31 - 1, -(2**31)])
def test_impossible_sizes_name_the_field_and_the_rule(asked: int) -> None:
    with pytest.raises(BillowError) as error:
        paging.size_of(asked)
    assert [(item.field, item.rule) for item in error.value.violations] == [("page_size", "PAGE_SIZE")]


def test_a_page_has_a_token_while_there_is_more() -> None:
    full = paging.page_of([1, 2, 3], 2, ("x",), str)
    assert full.items == [1, 2]
    assert paging.decode(("x",), full.next_page_token) == "2"
    assert paging.page_of([1, 2], 2, ("x",), str) == paging.Page([1, 2], "")
