"""One attempt to deliver: what a sender is, and what follows from its answer. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from core.domain import webhooks
from core.limits import ATTEMPT_DETAIL_CHARS_MAX
from core.storage.delivery_port import Attempt, DeliveryState, Due, Outcome

CIRCUIT_FAILURES: Final = 5  # in a row; from then on the endpoint is left alone for a doubling while
CIRCUIT_FIRST_MS: Final = 5_000
CIRCUIT_MAX_MS: Final = 300_000
THROTTLE_MS: Final = 5_000  # when the receiver says that it is overloaded and not for how long
POSTPONED_FIRST_MS: Final = 10_000
POSTPONED_MAX_MS: Final = 1_800_000
MS: Final = 1_000  # microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of sending. `gone`: the receiver wants nothing more; `final`: no repeat can help.

    `postponed`: nothing was sent, because something of the platform's own is away; it is not held against the receiver.
    """

    delivered: bool
    code: int
    detail: str
    gone: bool = False
    final: bool = False
    throttled: bool = False
    postponed: bool = False
    retry_after_ms: int = 0


class Sender(Protocol):
    """Sends one delivery to where it goes, within a bounded time. Never raises but for cancellation."""

    async def send(self, due: Due) -> Answer:
        """Makes one attempt."""
        ...


def message_id(delivery_id: int) -> str:
    """Returns the id that a receiver tells repeats by."""
    return f"dlv_{delivery_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Decides what follows an attempt. `below(n)` returns a random integer from 0 to n - 1."""

    schedule_ms: Sequence[int] = webhooks.SCHEDULE_MS
    circuit_first_ms: int = CIRCUIT_FIRST_MS
    circuit_max_ms: int = CIRCUIT_MAX_MS
    below: Callable[[int], int]

    def outcome(self, due: Due, answer: Answer, *, began_us: int, now_us: int) -> Outcome:
        """Returns what is to be noted of an attempt."""
        attempt = Attempt(
            attempt=due.attempts + 1,
            at_us=began_us,
            duration_us=max(0, now_us - began_us),
            delivered=answer.delivered,
            code=answer.code,
            detail=answer.detail[:ATTEMPT_DETAIL_CHARS_MAX],
        )
        state, due_at_us = DeliveryState.DELIVERED, None
        if not answer.delivered:
            delay_ms = None
            if answer.postponed:
                delay_ms = self._postponed_ms(due)
            elif not answer.final:
                delay_ms = webhooks.retry_delay_ms(
                    due.tries + 1,
                    schedule_ms=self.schedule_ms,
                    below=self.below,
                    retry_after_ms=answer.retry_after_ms,
                )
            # what a gone endpoint has not got waits for it to be enabled again
            waits = answer.gone or delay_ms is not None
            state = DeliveryState.PENDING if waits else DeliveryState.FAILED
            due_at_us = now_us + (delay_ms or 0) * MS if waits else None
        return Outcome(
            delivery_id=due.delivery_id,
            endpoint_key=due.endpoint.endpoint_key,
            attempt=attempt,
            state=state,
            due_at_us=due_at_us,
            disable=f"the endpoint answered {answer.code} (gone)" if answer.gone else "",
            open_until_us=now_us + pause_ms * MS if (pause_ms := self._pause_ms(due, answer)) else 0,
            counts=not answer.postponed,
        )

    def _postponed_ms(self, due: Due) -> int:
        """Returns the wait for what is away here: doubling with the attempts made for nothing, without an end."""
        for_nothing = min(due.attempts - due.tries, 16)
        delay_ms = min(POSTPONED_MAX_MS, POSTPONED_FIRST_MS << for_nothing)
        return delay_ms + self.below(delay_ms * webhooks.JITTER_PERCENT // 100 + 1)

    def _pause_ms(self, due: Due, answer: Answer) -> int:
        """Returns for how long the endpoint is left alone after this attempt."""
        if answer.delivered or answer.gone or answer.final or answer.postponed:
            return 0
        pause_ms = 0
        failures = due.endpoint.failures + 1
        if failures >= CIRCUIT_FAILURES:
            pause_ms = min(self.circuit_max_ms, self.circuit_first_ms << min(failures - CIRCUIT_FAILURES, 16))
        if answer.throttled:
            asked_ms = min(answer.retry_after_ms, webhooks.RETRY_AFTER_MAX_MS)
            pause_ms = max(pause_ms, asked_ms or min(THROTTLE_MS, self.circuit_first_ms))
        return pause_ms
