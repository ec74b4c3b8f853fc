"""The plots of a run, as PNG. Needs matplotlib (the extra `bench`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

Parts = Mapping[str, Mapping[str, Any]]
INCHES: Final = (8.0, 4.5)
DOTS: Final = 100  # an inch: 800 pixels wide
SHARES: Final = ("p50", "p95", "p99", "p99.9")
COLOURS: Final = ("#0b6e99", "#4daf7c", "#e08e0b", "#c0392b", "#7f5aa2", "#555555", "#8c564b", "#17a2b8")
STYLE: Final = {
    "font.size": 10,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
}
LIMIT: Final = {"color": "#999999", "linestyle": "--", "linewidth": 1}


def draw(parts: Parts, folder: Path) -> list[str]:
    """Writes every plot there is data for, and returns their names."""
    mpl.use("agg")
    made = []
    with mpl.rc_context(STYLE):
        for name, (part, plot) in PLOTS.items():
            if not parts.get(part):
                continue
            figure = plot(parts[part])
            if figure is None:
                continue
            figure.savefig(folder / f"{name}.png", dpi=DOTS)
            plt.close(figure)
            made.append(f"{name}.png")
    return made


def _milliseconds(axes: Any) -> None:
    """A logarithmic axis of latencies with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _thousands(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def offered_load(part: Mapping[str, Any]) -> Any:
    """Single issuing: throughput and latency percentiles over offered load."""
    steps = part.get("open_loop")
    if not steps:
        return None
    figure, (rate, latency) = plt.subplots(1, 2, figsize=INCHES, layout="constrained")
    offered = [step["offered"] for step in steps]
    rate.plot(offered, offered, label="offered", **LIMIT)
    rate.plot(offered, [step["rate"] for step in steps], marker="o", label="answered")
    rate.set(title="Single issuing, open loop", xlabel="offered, calls a second", ylabel="answered, calls a second")
    rate.set_ylim(bottom=0)
    rate.legend()
    for share in SHARES:
        latency.plot(offered, [step["call_ms"][share] for step in steps], marker="o", label=share)
    _milliseconds(latency)
    latency.set(title="Latency from when a call was due", xlabel="offered, calls a second", ylabel="ms")
    latency.legend()
    for axes in (rate, latency):
        axes.set_xlim(left=0)
        _thousands(axes.xaxis)
    _thousands(rate.yaxis)
    return figure


def surge(part: Mapping[str, Any]) -> Any:
    """The surge over time: bulk, and p99 of the single calls beside it."""
    seconds = part["seconds"]
    places = [one["second"] for one in seconds]
    figure, (bulk, latency) = plt.subplots(2, 1, figsize=(INCHES[0], 5.5), sharex=True, layout="constrained")
    bulk.fill_between(places, [one["bulk"] for one in seconds], step="mid", alpha=0.7)
    bulk.set(title="A surge of 50 times the base load", ylabel="bulk invoices a second")
    bulk.set_ylim(bottom=0)
    _thousands(bulk.yaxis)
    for name in ("issue", "verify"):
        latency.plot(places, [one[f"{name}_p99_ms"] or None for one in seconds], label=f"{name}, p99 of the second")
    latency.axhline(250, label="target: 250 ms", **LIMIT)
    failed = [one["second"] for one in seconds if one["failed"] or one["refused"]]
    if failed:
        latency.scatter(failed, [250] * len(failed), marker="x", color=COLOURS[3], label="failed or refused")
    _milliseconds(latency)
    latency.set(xlabel="seconds", ylabel="single calls, ms")
    latency.legend(ncols=2, fontsize=9)
    for axes in (bulk, latency):
        axes.axvspan(part["surge"][0], part["surge"][1], color="#f3e9d2", zorder=0)
    return figure


def batch_size(part: Mapping[str, Any]) -> Any:
    """Bulk issuing: rate and latency of a message over the size of its batch, by streams."""
    figure, (rate, latency) = plt.subplots(1, 2, figsize=INCHES, layout="constrained")
    cells = [cell for cell in part["cells"] if cell["lines"] == 3 and cell["sellers"] == 10]
    for streams in sorted({cell["streams"] for cell in cells}):
        line = sorted((cell["batch_items"], cell) for cell in cells if cell["streams"] == streams)
        sizes = [size for size, _ in line]
        label = f"{streams} stream{'s' if streams > 1 else ''}"
        rate.plot(sizes, [cell["rate"] for _, cell in line], marker="o", label=label)
        latency.plot(sizes, [cell["message_ms"]["p50"] for _, cell in line], marker="o", label=f"{label}, p50")
    rate.set(title="Bulk issuing by batch size", xlabel="invoices of a message", ylabel="invoices a second")
    rate.set_ylim(bottom=0)
    _thousands(rate.yaxis)
    latency.set(title="Latency of a message, 4 in flight a stream", xlabel="invoices of a message", ylabel="ms")
    latency.set_ylim(bottom=0)
    for axes in (rate, latency):
        axes.set_xlim(left=0)
        axes.legend(fontsize=9)
    return figure


def soak(part: Mapping[str, Any]) -> Any:
    """The soak over time: memory, descriptors and the archive's lag."""
    figure, every = plt.subplots(3, 1, figsize=(INCHES[0], 7), sharex=True, layout="constrained")
    minutes = [second / 60 for second in part["seconds"]]
    lines = [("rss_mib", "memory, MiB"), ("descriptors", "open descriptors")]
    for axes, (name, label) in zip(every, lines, strict=False):
        for place, (process, seen) in enumerate(sorted(part[name].items())):
            more, colour = divmod(place, len(COLOURS))
            axes.plot(minutes[-len(seen) :], seen, "--" if more else "-", label=process, color=COLOURS[colour])
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    every[0].set_title("Soak: every process, looked at every 5 s")
    every[0].legend(fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.12))
    every[2].plot(minutes, part["lag_s"])
    every[2].set(ylabel="archive lag, s", xlabel="minutes")
    every[2].set_ylim(bottom=0)
    return figure


def archive(part: Mapping[str, Any]) -> Any:
    """The archive: its lag at the pace, and how one worker catches up."""
    figure, (lag, drain) = plt.subplots(1, 2, figsize=INCHES, layout="constrained")
    lag.plot([second for second, _ in part["paced"]["lags_s"]], [seen for _, seen in part["paced"]["lags_s"]])
    lag.axhline(5, label="target: 5 s", **LIMIT)
    lag.set(title=f"Lag while {part['paced']['rate']:,.0f}/s are issued", xlabel="seconds", ylabel="archive lag, s")
    lag.set_ylim(bottom=0)
    lag.legend()
    points = [(0.0, 0), *part["drained"]["archived"]]
    drain.step([second for second, _ in points], [count for _, count in points], where="post")
    title = f"One worker catching up: {part['drained']['rate']:,.0f}/s"
    drain.set(title=title, xlabel="seconds", ylabel="invoices archived")
    _thousands(drain.yaxis)
    return figure


PLOTS: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any]]]] = {
    "offered-load": ("singles", offered_load),
    "surge": ("surge", surge),
    "batch-size": ("matrix", batch_size),
    "archive": ("archive", archive),
    "soak": ("soak", soak),
}
