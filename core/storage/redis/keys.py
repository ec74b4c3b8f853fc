"""Every key of Redis, with its type, its life and its hash tag. What is used in one command shares a tag.

The keys of a tag are a family: in a Redis Cluster they lie in one slot, so on one node.

| key                         | type   | holds                              | life                          |
|-----------------------------|--------|------------------------------------|-------------------------------|
| billow:{r}:SELLER:REQUEST   | string | the answer to a request (values)   | redis.request_ttl_s           |
| billow:{v}:HUNDRED          | hash   | verification entries (values)      | redis.verification_ttl_s      |
| billow:{c}:DAY:NUMBER       | string | checks without a key on that day   | PUBLIC_CHECKS_TTL_S           |
| billow:{wake}               | stream | calls for the workers              | about WAKE_MESSAGES_MAX calls |
| billow:{run}                | string | run id of the process that has all | as long as what it stands for |
| billow:{FAMILY}:run         | string | the same, in a cluster             | as long as what it stands for |

SELLER is the seller's key, an integer; REQUEST is printable ASCII of at most 64 characters and comes last, so no two
keys collide. HUNDRED is a number without its last two digits, which are the field: numbers of a range are consecutive,
so a commit touches few keys (docs/adr/0049). The hash ends as long after its first entry as one may be kept, so none is
kept for longer. FAMILY is r, v, c or wake. Absences ("not found") are not in Redis but in each process, see
verification_cache.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

ANSWERS: Final = "r"
ENTRIES: Final = "v"
COUNTS: Final = "c"
WAKES: Final = "wake"
FAMILIES: Final = (ANSWERS, ENTRIES, COUNTS, WAKES)

REQUEST_PREFIX: Final = "billow:{r}:"
ENTRY_PREFIX: Final = "billow:{v}:"
FIELD_DIGITS: Final = 2  # a hundred entries a hash, which Redis keeps in one piece (128 at most, unless told otherwise)
PUBLIC_CHECKS_PREFIX: Final = "billow:{c}:"
WAKE_STREAM: Final = "billow:{wake}"
RUN_KEY: Final = "billow:{run}"

PUBLIC_CHECKS_TTL_S: Final = 2 * 24 * 3_600  # longer than a day, whatever the clocks say
WAKE_MESSAGES_MAX: Final = 1_000


def run_key(family: str) -> str:
    """The key of the run id of the process that holds a family, in a cluster."""
    return f"billow:{{{family}}}:run"


def family_of(packed: bytes) -> str:
    """The family of a packed command, which its first key tells; no script has a key's beginning in its text."""
    start = packed.index(b"billow:{") + len(b"billow:{")
    return packed[start : packed.index(b"}", start)].decode()


def request_key(seller_key: int, request_id: str) -> str:
    """The key of the answer to a request."""
    return f"{REQUEST_PREFIX}{seller_key}:{request_id}"


def entry_place(number: str) -> tuple[str, str]:
    """The key and the field of an invoice's verification entry."""
    return ENTRY_PREFIX + number[:-FIELD_DIGITS], number[-FIELD_DIGITS:]


def entry_places(numbers: Sequence[str]) -> tuple[list[str], list[str]]:
    """The keys of many, and their fields; about 0.3 µs a number."""
    return [ENTRY_PREFIX + number[:-FIELD_DIGITS] for number in numbers], [number[-FIELD_DIGITS:] for number in numbers]


def public_checks_key(number: str, day: int) -> str:
    """The key of the count of an invoice's checks without a key on a day, yyyymmdd."""
    return f"{PUBLIC_CHECKS_PREFIX}{day}:{number}"
