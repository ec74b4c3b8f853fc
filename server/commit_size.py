"""How much is committed at once beside single calls: by time, since what an invoice costs is another on each machine.

Also another with each number of lines, of sellers, and of processes that want the cores (docs/adr/0045).
"""

from __future__ import annotations

from core import limits


class CommitSize:
    """How many invoices a commit beside single calls has: as many as take COMMIT_BESIDE_MS, learned from its last ones.

    A quarter of what each one teaches is followed, so that one which waited for a lock or a failover halves nothing.
    """

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items = float(limits.COMMIT_ITEMS_BESIDE_MIN)

    def items(self) -> int:
        """So many now, from COMMIT_ITEMS_BESIDE_MIN to COMMIT_ITEMS_MAX."""
        return int(self._items)

    def learn(self, items: int, took_s: float) -> None:
        """Notes a commit; a small one says only what a commit itself costs, and teaches nothing."""
        if items < limits.COMMIT_ITEMS_BESIDE_MIN or took_s <= 0:
            return
        fitting = items * limits.COMMIT_BESIDE_MS / 1_000 / took_s
        bounded = min(limits.COMMIT_ITEMS_MAX, max(limits.COMMIT_ITEMS_BESIDE_MIN, fitting))
        self._items += (bounded - self._items) / 4
