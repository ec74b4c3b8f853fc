"""Every way to break the stack: a module a family, each with `faults()`; this list is what the schedule draws from."""

from __future__ import annotations

from tests.chaos.faults import (
    caches,
    clocks,
    databases,
    disks,
    failovers,
    network,
    points,
    processes,
    resources,
    stores,
)
from tests.chaos.faults.fault import Fault

FAMILIES = (processes, caches, databases, failovers, stores, network, points, resources, disks, clocks)


def catalogue() -> dict[str, Fault]:
    """One of each fault by name, in a fixed order: a seed draws the same ones every time."""
    found: dict[str, Fault] = {}
    for family in FAMILIES:
        for fault in family.faults():
            if fault.name in found:
                raise ValueError(f"two faults are called {fault.name}")
            found[fault.name] = fault
    return found
