"""What callers saw of each fault: the calls between its beginning and the next one's."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from tests.chaos.compare import KINDS, LAWFUL, Breach
from tests.chaos.ledger import CANCELLED, REPLAY, Item

REFUSED: Final = LAWFUL | {"OVERLOADED", "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"}
GIVEN_UP: Final = frozenset({"hurried", "cancel"})  # modes whose callers end the call themselves
AFFECTED: Final = {  # the calls whose recovery is measured
    "issue": frozenset({"issue"}),
    "verify": frozenset({"verify"}),
    "archive": frozenset({"issue"}),  # issuing has to go on while the archive waits
}
LONGEST_S: Final = 120.0  # no call lasts longer
ZERO_S: Final = 1.0  # what "at once" is measured as: some calls' waits on a machine with two busy cores


@dataclass(slots=True)
class Window:
    """One fault, or two at once, and its time. All times are monotonic seconds."""

    names: tuple[str, ...]
    affects: str
    target_s: float | None
    began: float = 0.0
    ended: float = 0.0  # it was mended
    healed: float = 0.0  # every process answers, every replica follows
    until: float = 0.0  # the next one's beginning
    stalls: bool = False  # calls could not go on before `ended`
    at_edge: bool = False  # callers lose Envoy itself: those who repeat nothing notice

    @property
    def name(self) -> str:
        """The faults' names."""
        return " + ".join(self.names)


@dataclass(slots=True)
class Row:
    """A line of the table: all windows of one fault, or of one pair."""

    name: str
    times: int = 0
    offered: int = 0
    acknowledged: int = 0
    refused: int = 0
    failed: int = 0
    once: int = 0  # calls offered by clients that repeat nothing
    once_failed: int = 0  # and what failed of them; not in `failed`
    given_up: int = 0
    longest_s: float = 0.0  # the longest wait of an acknowledged call
    silence_s: float = 0.0  # the longest time without an acknowledgement of the affected kind
    recover_s: float = 0.0  # see recovery(); the worst of all times
    healthy_s: float = 0.0  # from the end of the fault until every process is well
    target_s: float | None = None
    broken: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # of failed calls
    once_reasons: Counter[str] = field(default_factory=Counter)
    at_edge: bool = False

    @property
    def met(self) -> bool:
        """Whether recovery stayed within its target, and no call that had 30 s failed; True without a target.

        Also no call that its client did not repeat, unless Envoy itself was lost.
        """
        failed = self.failed or (self.once_failed and not self.at_edge)
        return self.target_s is None or (self.recover_s <= max(self.target_s, ZERO_S) and not failed)

    def as_json(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {
            "fault": self.name,
            "times": self.times,
            "calls": {
                "offered": self.offered,
                "acknowledged": self.acknowledged,
                "refused": self.refused,
                "failed": self.failed,
                "given_up": self.given_up,
                "once": self.once,
                "once_failed": self.once_failed,
            },
            "failed_because": dict(self.reasons),
            "once_failed_because": dict(self.once_reasons),
            "longest_wait_s": round(self.longest_s, 3),
            "longest_silence_s": round(self.silence_s, 3),
            "recover_s": round(self.recover_s, 3),
            "healthy_s": round(self.healthy_s, 3),
            "target_s": self.target_s,
            "target_met": self.met,
            **{kind: self.broken[kind] for kind in KINDS},
        }


@dataclass(slots=True)
class Call:
    """The items of one call together."""

    at: float
    ended: float
    op: str
    mode: str
    ending: str  # acknowledged, refused, failed, given_up
    reason: str = ""
    once: bool = False

    @property
    def counted_at(self) -> float:
        """The moment whose fault it belongs to: its beginning, or, when it was broken off and not repeated, its end."""
        return self.ended if self.once and self.reason == "UNAVAILABLE" else self.at


def calls(items: Iterable[Item]) -> list[Call]:
    """Joins the items of each call; the worst of them is the call's. Replays after all was mended do not count."""
    groups: dict[tuple[str, int], list[Item]] = defaultdict(list)
    for item in items:
        if item.intent.mode != REPLAY:
            groups[item.ledger, item.intent.call].append(item)
    found = []
    for group in groups.values():
        first = group[0].intent
        ending, reason = "acknowledged", ""
        for item in group:
            what = "" if item.answer is None else item.answer.what
            if item.acknowledged or ending in {"failed", "given_up"}:
                continue
            if what == CANCELLED or first.mode in GIVEN_UP:
                ending = "given_up"
            elif what in REFUSED:
                ending = "refused"
            else:
                ending, reason = "failed", what or "no answer"
        ended = max(item.ended for item in group)
        found.append(Call(first.at, ended, first.op, first.mode, ending, reason, first.once))
    return sorted(found, key=lambda call: call.at)


def recovery(window: Window, made: Sequence[Call]) -> tuple[float, float]:
    """Returns the time to recover and the longest silence, both in seconds.

    The silence is the longest time between two acknowledgements of calls of the affected kind, from the beginning of
    the fault to the end of its window, and that is the time to recover as well. Where nothing could be acknowledged
    before the fault was ended (a frozen primary, no replica left), the time to recover counts from there, to the
    first acknowledgement. A window in which nothing was acknowledged any more counts as a whole.
    """
    kinds = AFFECTED[window.affects]
    good = [call for call in made if call.op in kinds and call.ending == "acknowledged"]
    ends = sorted(call.ended for call in good if window.began <= call.ended <= window.until)
    if not ends:
        return window.until - window.began, window.until - window.began
    silence = max(after - before for before, after in pairwise([window.began, *ends]))
    if not window.stalls:
        return silence, silence
    return min((ended for ended in ends if ended >= window.ended), default=window.until) - window.ended, silence


def table(windows: Sequence[Window], made: Sequence[Call], breaches: Sequence[Breach]) -> list[Row]:
    """Adds windows of the same name up, in the order of their first one. `made` is in the order of its beginnings."""
    rows: dict[str, Row] = {}
    starts = [call.at for call in made]
    for window in windows:
        row = rows.setdefault(window.name, Row(window.name, target_s=window.target_s, at_edge=window.at_edge))
        row.times += 1
        since, until = (bisect_left(starts, at) for at in (window.began - LONGEST_S, window.until))
        first, silence = recovery(window, made[since:until])
        row.recover_s = max(row.recover_s, first)
        row.silence_s = max(row.silence_s, silence)
        row.healthy_s = max(row.healthy_s, window.healed - window.ended)
        for call in made[since:until]:
            if window.began <= call.counted_at < window.until:
                _count(row, call)
        row.broken.update(breach.kind for breach in breaches if window.began <= breach.at < window.until)
    return list(rows.values())


def quiet(windows: Sequence[Window], made: Sequence[Call], breaches: Sequence[Breach]) -> Row:
    """The line for what is in no window: calls before the first fault, breaches found in the end."""
    row = Row("(no fault)", times=1)
    spans = [(window.began, window.until) for window in windows]
    for call in made:
        if not any(began <= call.counted_at < until for began, until in spans):
            _count(row, call)
    row.broken.update(
        breach.kind for breach in breaches if not any(began <= breach.at < until for began, until in spans)
    )
    return row


def total(rows: Sequence[Row]) -> Row:
    """All lines together."""
    whole = Row("all")
    for row in rows:
        for name in ("times", "offered", "acknowledged", "refused", "failed", "once", "once_failed", "given_up"):
            setattr(whole, name, getattr(whole, name) + getattr(row, name))
        for name in ("longest_s", "silence_s", "recover_s", "healthy_s"):
            setattr(whole, name, max(getattr(whole, name), getattr(row, name)))
        whole.broken.update(row.broken)
        whole.reasons.update(row.reasons)
        whole.once_reasons.update(row.once_reasons)
    return whole


def _count(row: Row, call: Call) -> None:
    row.offered += 1
    row.once += call.once
    if call.once and call.ending == "failed":
        row.once_failed += 1
        row.once_reasons[call.reason] += 1
        return
    setattr(row, call.ending, getattr(row, call.ending) + 1)
    if call.ending == "acknowledged":
        row.longest_s = max(row.longest_s, call.ended - call.at)
    elif call.ending == "failed":
        row.reasons[call.reason] += 1
