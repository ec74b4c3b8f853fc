"""What `python -m stack status` shows: processes, replication, and figures from the metrics of servers and workers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group, RenderableType
from rich.table import Table

from stack import loopback, platform_processes, processes
from stack.mariadb import role
from stack.options import StackError
from stack.replication import ReplicationStatus
from stack.state import NODES, State
from stack.system import Stack

WINDOW_S: Final = 1.0  # over which CPU and rates are measured
MIB: Final = 2**20

# figure, metric, how several processes are put together, whether a rate is shown too
FIGURES: Final = (
    ("invoices issued", "billow_issued_items_total", sum, True),
    ("calls", "billow_calls_total", sum, True),
    ("items waiting to be committed", "billow_queued_items", sum, False),
    ("commits", "billow_commit_items_count", sum, True),
    ("invoices archived", "billow_archived_invoices_total", sum, True),
    ("batches to archive", "billow_archive_backlog_batches", max, False),
    ("archive lag, s", "billow_archive_lag_seconds", max, False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """One process. `cpu_percent` is of one core."""

    name: str
    role: str
    state: str
    healthy: bool
    pid: int
    port: int
    uptime_s: float
    cpu_percent: float
    rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of servers or workers together. `per_s` is None for what is no count."""

    name: str
    value: float
    per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything at one moment."""

    run_dir: str
    processes: list[ProcessRow]
    replication: ReplicationStatus | None
    figures: list[Figure]

    @property
    def healthy(self) -> bool:
        """Whether every process is well and, where there is a database, replication runs as it must."""
        joined = self.replication is None or (
            self.replication.running and self.replication.semi_sync and not self.replication.stalled
        )
        has_database = any(row.name in NODES for row in self.processes)
        return (
            bool(self.processes)
            and all(row.healthy for row in self.processes)
            and joined
            and (self.replication is not None or not has_database)
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self) | {"healthy": self.healthy}


def collect(stack: Stack) -> Report:
    """Asks every process; takes WINDOW_S and a little. Empty when the stack is down."""
    known = stack.status()
    if not known:
        return Report(run_dir=str(stack.folder.root), processes=[], replication=None, figures=[])
    state = stack.state
    before = {name: processes.usage(item.pid) for name, item in known.items()}
    figures_before = _scrape(state)
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        health = dict(zip(known, pool.map(stack.healthy, known), strict=True))
    time.sleep(max(0.0, WINDOW_S - (time.monotonic() - began)))
    window_s = time.monotonic() - began
    figures_after = _scrape(state)
    rows = []
    for name, item in known.items():
        earlier, now = before[name], processes.usage(item.pid)
        cpu_s = now.cpu_s - earlier.cpu_s if now and earlier else 0.0
        rows.append(
            ProcessRow(
                name=name,
                role=_role(state, name),
                state=item.state.lower(),
                healthy=health[name],
                pid=item.pid,
                port=state.ports.get(name, state.ports.get(f"{name}-metrics", 0)),
                uptime_s=now.uptime_s if now else 0.0,
                cpu_percent=max(0.0, 100 * cpu_s / window_s),
                rss_bytes=now.rss_bytes if now else 0,
            )
        )
    return Report(
        run_dir=str(stack.folder.root),
        processes=sorted(rows, key=_order),
        replication=_replication(stack, state, known),
        figures=_figures(figures_before, figures_after, window_s),
    )


def render(report: Report) -> RenderableType:
    """Returns the report as tables for people."""
    table = Table(title=f"stack in {report.run_dir}", title_justify="left")
    for heading in ("process", "role", "health"):
        table.add_column(heading)
    for heading in ("pid", "port", "uptime", "CPU", "memory"):
        table.add_column(heading, justify="right")
    for row in report.processes:
        health = "[green]well[/]" if row.healthy else f"[red]{row.state}, no answer[/]"
        usage = (str(row.pid), str(row.port), _duration(row.uptime_s), f"{row.cpu_percent:.0f} %")
        table.add_row(row.name, row.role, health, *usage, f"{row.rss_bytes / MIB:.0f} MiB")
    parts: list[RenderableType] = [table]
    if report.replication is not None:
        parts.append(_replication_text(report.replication))
    if report.figures:
        figures = Table("figure", title="servers and workers", title_justify="left")
        figures.add_column("total", justify="right")
        figures.add_column("a second", justify="right")
        for figure in report.figures:
            per_s = "" if figure.per_s is None else f"{figure.per_s:,.0f}"
            figures.add_row(figure.name, f"{figure.value:,.1f}".removesuffix(".0"), per_s)
        parts.append(figures)
    return Group(*parts)


def _replication_text(status: ReplicationStatus) -> str:
    semi_sync = "[green]ON[/]" if status.semi_sync else "[red]OFF[/]"
    running = "[green]running[/]" if status.running else f"[red]stopped[/] {status.error}"
    lag = "unknown" if status.lag_s is None else f"{status.lag_s} s"
    stalled = f"\n[red]commits stand still for {status.waits_s:.0f} s[/], a receipt was lost: python -m stack release"
    return (
        f"replication {running}, semi-sync {semi_sync} ({status.wait_point}, replicas: {status.replicas}), lag {lag}, "
        f"GTID {status.primary_gtid or '-'} → {status.replica_gtid or '-'}{stalled if status.stalled else ''}"
    )


def _replication(stack: Stack, state: State, known: Iterable[str]) -> ReplicationStatus | None:
    if not set(state.nodes) <= set(known):
        return None
    try:
        return stack.replication()
    except StackError:
        return None


def _scrape(state: State) -> dict[str, list[float]]:
    """Returns, by metric, one value a process that has it: the sum over its labels."""
    values: dict[str, list[float]] = {}
    for name in platform_processes.names(state.options):
        text = loopback.get(state.ports[f"{name}-metrics"], "/metrics")
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text or ""):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        for metric, value in sums.items():
            values.setdefault(metric, []).append(value)
    return values


def _figures(before: Mapping[str, list[float]], after: Mapping[str, list[float]], window_s: float) -> list[Figure]:
    figures = []
    for name, metric, together, with_rate in FIGURES:
        if metric not in after:
            continue
        value = float(together(after[metric]))
        earlier = float(together(before.get(metric, [0.0])))
        # a process restarted in between counts from nothing again: no rate is better than a negative one
        rate = max(0.0, value - earlier) / window_s if with_rate else None
        figures.append(Figure(name=name, value=value, per_s=rate))
    return figures


def _role(state: State, name: str) -> str:
    if name not in NODES:
        return ""
    return role(state, name)


def _order(row: ProcessRow) -> tuple[int, str, int]:
    kind, _, number = row.name.partition("-")
    kinds = ("mysql", "redis", "s3", "server", "worker", "web", "mail", "envoy")
    return kinds.index(kind), kind, int(number or 0)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
