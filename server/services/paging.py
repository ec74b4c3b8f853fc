"""Pages of a listing: sizes, and tokens that say where the next page begins."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from core import limits
from core.domain.errors import BillowError, Reason, Violation

PROOF_BYTES = 8

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page; `next_page_token` is empty on the last."""

    items: list[Item]
    next_page_token: str


def size_of(page_size: int) -> int:
    """Returns how many items a page has; raises INVALID_REQUEST for an impossible size."""
    if 0 < page_size <= limits.PAGE_ITEMS_MAX:
        return page_size
    if page_size == 0:
        return limits.PAGE_ITEMS_DEFAULT
    words = f"must be 1 to {limits.PAGE_ITEMS_MAX}, or 0 for {limits.PAGE_ITEMS_DEFAULT}"
    fault = Violation("page_size", "PAGE_SIZE", words)
    raise BillowError(Reason.INVALID_REQUEST, "the request breaks a rule", violations=[fault])


def encode(listing: Sequence[object], last_key: str) -> str:
    """Makes the token of the page after the item `last_key` of a listing, given with its filters."""
    return base64.urlsafe_b64encode(_proof(listing) + last_key.encode()).decode().rstrip("=")


def decode(listing: Sequence[object], token: str) -> str:
    """Returns the key a page begins after, "" for the first page.

    Raises INVALID_PAGE_TOKEN for what `encode` never made for this listing with these filters.
    """
    if not token:
        return ""
    try:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        key = data[PROOF_BYTES:].decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise invalid_token() from error
    if data[:PROOF_BYTES] != _proof(listing) or not key or encode(listing, key) != token:
        raise invalid_token()
    return key


def invalid_token() -> BillowError:
    """The error for a token that is not of the listing."""
    return BillowError(Reason.INVALID_PAGE_TOKEN, "the page token is not one of this listing with these filters")


def page_of(found: Sequence[Item], items_max: int, listing: Sequence[object], key: Callable[[Item], str]) -> Page[Item]:
    """Makes a page of up to `items_max` items out of one item more."""
    if len(found) <= items_max:
        return Page(list(found), "")
    items = list(found[:items_max])
    return Page(items, encode(listing, key(items[-1])))


def _proof(listing: Sequence[object]) -> bytes:
    """Returns what a token of the listing begins with: a guard against mistakes, for every page is the caller's own."""
    return hashlib.sha256(repr(tuple(listing)).encode()).digest()[:PROOF_BYTES]
