"""HTTP to addresses that others chose, guarded against server-side request forgery.

The name of a receiver is resolved here and every address it has is shown to the guard; the connection is made to an
address that passed, with the name in Host and SNI. So a name that leads elsewhere a moment later leads nowhere.
Connections are kept and used again: they stay with the address that passed. Proxies of the environment are not used,
and of an answer only its head is read.
"""

from __future__ import annotations

import asyncio
import re
import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from core.domain.destinations import Guard
from core.limits import SENDS_MAX

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


def guarded_session(guard: Guard, *, timeout_ms: int, user_agent: str) -> aiohttp.ClientSession:
    """Opens a session whose connections go where the guard allows; whoever opens it closes it. Inside a loop only."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=GuardedResolver(guard),
            use_dns_cache=False,  # an address is judged when it is used
            limit=SENDS_MAX,
            limit_per_host=0,  # endpoints of one host are not in each other's way; SendJob bounds each
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_ms / 1_000),
        headers={"user-agent": user_agent},
        auto_decompress=False,
        trust_env=False,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
    )


def retry_after_ms(text: str) -> int:
    """Reads a Retry-After of seconds; 0 for anything else."""
    return int(text) * 1_000 if SECONDS.fullmatch(text) else 0


def failure_words(error: Exception, host: str) -> str:
    """Says what went wrong without telling a tenant of the platform's network."""
    cause = error.__cause__ or error
    if isinstance(cause, AddressRefused) or isinstance(error, AddressRefused):
        return str(cause)
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return f"{host} has no address"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "TLS: " + type(error).__name__
    return f"no answer: {type(error).__name__}"
