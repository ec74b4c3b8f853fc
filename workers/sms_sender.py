"""Text messages through a gateway of the operator's.

`SmsGateway` is the port: another gateway is another class with its one method, built in workers/bootstrap.py. The one
there is, HttpSmsGateway, speaks a small protocol of our own (docs/operations.md), for which a proxy of some lines can
be put before any provider.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from core.domain import webhooks
from core.domain.destinations import Guard, phone_fault, url_fault
from core.limits import SMS_CHARS_MAX
from core.settings import DeliverySettings
from core.storage.delivery_port import Due, Facts
from workers.attempts import Answer, message_id
from workers.email_message import amount, subject
from workers.guarded_http import failure_words, guarded_session, retry_after_ms

USER_AGENT: Final = "Billow-SMS/1"
SERVER_ERRORS: Final = 500  # and above
TOO_MANY: Final = 429
REQUEST_TIMEOUT: Final = 408


class SmsGateway(Protocol):
    """Hands text messages to those who send them."""

    async def send(self, *, to: str, text: str, message_id: str) -> Answer:
        """Hands one over: `to` in E.164, `text` of at most SMS_CHARS_MAX characters.

        `message_id` is the delivery's and the same at every repeat, so that the gateway can leave a repeat out. Within
        the timeout of the settings. Never raises but for cancellation.
        """
        ...


class SmsSender:
    """The Sender of text messages. `link` returns a short link to the invoice, if there are links."""

    def __init__(self, *, gateway: SmsGateway, link: Callable[[Facts], str] | None = None) -> None:
        self._gateway = gateway
        self._link = link

    async def send(self, due: Due) -> Answer:
        """Sends number and total of the invoice."""
        fault = phone_fault(due.endpoint.target)
        if fault:
            return Answer(delivered=False, code=0, detail=f"the number {fault}", final=True)
        words = text(due.facts, self._link(due.facts) if self._link else "")
        return await self._gateway.send(to=due.endpoint.target, text=words, message_id=message_id(due.delivery_id))


def text(facts: Facts, link: str) -> str:
    """Writes the message; the seller's name is what is cut when it is too long."""
    rest = f"{subject(facts)}，价税合计 Total {amount(facts.gross_total_minor)}" + (f" {link}" if link else "")
    name = facts.seller_name[: max(0, SMS_CHARS_MAX - len(rest) - 2)]
    return f"【{name}】{rest}"


class HttpSmsGateway:
    """The SmsGateway over HTTP: POST of JSON {"to", "text", "id"} with a bearer token; `close` it at the end.

    2xx: delivered. 408, 429 (with Retry-After) and 5xx: tried again, as is what gets no answer. 401 and 403: the
    token is the operator's fault, not the receiver's: postponed. Everything else, redirects too: failed for good. Must
    be made inside the loop.
    """

    def __init__(self, *, settings: DeliverySettings, guard: Guard) -> None:
        self._url = settings.sms_url
        self._token = settings.sms_token
        self._allow_http = settings.allow_http
        self._guard = guard
        self._session = guarded_session(guard, timeout_ms=settings.timeout_ms, user_agent=USER_AGENT)

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def send(self, *, to: str, text: str, message_id: str) -> Answer:
        """Hands a message over; see SmsGateway."""
        fault = url_fault(self._url, allow_http=self._allow_http, guard=self._guard)
        if fault:
            return Answer(delivered=False, code=0, detail=f"the gateway's URL {fault}", postponed=True)
        body = json.dumps({"to": to, "text": text, "id": message_id}, ensure_ascii=False).encode()
        head = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        try:
            async with self._session.post(self._url, data=body, headers=head, allow_redirects=False) as response:
                return _answer(response.status, response.headers.get("retry-after", ""))
        except TimeoutError:
            return Answer(delivered=False, code=0, detail="the gateway: no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = failure_words(error, urlsplit(self._url).hostname or "")
            return Answer(delivered=False, code=0, detail=f"the gateway: {words}")


def _answer(status: int, retry_after: str) -> Answer:
    """Judges the gateway's status."""
    if webhooks.OK_FIRST <= status <= webhooks.OK_LAST:
        return Answer(delivered=True, code=status, detail="")
    again = status in (REQUEST_TIMEOUT, TOO_MANY) or status >= SERVER_ERRORS
    ours = status in (401, 403)
    return Answer(
        delivered=False,
        code=status,
        detail=f"the gateway answered {status}",
        final=not again and not ours,
        throttled=status == TOO_MANY,
        postponed=ours,
        retry_after_ms=retry_after_ms(retry_after),
    )
