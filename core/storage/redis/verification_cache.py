"""Verification entries in Redis, absences in this process, counts of public checks in Redis."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from core.settings import RedisSettings
from core.storage.pieces import pieces
from core.storage.ports import VerificationEntry
from core.storage.redis.issue_cache import CacheMetrics
from core.storage.redis.keys import COUNTS, ENTRIES, PUBLIC_CHECKS_TTL_S, public_checks_key
from core.storage.redis.link import Link, RedisAway
from core.storage.redis.places import pack
from core.storage.redis.scripts import SCRIPT_ITEMS_MAX, add_entries, get_entries, replace_entries
from core.storage.redis.values import pack_entry, unpack_entry
from core.storage.short_memory import Absences, DayCounts


class RedisVerificationCache:
    """The VerificationCache of core/storage/ports.py. `clock` counts monotonic seconds.

    Absences are this process's own: they are worth remembering for a second only, and a flood of made-up numbers
    then costs Redis nothing.
    """

    def __init__(
        self,
        *,
        link: Link,
        settings: RedisSettings,
        clock: Callable[[], float] = time.monotonic,
        metrics: CacheMetrics | None = None,
    ) -> None:
        self._entries = link.family(ENTRIES)
        self._counts = link.family(COUNTS)
        self._ttl_s = settings.verification_ttl_s
        self._metrics = metrics
        self._absences = Absences(clock=clock)
        self._own_counts = DayCounts()

    async def entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry | None]:
        """Returns what is remembered; see the port. About 2 µs a number."""
        if not numbers:
            return {}
        # what Redis has is better than a remembered absence: the invoice was issued in between
        found: dict[str, VerificationEntry | None] = dict.fromkeys(self._absences.among(numbers))
        if self._entries.away:
            return found
        try:
            replies = await self._send([get_entries(some) for some in pieces(numbers, SCRIPT_ITEMS_MAX)])
        except RedisAway:
            return found
        absent = len(found)
        for number, value in zip(numbers, itertools.chain.from_iterable(replies), strict=True):
            if value is not None:
                entry = unpack_entry(number, value)
                if entry is not None:
                    found[number] = entry
        if self._metrics is not None:
            hits = len(found) - absent
            self._metrics.cache("entry", hits=hits, misses=len(numbers) - hits)
        return found

    async def remember(self, found: Sequence[VerificationEntry], absent: Sequence[str]) -> None:
        """Remembers entries and absences; see the port."""
        if absent:
            self._absences.add(absent)
        if not found:
            return
        commands = [
            add_entries([entry.number for entry in some], [pack_entry(entry) for entry in some], self._ttl_s)
            for some in pieces(found, SCRIPT_ITEMS_MAX)
        ]
        with contextlib.suppress(RedisAway):
            await self._send(commands)

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        """Replaces entries; see the port."""
        if not entries:
            return not self._entries.away
        commands = []
        for some in pieces(entries, SCRIPT_ITEMS_MAX):
            numbers = [entry.number for entry in some]
            reds = [entry.red_total_minor for entry in some]
            commands.append(replace_entries(numbers, [pack_entry(entry) for entry in some], reds, self._ttl_s))
        try:
            await self._send(commands)
        except RedisAway:
            return False
        return True

    async def _send(self, commands: Sequence[bytes]) -> list[Any]:
        """Sends commands in one round trip and returns their replies; raises RedisAway."""
        return await self._entries.call_packed(b"".join(commands), len(commands))

    async def count_public_checks(self, numbers: Sequence[str], day: int) -> list[int]:
        """Counts checks; see the port."""
        if not numbers:
            return []
        # the first command gives the count its life, which INCR leaves alone
        names = [public_checks_key(number, day) for number in numbers]
        commands = [(pack("SET", name, 0, "EX", PUBLIC_CHECKS_TTL_S, "NX"), pack("INCR", name)) for name in names]
        packed = b"".join(itertools.chain.from_iterable(commands))
        try:
            replies = await self._counts.call_packed(packed, 2 * len(names), repeat=False)
        except RedisAway:
            return self._own_counts.add(numbers, day)
        return [int(count) for count in replies[1::2]]
