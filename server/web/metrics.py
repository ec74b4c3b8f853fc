"""What a web process measures of itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector


class WebMetrics:
    """Implements the metrics port of Downloads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)  # descriptors, memory, CPU
        self._downloads = Counter("billow_downloads", "Requests of downloads by answer", ("answer",), registry=registry)
        self._bytes = Counter("billow_download_bytes", "Bytes of documents written", registry=registry)
        self._under_way = Gauge("billow_downloads_under_way", "Downloads that read or write now", registry=registry)

    def answered(self, answer: str) -> None:
        """One request got this answer."""
        self._downloads.labels(answer).inc()

    def wrote(self, size_bytes: int) -> None:
        """So many bytes of a document went out."""
        self._bytes.inc(size_bytes)

    def under_way(self, downloads: int) -> None:
        """So many downloads read or write now."""
        self._under_way.set(downloads)
