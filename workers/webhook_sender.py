"""Webhooks over HTTP, by the Standard Webhooks specification, guarded against server-side request forgery.

The name of a receiver is resolved here and every address it has is shown to the guard; the connection is made to an
address that passed, with the name in Host and SNI. So a name that leads elsewhere a moment later leads nowhere.
Redirects are failures, proxies of the environment are not used, and of an answer only its head is read.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from core.domain import webhooks
from core.domain.destinations import Guard, url_fault
from core.domain.kinds import InvoiceColor
from core.limits import ENDPOINT_SENDS_MAX, SENDS_MAX
from core.storage.delivery_port import Due, Facts
from workers.attempts import Answer, message_id

USER_AGENT: Final = "Billow-Webhooks/1"
HEAD_BYTES_MAX: Final = 8_190
SECONDS: Final = re.compile(r"[0-9]{1,9}")


class AddressRefused(OSError):
    """A name leads to no address that may be called."""


class GuardedResolver(AbstractResolver):
    """Resolves names to the addresses the guard allows; raises AddressRefused when there is none."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Asks the system's resolver and keeps what may be called."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        allowed = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=family_of,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family_of, _, proto, _, address in found
            if self._guard.allows(str(address[0]))
        ]
        if not allowed:
            raise AddressRefused(f"{host} leads to no address that may be called")
        return allowed

    async def close(self) -> None:
        """Nothing to close."""


class WebhookSender:
    """The Sender of webhooks; `close` it at the end. Must be made inside the loop."""

    def __init__(self, *, guard: Guard, allow_http: bool, timeout_ms: int, now_us: Callable[[], int]) -> None:
        self._guard = guard
        self._allow_http = allow_http
        self._now_us = now_us
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(guard),
                use_dns_cache=False,  # an address is judged when it is used
                limit=SENDS_MAX,
                limit_per_host=ENDPOINT_SENDS_MAX,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_ms / 1_000),
            headers={"user-agent": USER_AGENT},
            auto_decompress=False,
            trust_env=False,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
        )

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
            return Answer(delivered=False, code=0, detail=_words(error, urlsplit(due.endpoint.target).hostname or ""))


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
        retry_after_ms=int(retry_after) * 1_000 if SECONDS.fullmatch(retry_after) else 0,
    )


def _words(error: Exception, host: str) -> str:
    """Says what went wrong without telling a tenant of the platform's network."""
    cause = error.__cause__ or error
    if isinstance(cause, AddressRefused) or isinstance(error, AddressRefused):
        return str(cause)
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return f"{host} has no address"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "TLS: " + type(error).__name__
    return f"no answer: {type(error).__name__}"
