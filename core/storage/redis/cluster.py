"""The link to a Redis Cluster: a link a family of keys, each to the node that holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core.settings import RedisSettings
from core.storage.redis.keys import FAMILIES, family_of
from core.storage.redis.link import Link, LinkMetrics, RedisLink
from core.storage.redis.places import ClusterNode


def open_link(*, settings: RedisSettings, metrics: LinkMetrics | None = None) -> Link:
    """Returns the link that the settings ask for; it connects at its first use."""
    if settings.cluster:
        return ClusterLink(settings=settings, metrics=metrics)
    return RedisLink(settings=settings, metrics=metrics)


class ClusterLink:
    """A Link whose families are away one by one: what another node holds is still used."""

    def __init__(self, *, settings: RedisSettings, metrics: LinkMetrics | None = None) -> None:
        away_ones: set[str] = set()
        self._links = {
            family: RedisLink(
                settings=settings,
                metrics=None if metrics is None else _FamilyMetrics(family, away_ones, metrics),
                finder=ClusterNode(settings, family),
            )
            for family in FAMILIES
        }

    @property
    def away(self) -> bool:
        """Whether all of it counts as away."""
        return all(link.away for link in self._links.values())

    def family(self, family: str) -> RedisLink:
        """Returns the link for the keys of one family."""
        return self._links[family]

    async def call_mixed(self, commands: Sequence[bytes]) -> None:
        """Sends packed commands to the nodes of their families, to all at once; see Link."""
        packed: dict[str, list[bytes]] = {}
        for command in commands:
            packed.setdefault(family_of(command), []).append(command)
        calls = [self._links[family].call_packed(b"".join(some), len(some)) for family, some in packed.items()]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        """Closes everything; later calls raise RedisAway."""
        for link in self._links.values():
            await link.close()


class _FamilyMetrics:
    """Tells that Redis is away while any family is."""

    def __init__(self, family: str, away_ones: set[str], metrics: LinkMetrics) -> None:
        self._family = family
        self._away_ones = away_ones
        self._metrics = metrics

    def redis_away(self, away: bool) -> None:
        """This family went away or came back."""
        (self._away_ones.add if away else self._away_ones.discard)(self._family)
        self._metrics.redis_away(bool(self._away_ones))
