"""What a run leaves behind: latest.json with everything, latest.md as tables."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.targets import reports

Result = dict[str, Any]
RESULTS = Path(__file__).parent / "results"
PROCESSES_FIRST = ("all", "generator")


def machine() -> Result:
    """What it ran on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cores": psutil.cpu_count(),
        "processor": model,
        "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
        "python": platform.python_version(),
        "load_average": [round(load, 1) for load in psutil.getloadavg()],
    }


def stamp(part: Result, *, quick: bool) -> Result:
    """Notes when, of what code and how thoroughly a part was measured."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"measured_at": at, "commit": git.stdout.strip(), "quick": quick, **part}


def write(folder: Path, parts: Mapping[str, Result], *, audits: Sequence[Result], keep: bool) -> Result:
    """Writes both files; `keep`: parts measured earlier and not now stay, with their own time and commit."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "latest.json"
    earlier: Mapping[str, Result] = {}
    if keep and path.exists():
        earlier = json.loads(path.read_text()).get("parts", {})
    together = {**earlier, **parts}
    result = {"targets": reports(together), "machine": machine(), "audits": list(audits), "parts": together}
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (folder / "latest.md").write_text("\n".join(markdown(result)) + "\n")
    return result


def number(value: object) -> str:
    """Writes a number for people."""
    if value is None:
        return "–"
    if isinstance(value, int) or (isinstance(value, float) and (abs(value) >= 100 or value.is_integer())):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def verdict(target: Result) -> str:
    """Says whether a target is met."""
    if target["figure"] is None:
        return "not measured"
    if not target["counts"]:
        return "no: not at the load asked for"
    return "yes" if target["met"] else "no"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yields a Markdown table; numbers are written for people."""
    yield "| " + " | ".join(headings) + " |"
    yield "|---" + "|---:" * (len(headings) - 1) + "|"
    for row in rows:
        yield "| " + " | ".join(str(cell) if isinstance(cell, str) else number(cell) for cell in row) + " |"
    yield ""


def markdown(result: Result) -> Iterator[str]:
    """Yields the lines of the report."""
    parts = result["parts"]
    where = result["machine"]
    yield "# Figures"
    yield ""
    yield f"{where['cores']} cores ({where['processor']}), {where['memory_gib']} GiB, Python {where['python']};"
    yield "the whole stack and the load generator on them."
    yield "How to read and repeat this: [docs/benchmarks.md](../../docs/benchmarks.md)."
    yield ""
    short = sorted(name for name, part in parts.items() if part["quick"])
    if short:
        yield f"Measured shortly, so rough: {', '.join(short)}."
        yield ""
    rows = [
        [
            item["name"],
            item["figure"],
            f"{'≤' if item['at_most'] else '≥'} {number(item['target'])}",
            item["unit"],
            verdict(item),
        ]
        for item in result["targets"]
    ]
    yield from table(("target", "figure", "wanted", "unit", "met"), rows)
    yield from _rounds(parts)
    yield from _cpu(parts)
    yield from _latencies(parts)
    yield from _matrix(parts)
    yield from _growth(parts)


def _rounds(parts: Mapping[str, Result]) -> Iterator[str]:
    """Every round of every part."""
    for name, part in parts.items():
        if not part.get("rounds"):
            continue
        yield f"## {name}: rounds"
        yield ""
        loads = list(part["rounds"][0]["figures"])
        rows = [[load, *(one["figures"].get(load) for one in part["rounds"])] for load in loads]
        yield from table(("load", *(str(place + 1) for place in range(len(part["rounds"])))), rows)


def _cpu(parts: Mapping[str, Result]) -> Iterator[str]:
    """CPU by process of the last round's loads."""
    spent: dict[str, Mapping[str, float]] = {}
    for one in parts.get("bulk", {}).get("rounds", [])[-1:]:
        spent |= {"bulk, ten sellers": one["ten_sellers"]["cpu_us"], "bulk, one seller": one["one_seller"]["cpu_us"]}
    for one in parts.get("singles", {}).get("rounds", [])[-1:]:
        spent |= one["cpu_us"]
    for name, part in parts.items():
        paced = part.get("paced", part)
        if "cpu_us" in paced:
            spent[name] = paced["cpu_us"]
    if not spent:
        return
    names = sorted({name for figures in spent.values() for name in figures} - set(PROCESSES_FIRST))
    yield "## CPU µs an invoice or call, by process, less the idle stack's (last round)"
    yield ""
    processes = (*PROCESSES_FIRST, *names)
    yield from table(
        ("process", *spent), [[name, *(found.get(name) for found in spent.values())] for name in processes]
    )


def _latencies(parts: Mapping[str, Result]) -> Iterator[str]:
    """Latencies, wherever there are any."""
    rows: list[list[object]] = []

    def add(name: str, found: Mapping[str, float]) -> None:
        rows.append([name, *(found[share] for share in ("p50", "p95", "p99", "p99.9", "max"))])

    for one in parts.get("bulk", {}).get("rounds", [])[-1:]:
        add("a bulk message of 500, closed loop", one["ten_sellers"]["message_ms"])
    for part in ("singles", "verifying"):
        for one in parts.get(part, {}).get("rounds", [])[-1:]:
            for name, found in one["call_ms"].items():
                add(f"{name}, closed loop", found)
    for step in parts.get("singles", {}).get("open_loop", []):
        add(f"single_issue at {step['share']:.0%}: {step['offered']:,.0f}/s", step["call_ms"])
    for step in parts.get("mixed", {}).get("open_loop", []):
        add(f"mixed at {step['share']:.0%}, {step['offered']:,.0f}/s: issuing", step["issue_ms"])
        add(f"mixed at {step['share']:.0%}, {step['offered']:,.0f}/s: verification", step["verify_ms"])
    for part in ("surge", "soak"):
        if part in parts:
            add(f"{part}: issuing", parts[part]["issue_ms"])
            add(f"{part}: verification", parts[part]["verify_ms"])
    if rows:
        yield "## Latencies, ms"
        yield ""
        yield from table(("load", "p50", "p95", "p99", "p99.9", "max"), rows)


def _matrix(parts: Mapping[str, Result]) -> Iterator[str]:
    """The cells of the matrix."""
    cells = parts.get("matrix", {}).get("cells", [])
    if not cells:
        return
    yield "## Bulk by shape"
    yield ""
    names = ("batch_items", "streams", "lines", "sellers")
    rows = [
        [*(str(cell[name]) for name in names), cell["rate"], cell["message_ms"]["p50"], cell["cpu_us"].get("all")]
        for cell in cells
    ]
    yield from table(("batch", "streams", "lines", "sellers", "a second", "message p50, ms", "CPU µs"), rows)


def _growth(parts: Mapping[str, Result]) -> Iterator[str]:
    """The points of growth."""
    points = parts.get("growth", {}).get("points", [])
    if not points:
        return
    yield "## Growth"
    yield ""
    rows = [
        [
            number(point["rows"]),
            point["rate"],
            point["load_data"],
            point["message_ms"]["p50"],
            point["message_ms"]["p99"],
            point["cpu_us"].get("all"),
        ]
        for point in points
    ]
    names = ("rows", "issued a second", "LOAD DATA a second", "message p50, ms", "message p99, ms", "CPU µs an invoice")
    yield from table(names, rows)
