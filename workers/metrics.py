"""What a worker process measures of itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

INVOICES = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000)
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class WorkerMetrics:
    """The archive's rates, sizes, durations by stage, and how far it is behind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)  # descriptors, memory, CPU
        self._invoices = Counter("billow_archived_invoices", "Invoices archived", registry=registry)
        self._bytes = Counter("billow_archived_bytes", "Bytes of segments archived", registry=registry)
        self._sizes = Histogram("billow_segment_invoices", "Invoices of a segment", buckets=INVOICES, registry=registry)
        self._stages = Histogram(
            "billow_archive_stage_seconds",
            "Duration of claim, pack, put and mark of a segment",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        )
        self._failures = Counter("billow_job_failures", "Steps failed by job", ("job",), registry=registry)
        self._backlog = Gauge("billow_archive_backlog_batches", "Batches not archived", registry=registry)
        self._lag = Gauge("billow_archive_lag_seconds", "Age of the oldest batch not archived", registry=registry)

    def archived(self, invoices: int, size_bytes: int) -> None:
        """One segment is recorded."""
        self._invoices.inc(invoices)
        self._bytes.inc(size_bytes)
        self._sizes.observe(invoices)

    def stage(self, stage: str, duration_s: float) -> None:
        """One stage of a segment is done."""
        self._stages.labels(stage).observe(duration_s)

    def failed(self, job: str) -> None:
        """A step of a job failed."""
        self._failures.labels(job).inc()

    def behind(self, batches: int, lag_s: float) -> None:
        """So many batches wait, the oldest for so long."""
        self._backlog.set(batches)
        self._lag.set(lag_s)


class DeliveryMetrics:
    """Attempts to deliver, by kind and result."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "billow_delivery_attempts", "Attempts to deliver", ("kind", "result"), registry=registry
        )
        self._seconds = Histogram(
            "billow_delivery_attempt_seconds", "Duration of an attempt", ("kind",), buckets=SECONDS, registry=registry
        )

    def attempted(self, kind: str, result: str, duration_s: float) -> None:
        """One attempt ended: delivered, failed or postponed."""
        self._attempts.labels(kind, result).inc()
        self._seconds.labels(kind).observe(duration_s)
