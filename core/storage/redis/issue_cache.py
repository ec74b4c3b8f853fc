"""Answers and verification entries in Redis, written once a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from core.settings import RedisSettings
from core.storage.ports import Issued
from core.storage.redis.keys import ANSWERS, REQUEST_PREFIX, WAKE_MESSAGES_MAX, WAKE_STREAM
from core.storage.redis.link import Link, RedisAway
from core.storage.redis.places import Argument, pack
from core.storage.redis.scripts import SCRIPT_ITEMS_MAX, add_entries, set_absent
from core.storage.redis.values import pack_answer, pack_issued_entry, unpack_answer

WAKE: Final = pack("XADD", WAKE_STREAM, "MAXLEN", "~", WAKE_MESSAGES_MAX, "*", "n", "")


class CacheMetrics(Protocol):
    """What a cache reports of itself."""

    def cache(self, name: str, *, hits: int, misses: int) -> None:
        """So many lookups were answered by the cache of that name, and so many were not."""


class RedisIssueCache:
    """The IssueCache of core/storage/ports.py."""

    def __init__(self, *, link: Link, settings: RedisSettings, metrics: CacheMetrics | None = None) -> None:
        self._link = link
        self._answers = link.family(ANSWERS)
        self._request_ttl_s = settings.request_ttl_s
        self._entry_ttl_s = settings.verification_ttl_s
        self._metrics = metrics

    async def known(self, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Issued]:
        """Returns remembered answers; see the port. About 1 µs a key that is not remembered."""
        if not keys or self._answers.away:
            return {}
        names = [f"{REQUEST_PREFIX}{seller_key}:{request_id}" for seller_key, request_id in keys]
        try:
            values = await self._answers.call("MGET", *names)
        except RedisAway:
            return {}
        found: dict[tuple[int, str], Issued] = {}
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                answer = unpack_answer(key[0], key[1], value)
                if answer is not None:
                    found[key] = answer
        if self._metrics is not None:
            self._metrics.cache("request", hits=len(found), misses=len(keys) - len(found))
        return found

    async def remember(
        self, issued: Sequence[Issued], seller_tax_ids: Mapping[int, str], *, answers: bool = True
    ) -> None:
        """Remembers answers and entries and wakes the workers; see the port. About 2 µs an invoice, 5 with answers."""
        if not issued or self._link.away:
            return
        tax_ids = {key: tax_id.encode() for key, tax_id in seller_tax_ids.items()}
        commands: list[bytes] = []
        for start in range(0, len(issued), SCRIPT_ITEMS_MAX):
            if start:
                await asyncio.sleep(0)  # others may go in between
            some = issued[start : start + SCRIPT_ITEMS_MAX]
            if answers:
                keys: list[Argument] = [f"{REQUEST_PREFIX}{item.seller_key}:{item.request_id}" for item in some]
                commands.append(set_absent(keys, [pack_answer(item) for item in some], self._request_ttl_s))
            # of one issued long ago others know the present state: an entry made here would hide its reds (P7)
            known = [item for item in some if item.seller_key in tax_ids and not item.repeated]
            if known:
                entries = [pack_issued_entry(item, tax_ids[item.seller_key]) for item in known]
                commands.append(add_entries([item.number for item in known], entries, self._entry_ttl_s))
        commands.append(WAKE)
        try:
            await self._link.call_mixed(commands)
        except RedisAway:
            return
