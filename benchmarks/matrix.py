"""Streamed issuing over its shapes: batches, streams, lines, sellers. One figure each, medians over repeats."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import bulk
from benchmarks.bench import Bench


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One shape."""

    batch_items: int = 500
    streams: int = 2
    lines: int = 3
    sellers: int = 10


QUICK = (
    Cell(batch_items=100),
    Cell(),
    Cell(batch_items=1_000),
    Cell(streams=8),
    Cell(lines=200, batch_items=20),
    Cell(sellers=1),
)


def full(many_sellers: int) -> list[Cell]:
    """Every batch size with every number of streams; lines and sellers one at a time.

    Eight streams of 1,000 bring 64,000 invoices at once, more than a tenant's share of the lanes: some are refused.
    Messages of long invoices hold fewer of them, as a caller's would: 500 of 200 lines are 10 MB.
    """
    grid = [Cell(batch_items=items, streams=count) for items in (100, 500, 1_000) for count in (1, 2, 8)]
    grid += [Cell(lines=1), Cell(lines=20), Cell(lines=200, batch_items=20)]
    return grid + [Cell(sellers=sellers) for sellers in (1, many_sellers)]


async def measure(bench: Bench) -> dict[str, Any]:
    """Runs every cell, all of them once before any again."""
    plan = bench.plan
    grid = list(QUICK) if plan.quick else full(plan.matrix_sellers)
    bench.progress.tell("sellers are registered")
    await bench.sellers(max(cell.sellers for cell in grid))
    found: dict[Cell, list[dict[str, Any]]] = {cell: [] for cell in grid}
    for repeat in range(plan.matrix_repeats):
        async with bench.checked(audit=plan.audit_rounds):
            for cell in grid:
                bench.progress.tell(f"{repeat + 1} of {plan.matrix_repeats}: {cell}")
                shape = await bench.shape(sellers=cell.sellers, lines=cell.lines, batch_items=cell.batch_items)
                load = bulk.load(bench, shape, duration_s=plan.matrix_s, streams=cell.streams, beyond=True)
                found[cell].append(await load)
            await bench.settle()
    rows = [_row(cell, runs) for cell, runs in found.items()]
    return {"rounds": [], "cells": rows}


def _row(cell: Cell, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of one cell beside its runs."""
    middle = sorted(runs, key=lambda run: float(run["rate"]))[len(runs) // 2]
    return {
        **asdict(cell),
        "rate": round(statistics.median(run["rate"] for run in runs), 1),
        "refused_messages": sum(run["refused"] for run in runs),
        "message_ms": middle["message_ms"],
        "cpu_us": middle["cpu_us"],
        "rates": [run["rate"] for run in runs],
    }
