"""Standard Webhooks: secrets, signatures, the retry schedule. Pure.

Source: the Standard Webhooks specification 1.0.0 (github.com/standard-webhooks/standard-webhooks), sections "Signature
scheme", "Webhook headers" and "Deliverability and reliability".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (not a secret: what secrets begin with)
SECRET_BYTES: Final = 32  # the specification: 24 to 64
ROTATION_MS: Final = 24 * 3_600_000  # for so long the old secret signs too
SCHEDULE_MS: Final = (  # the specification's: from the failure of an attempt to the next one; 75 h 35 min 5 s in all
    5_000,
    300_000,
    1_800_000,
    7_200_000,
    18_000_000,
    36_000_000,
    50_400_000,
    72_000_000,
    86_400_000,
)
JITTER_PERCENT: Final = 20  # of a delay, added by chance

OK_FIRST, OK_LAST = 200, 299
GONE: Final = 410  # the receiver wants no more: the endpoint is disabled
THROTTLING: Final = frozenset({429, 502, 503, 504})  # the receiver is overloaded: its circuit opens at once
RETRY_AFTER_MAX_MS: Final = 3_600_000


def secret_text(secret: bytes) -> str:
    """Returns a secret as its owner gets it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def secret_of(text: str) -> bytes:
    """Reads what `secret_text` wrote; raises ValueError."""
    try:
        return base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("not a webhook secret") from error


def signature(secret: bytes, *, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Returns one entry of the header webhook-signature."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def headers(secrets: Sequence[bytes], *, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Returns the webhook headers of one attempt, signed with every secret in turn."""
    signatures = (signature(secret, message_id=message_id, timestamp_s=timestamp_s, body=body) for secret in secrets)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def schedule_length_ms(schedule_ms: Sequence[int]) -> int:
    """Returns how long the tries of a schedule take at most, their attempts not counted."""
    return sum(schedule_ms) * (100 + JITTER_PERCENT) // 100


def retry_delay_ms(
    tries: int, *, schedule_ms: Sequence[int] = SCHEDULE_MS, below: Callable[[int], int], retry_after_ms: int = 0
) -> int | None:
    """Returns the delay after the `tries`-th failure, from 1, or None when there is no further try.

    `below(n)` returns a random integer from 0 to n - 1. What the receiver asked for by Retry-After is kept up to
    RETRY_AFTER_MAX_MS, but never shortens a delay.
    """
    if tries > len(schedule_ms):
        return None
    delay_ms = max(schedule_ms[tries - 1], min(retry_after_ms, RETRY_AFTER_MAX_MS))
    return delay_ms + below(delay_ms * JITTER_PERCENT // 100 + 1)
