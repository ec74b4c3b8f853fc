"""How much is measured: all of it, or a short round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Lengths of the loads.

    A short run keeps every load, though not every shape, and shows that it works; its figures are rough.
    """

    quick: bool
    idle_s: float  # over which the idle stack's CPU is measured
    rounds: int
    bulk_s: float  # of the headline load
    one_seller_s: float
    naive_batches: int  # messages of 500 to the naive service, a round; none when quick: it takes seconds for one
    verified: int  # invoices issued to be verified by stream, a round
    single_rounds: int  # short and many: the machine's speed changes within seconds
    singles: int  # calls of each kind, a round
    open_s: float  # of each step of an open loop
    matrix_s: float  # of each cell
    matrix_repeats: int
    matrix_sellers: int  # of the cell with many sellers; a short run has none
    verifying_rounds: int
    checks: int  # of each kind of single verification
    mixed_s: float
    paced_s: float  # of issuing at a pace, its archive lag watched
    drained: int  # invoices that the archive has to catch up with
    base_s: float  # before and after the surge
    surge_s: float
    audit_rounds: bool
    audit_sample: int  # bodies recomputed by the audit of a round; when quick, by the one at the end
    rows: tuple[int, ...] = ()  # of the table, at which growth is measured
    growth_s: float = 30.0
    soak_s: float = 0.0
    overload_s: float = 0.0
    best_s: float = 30.0  # of the closed loops around an overload


FULL: Final = Plan(
    quick=False,
    idle_s=10.0,
    rounds=5,
    bulk_s=60.0,
    one_seller_s=20.0,
    naive_batches=20,
    verified=120_000,
    single_rounds=11,
    singles=20_000,
    open_s=15.0,
    matrix_s=5.0,
    matrix_repeats=3,
    matrix_sellers=1_000,
    verifying_rounds=5,
    checks=10_000,
    mixed_s=30.0,
    paced_s=60.0,
    drained=300_000,
    base_s=15.0,
    surge_s=60.0,
    audit_rounds=True,
    audit_sample=50_000,
)
QUICK: Final = Plan(
    quick=True,
    idle_s=0.5,
    rounds=3,
    bulk_s=1.0,
    one_seller_s=0.7,
    naive_batches=0,
    verified=4_000,
    single_rounds=3,
    singles=800,
    open_s=0.7,
    matrix_s=0.3,
    matrix_repeats=1,
    matrix_sellers=1,
    verifying_rounds=1,
    checks=500,
    mixed_s=1.0,
    paced_s=2.0,
    drained=6_000,
    base_s=1.0,
    surge_s=10.0,
    audit_rounds=False,
    audit_sample=10_000,
)
