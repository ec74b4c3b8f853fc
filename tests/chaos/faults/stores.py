"""The object store away (P6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from tests.chaos.faults.fault import Fault, Site


class StoreDown(Fault):
    """Stopped, and started again later: issuing goes on, the archive waits."""

    name = "object store down"
    breaks = "nothing can be archived, archived bodies cannot be read"
    heals = "it is started again; the archive catches up by itself"
    promises: ClassVar[tuple[str, ...]] = ("P6",)
    parts = frozenset({"s3"})
    hold_s = (3.0, 15.0)
    quick_hold_s = (1.0, 2.0)
    target_s = 0.0

    def begin(self, site: Site) -> None:
        site.stack.stop("s3")

    def end(self, site: Site) -> None:
        site.stack.start("s3")


def faults() -> Iterable[Fault]:
    """One of each."""
    return (StoreDown(),)
