"""What a server process measures of itself, for Prometheus. Labels are bound once, so a note costs about 2 µs."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from core.settings import Address

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROLES = ("primary", "replica", "fenced", "unsafe", "away")  # as core/storage/mysql/topology.py names them
ERRORS = ("UNAVAILABLE", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "DATA_LOSS")  # what costs error budget
ITEMS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class ServerMetrics:
    """Implements the metrics ports of Guard, Lane and Admission, of the topology and of the Redis adapters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)  # descriptors, memory, CPU
        calls = "RPCs by method and gRPC code"
        self._calls = Counter("billow_calls", calls, ("method", "code"), registry=registry)
        durations = "Duration of RPCs by method; of streams, from first to last message"
        self._durations = Histogram(
            "billow_call_duration_seconds", durations, ("method",), buckets=SECONDS, registry=registry
        )
        self._issued = Counter("billow_issued_items", "Items committed by lane", ("lane",), registry=registry)
        self._replayed = Counter(
            "billow_replayed_items",
            "Items answered with what had been issued before, by lane",
            ("lane",),
            registry=registry,
        )
        self._commit_items = Histogram(
            "billow_commit_items", "Items of a commit by lane", ("lane",), buckets=ITEMS, registry=registry
        )
        self._commit_durations = Histogram(
            "billow_commit_duration_seconds",
            "Duration of a commit by lane",
            ("lane",),
            buckets=SECONDS,
            registry=registry,
        )
        self._queued = Gauge("billow_queued_items", "Items waiting or under way by lane", ("lane",), registry=registry)
        refused = "Items refused before any work by lane and why: full, share, deadline, delay, lag"
        self._refused = Counter("billow_refused_items", refused, ("lane", "why"), registry=registry)
        dropped = "Items dropped before they were numbered, because nobody waited any more, by lane"
        self._dropped = Counter("billow_dropped_items", dropped, ("lane",), registry=registry)
        wait = "How long a new item would wait by lane; of the lane loop, how late the event loop is"
        self._wait = Gauge("billow_estimated_wait_seconds", wait, ("lane",), registry=registry)
        self._cache = Counter(
            "billow_cache_lookups", "Lookups by cache and result", ("cache", "result"), registry=registry
        )
        self._verified = Counter("billow_verified_items", "Checks by outcome", ("outcome",), registry=registry)
        self._reads = Counter(
            "billow_reads", "Batched reads by what was read and who answered", ("what", "source"), registry=registry
        )
        self._redis_away = Gauge("billow_redis_away", "1 while Redis counts as away", registry=registry)
        self._node = Gauge("billow_node_role", "1 for the present role of a node", ("node", "role"), registry=registry)
        self._node_age = Gauge(
            "billow_node_age_seconds", "How old a replica's state is at most", ("node",), registry=registry
        )
        self._semi_sync = Gauge(
            "billow_semi_sync",
            "1 while the primary waits for a replica before it answers",
            ("node",),
            registry=registry,
        )
        stall = "How long a commit has waited for a replica's receipt while no other gets through"
        self._commit_stall = Gauge("billow_commit_stall_seconds", stall, ("node",), registry=registry)

    def call(self, method: str) -> Callable[[str, float], None]:
        """Returns what notes one call of the method: its gRPC code and duration in seconds."""
        duration = self._durations.labels(method)
        calls = self._calls
        # an error that is counted from 0 is seen at once: a counter that begins with 1 has no rate
        by_code = {code: calls.labels(method, code) for code in ("OK", *ERRORS)}

        def note(code: str, duration_s: float) -> None:
            counter = by_code.get(code)
            if counter is None:
                counter = by_code[code] = calls.labels(method, code)
            counter.inc()
            duration.observe(duration_s)

        return note

    def committed(self, lane: str, items: int, duration_s: float) -> None:
        """One commit of `items` invoices is done."""
        self._issued.labels(lane).inc(items)
        self._commit_items.labels(lane).observe(items)
        self._commit_durations.labels(lane).observe(duration_s)

    def queue(self, lane: str, items: Callable[[], int]) -> None:
        """A lane begins; `items` is asked when somebody looks."""
        self._queued.labels(lane).set_function(items)

    def replayed(self, lane: str, items: int) -> None:
        """So many items were answered from memory."""
        self._replayed.labels(lane).inc(items)

    def refused(self, lane: str, why: str, items: int) -> None:
        """So many items were refused before any work."""
        self._refused.labels(lane, why).inc(items)

    def dropped(self, lane: str, items: int) -> None:
        """So many items were dropped before they were numbered."""
        self._dropped.labels(lane).inc(items)

    def estimated(self, lane: str, wait_s: float) -> None:
        """A new item would wait so long."""
        self._wait.labels(lane).set(wait_s)

    def cache(self, name: str, *, hits: int, misses: int) -> None:
        """Lookups in a cache."""
        self._cache.labels(name, "hit").inc(hits)
        self._cache.labels(name, "miss").inc(misses)

    def redis_away(self, away: bool) -> None:
        """Redis counts as away from now on, or as back."""
        self._redis_away.set(away)

    def node(self, address: Address, *, role: str, age_s: float | None) -> None:
        """A node was looked at: its role, and for a replica how old its state is at most."""
        name = f"{address.host}:{address.port}"
        for known in ROLES:
            self._node.labels(name, known).set(role == known)
        if age_s is not None:
            self._node_age.labels(name).set(age_s)

    def semi_sync(self, address: Address, on: bool) -> None:
        """Whether the primary waits for a replica before it answers a commit (P1)."""
        self._semi_sync.labels(f"{address.host}:{address.port}").set(on)

    def commit_stall(self, address: Address, stall_s: float) -> None:
        """How long a commit has been waiting for a receipt while no other one gets through; 0 where none does."""
        self._commit_stall.labels(f"{address.host}:{address.port}").set(stall_s)

    def verified(self, outcome: str, items: int) -> None:
        """So many checks had this outcome."""
        self._verified.labels(outcome).inc(items)

    def read(self, what: str, source: str) -> None:
        """A batched read of something was answered by a source: replica or primary."""
        self._reads.labels(what, source).inc()
