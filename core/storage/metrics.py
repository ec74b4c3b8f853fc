"""What the stores' adapters measure, for Prometheus; server and workers share it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from core.settings import Address


class StorageMetrics:
    """Cache hits, Redis away, and who is who among the database nodes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._hits = Counter("billow_cache_hits", "Lookups answered by Redis", ("cache",), registry=registry)
        self._misses = Counter("billow_cache_misses", "Lookups not answered by Redis", ("cache",), registry=registry)
        self._away = Gauge("billow_redis_away", "1 while Redis counts as away", registry=registry)
        self._role = Gauge(
            "billow_mysql_role",
            "1 for the role a node has now: primary, replica, away",
            ("node", "role"),
            registry=registry,
        )
        self._lag = Gauge(
            "billow_mysql_replica_age_seconds",
            "Age of the primary's state that a replica is known to have",
            ("node",),
            registry=registry,
        )
        self._semi_sync = Gauge(
            "billow_mysql_semi_sync", "1 while the primary waits for a replica at commit", ("node",), registry=registry
        )
        self._reads = Counter("billow_reads", "Batched reads by the node asked", ("what", "source"), registry=registry)

    def cache(self, name: str, *, hits: int, misses: int) -> None:
        """So many lookups were answered by the cache of that name, and so many were not."""
        self._hits.labels(name).inc(hits)
        self._misses.labels(name).inc(misses)

    def redis_away(self, away: bool) -> None:
        """Redis went away or came back."""
        self._away.set(away)

    def node(self, address: Address, *, role: str, age_s: float | None) -> None:
        """A node was looked at: its role, and for a replica how old its state is at most."""
        name = f"{address.host}:{address.port}"
        for other in ("primary", "replica", "away"):
            self._role.labels(name, other).set(other == role)
        if age_s is not None:
            self._lag.labels(name).set(age_s)

    def semi_sync(self, address: Address, on: bool) -> None:
        """Whether the primary waits for a replica before it answers a commit (P1)."""
        self._semi_sync.labels(f"{address.host}:{address.port}").set(on)

    def read(self, what: str, source: str) -> None:
        """A batched read of something was answered by a source: replica or primary."""
        self._reads.labels(what, source).inc()
