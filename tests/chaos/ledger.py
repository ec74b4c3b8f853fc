"""What a client notes: a line before a call leaves it, a line when it has an answer. Lines are only ever added.

The file is what the comparison reads: it knows nothing but what stands there. A line is a JSON object; an intent
carries `call`, an answer `of`. Times are seconds of the monotonic clock, the same in all ledgers of a run. Every line
is written to the operating system before the call is sent, so that a killed client forgets nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ACKNOWLEDGED: Final = "ok"
CANCELLED: Final = "cancelled"  # by this client: what became of it is not known
REPLAY: Final = "replay"  # the mode of what is asked again after all was mended
UNKNOWN: Final = frozenset({"", CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One thing asked for. A batch is several of them with the same `call`."""

    item: int  # of this ledger, from 1
    call: int  # the item that its call began with
    at: float
    op: str  # issue, red, enter, verify, get
    mode: str = "first"  # first, bulk, repeat, duplicate, other body, cancel, hurried, unknown, wrong total, replay
    seller: str = ""
    request: str = ""
    body: str = ""  # SHA-256 of what was asked for, hex
    gross: int = 0  # the total with tax that the invoice must have; of a check: the total checked
    number: str = ""  # of the invoice asked about, red-lettered or entered
    buyer: str = ""  # what the order was made with, so that it can be made again
    variant: int = 0
    once: bool = False  # the client repeats nothing by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for an item."""

    of: int
    at: float
    what: str  # ok, cancelled, or a reason or gRPC code
    number: str = ""
    gross: int = 0
    digest: str = ""  # SHA-256 of the canonical body, hex
    answer: str = ""  # SHA-256 of the whole answer's bytes, hex
    outcome: int = 0  # of a check
    state: int = 0
    red: int = 0  # red total


_SHORT: Final = {kind: {field.name: field.default for field in fields(kind)} for kind in (Intent, Answer)}


class Ledger:
    """The ledger of one client. Items are numbered from 1."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._file = path.open("ab", buffering=0)
        self._items = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def intend(self, wishes: Sequence[dict[str, Any]]) -> list[int]:
        """Notes the items of one call; returns their numbers."""
        call, now = self._items + 1, self._clock()
        intents = [Intent(item=call + place, call=call, at=now, **wish) for place, wish in enumerate(wishes)]
        self._items += len(intents)
        self._write(intents)
        return [intent.item for intent in intents]

    def note(self, items: Sequence[int], answers: Sequence[dict[str, Any]]) -> None:
        """Notes the answers of items."""
        now = self._clock()
        self._write([Answer(of=item, at=now, **answer) for item, answer in zip(items, answers, strict=True)])

    def _write(self, lines: Iterable[Intent | Answer]) -> None:
        """Writes lines in one go, without what is as usual."""
        text = []
        for line in lines:
            usual = _SHORT[type(line)]
            kept = {name: value for name, value in asdict(line).items() if value != usual[name]}
            text.append(json.dumps(kept, separators=(",", ":"), ensure_ascii=False))
        self._file.write(("\n".join(text) + "\n").encode())


@dataclass(frozen=True, slots=True)
class Item:
    """One thing asked for, with its answer, if there was one."""

    ledger: str
    intent: Intent
    answer: Answer | None

    @property
    def acknowledged(self) -> bool:
        """Whether the client was told that it is done."""
        return self.answer is not None and self.answer.what == ACKNOWLEDGED

    @property
    def ended(self) -> float:
        """When the answer came; infinity without one."""
        return float("inf") if self.answer is None else self.answer.at


def read(path: Path) -> list[Item]:
    """Reads a ledger in the order of its intents. A last line cut off by a kill is left out."""
    intents: list[Intent] = []
    answers: dict[int, Answer] = {}
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            table = json.loads(line)
            if "of" in table:
                answers[table["of"]] = Answer(**table)
            else:
                intents.append(Intent(**table))
    return [Item(path.stem, intent, answers.get(intent.item)) for intent in intents]
