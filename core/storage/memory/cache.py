"""The caches in memory: the twins of core/storage/redis. They share their entries as the real ones share Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.storage.ports import Issued, VerificationEntry
from core.storage.short_memory import Absences, DayCounts


@dataclass(slots=True)
class MemoryCacheState:
    """What Redis would hold."""

    answers: dict[tuple[int, str], Issued] = field(default_factory=dict)
    entries: dict[str, VerificationEntry] = field(default_factory=dict)
    wakes: int = 0
    counts: DayCounts = field(default_factory=DayCounts)


class MemoryIssueCache:
    """The IssueCache of core/storage/ports.py."""

    def __init__(self, *, state: MemoryCacheState) -> None:
        self._state = state

    async def known(self, keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], Issued]:
        """Returns remembered answers; see the port."""
        return {key: self._state.answers[key] for key in keys if key in self._state.answers}

    async def remember(
        self, issued: Sequence[Issued], seller_tax_ids: Mapping[int, str], *, answers: bool = True
    ) -> None:
        """Remembers answers and entries; see the port."""
        for item in issued:
            if answers:
                self._state.answers.setdefault((item.seller_key, item.request_id), item)
            if item.seller_key in seller_tax_ids and not item.repeated:
                entry = VerificationEntry(
                    number=item.number,
                    issued_at_us=item.issued_at_us,
                    kind=item.kind,
                    net_total_minor=item.net_total_minor,
                    gross_total_minor=item.gross_total_minor,
                    red_total_minor=0,
                    seller_tax_id=seller_tax_ids[item.seller_key],
                    buyer_tax_id=item.buyer_tax_id,
                )
                self._state.entries.setdefault(item.number, entry)
        if issued:
            self._state.wakes += 1


class MemoryVerificationCache:
    """The VerificationCache of core/storage/ports.py. `clock` counts monotonic seconds."""

    def __init__(self, *, state: MemoryCacheState, clock: Callable[[], float]) -> None:
        self._state = state
        self._absences = Absences(clock=clock)

    async def entries(self, numbers: Sequence[str]) -> dict[str, VerificationEntry | None]:
        """Returns what is remembered; see the port."""
        found: dict[str, VerificationEntry | None] = dict.fromkeys(self._absences.among(numbers))
        for number in numbers:
            if number in self._state.entries:
                found[number] = replace(self._state.entries[number])
        return found

    async def remember(self, found: Sequence[VerificationEntry], absent: Sequence[str]) -> None:
        """Remembers entries and absences; see the port."""
        self._absences.add(absent)
        for entry in found:
            self._state.entries.setdefault(entry.number, replace(entry))

    async def replace(self, entries: Sequence[VerificationEntry]) -> bool:
        """Replaces entries; see the port."""
        for entry in entries:
            known = self._state.entries.get(entry.number)
            if known is None or known.red_total_minor > entry.red_total_minor:
                self._state.entries[entry.number] = replace(entry)
        return True

    async def count_public_checks(self, numbers: Sequence[str], day: int) -> list[int]:
        """Counts checks; see the port."""
        return self._state.counts.add(numbers, day)
