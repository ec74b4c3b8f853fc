"""Webhooks over HTTP, by the Standard Webhooks specification; see workers/guarded_http.py. Redirects are failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from core.domain import webhooks
from core.domain.destinations import Guard, url_fault
from core.domain.kinds import InvoiceColor
from core.storage.delivery_port import Due, Facts
from workers.attempts import Answer, message_id
from workers.guarded_http import failure_words, guarded_session, retry_after_ms

USER_AGENT: Final = "Billow-Webhooks/1"


class WebhookSender:
    """The Sender of webhooks; `close` it at the end. Must be made inside the loop."""

    def __init__(self, *, guard: Guard, allow_http: bool, timeout_ms: int, now_us: Callable[[], int]) -> None:
        self._guard = guard
        self._allow_http = allow_http
        self._now_us = now_us
        self._session = guarded_session(guard, timeout_ms=timeout_ms, user_agent=USER_AGENT)

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def send(self, due: Due) -> Answer:
        """Posts the facts of the invoice, signed; within the timeout."""
        fault = url_fault(due.endpoint.target, allow_http=self._allow_http, guard=self._guard)
        if fault:  # the settings may have changed since it was created
            return Answer(delivered=False, code=0, detail=f"the URL {fault}", final=True)
        now_us = self._now_us()
        secrets = [due.endpoint.secret]
        if due.endpoint.old_secret and due.endpoint.old_secret_until_us > now_us:
            secrets.append(due.endpoint.old_secret)
        body = payload(due.facts)
        head = webhooks.headers(
            secrets, message_id=message_id(due.delivery_id), timestamp_s=now_us // 1_000_000, body=body
        )
        try:
            async with self._session.post(
                due.endpoint.target, data=body, headers=head, allow_redirects=False
            ) as response:
                return _answer(response.status, response.headers.get("retry-after", ""))
        except TimeoutError:
            return Answer(delivered=False, code=0, detail="no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(
                delivered=False, code=0, detail=failure_words(error, urlsplit(due.endpoint.target).hostname or "")
            )


def payload(facts: Facts) -> bytes:
    """Returns the body of a webhook: the same bytes for the same invoice."""
    data = {
        "number": facts.number,
        "seller_id": facts.seller_id,
        "request_id": facts.request_id,
        "issue_time": moment(facts.issued_at_us),
        "red": facts.color == InvoiceColor.RED,
        "net_total_minor": facts.net_total_minor,
        "tax_total_minor": facts.tax_total_minor,
        "gross_total_minor": facts.gross_total_minor,
        "buyer_tax_id": facts.buyer_tax_id,
        "body_sha256": facts.body_sha256.hex(),
    }
    message = {"type": "invoice.issued", "timestamp": moment(facts.issued_at_us), "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def moment(at_us: int) -> str:
    """Returns a time in RFC 3339."""
    return datetime.fromtimestamp(at_us / 1_000_000, tz=UTC).isoformat(timespec="microseconds")


def _answer(status: int, retry_after: str) -> Answer:
    """Judges a status as the specification says."""
    if webhooks.OK_FIRST <= status <= webhooks.OK_LAST:
        return Answer(delivered=True, code=status, detail="")
    return Answer(
        delivered=False,
        code=status,
        detail="a redirect is not followed" if 300 <= status < 400 else f"answered {status}",
        gone=status == webhooks.GONE,
        throttled=status in webhooks.THROTTLING,
        retry_after_ms=retry_after_ms(retry_after),
    )
