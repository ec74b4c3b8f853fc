"""Verification entries in Redis, absences in this process, counts of public checks in Redis."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

from core.settings import RedisSettings
from core.storage.ports import VerificationEntry
from core.storage.redis.issue_cache import SCRIPT_KEYS_MAX, CacheMetrics, set_absent
from core.storage.redis.keys import COUNTS, ENTRIES, ENTRY_PREFIX, PUBLIC_CHECKS_TTL_S, entry_key, public_checks_key
from core.storage.redis.link import Link, RedisAway
from core.storage.redis.places import pack
from core.storage.redis.values import pack_entry, unpack_entry
from core.storage.short_memory import Absences, DayCounts

# sums of reds only ever grow more negative: of two that race, the one that knows more stays (P7). The red total lies at
# byte 27 of an entry (core/storage/redis/values.py); a double holds every lawful one exactly
SET_REDDER: Final = (
    "for i = 1, #KEYS do local old = redis.call('GET', KEYS[i])"
    " if not old or #old < 35 or old:byte(1) ~= 1"
    " or struct.unpack('<i8', old, 27) > tonumber(ARGV[1 + #KEYS + i]) then"
    " redis.call('SET', KEYS[i], ARGV[1 + i], 'EX', ARGV[1])"
    " else redis.call('EXPIRE', KEYS[i], ARGV[1]) end end"
)


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
            values = await self._entries.call("MGET", *[ENTRY_PREFIX + number for number in numbers])
        except RedisAway:
            return found
        absent = len(found)
        for number, value in zip(numbers, values, strict=True):
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
        commands = []
        for start in range(0, len(found), SCRIPT_KEYS_MAX):
            some = found[start : start + SCRIPT_KEYS_MAX]
            names = [entry_key(entry.number) for entry in some]
            commands.append(set_absent(names, [pack_entry(entry) for entry in some], self._ttl_s))
        await self._send(commands)

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        """Replaces entries; see the port."""
        if not entries:
            return not self._entries.away
        commands = []
        for start in range(0, len(entries), SCRIPT_KEYS_MAX):
            some = entries[start : start + SCRIPT_KEYS_MAX]
            names = [entry_key(entry.number) for entry in some]
            values = [pack_entry(entry) for entry in some]
            reds = [entry.red_total_minor for entry in some]
            commands.append(pack("EVAL", SET_REDDER, len(names), *names, self._ttl_s, *values, *reds))
        return await self._send(commands)

    async def _send(self, commands: Sequence[bytes]) -> bool:
        """Sends commands in one round trip; tells whether Redis took them."""
        try:
            await self._entries.call_packed(b"".join(commands), len(commands))
        except RedisAway:
            return False
        return True

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
