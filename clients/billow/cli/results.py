"""The results file of `billow issue`: one JSON line for every entry of the input, in its order.

It is a prefix of the whole answer at any moment, so that going on means: cut off a torn last line, look at the last
whole one, and continue behind it. What was sent but not written down is sent again with the same request id.
"""

import fcntl
import os
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from billow import BillowError, IssuedInvoice

from .json_messages import Fault
from .sources import UnusableFile

UNREADABLE = "UNREADABLE"
"""The reason of an entry that could not be read and was not sent."""

_SHANGHAI_S = 8 * 3_600  # no daylight saving since 1991
_DAY_S = 86_400


def issued_record(line: int, issued: IssuedInvoice) -> dict[str, Any]:
    """What is written of an invoice that was issued; enough for `billow verify`."""
    return {
        "line": line,
        "seller_id": issued.seller_id,
        "request_id": issued.request_id,
        "number": issued.number,
        "issue_date": issue_date(issued.issue_time.seconds),
        "net_total_minor": issued.net_total_minor,
        "tax_total_minor": issued.tax_total_minor,
        "gross_total_minor": issued.gross_total_minor,
    }


def refused_record(line: int, seller_id: str, request_id: str, error: BillowError) -> dict[str, Any]:
    """What is written of an invoice that was refused."""
    told: dict[str, Any] = {"reason": error.reason, "code": error.code.name, "message": error.message}
    if error.violations:
        told["violations"] = [
            {"field": fault.field, "rule": fault.rule, "description": fault.description} for fault in error.violations
        ]
    return {"line": line, "seller_id": seller_id, "request_id": request_id, "error": told}


def unreadable_record(line: int, identity: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """What is written of an entry that could not be read."""
    violations = [{"field": path, "rule": UNREADABLE, "description": text} for path, text in faults]
    told = {
        "reason": UNREADABLE,
        "code": "INVALID_ARGUMENT",
        "message": "not sent: the entry cannot be read",
        "violations": violations,
    }
    return {"line": line, **identity, "error": told}


def issue_date(seconds: int) -> int:
    """The date in Asia/Shanghai of a moment (seconds since 1970 UTC) as yyyymmdd."""
    return _date_of_day((seconds + _SHANGHAI_S) // _DAY_S)


@lru_cache(maxsize=64)
def _date_of_day(day: int) -> int:
    # civil date from days since 1970, proleptic Gregorian (Hinnant's algorithm)
    shifted = day + 719_468
    era, of_era = divmod(shifted, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * of_year + 2) // 153
    month = month_index + 3 if month_index < 10 else month_index - 9
    year = year_of_era + era * 400 + (month <= 2)
    return year * 10_000 + month * 100 + of_year - (153 * month_index + 2) // 5 + 1


@dataclass(slots=True)
class Done:
    """What a results file holds. ``last``: its last record, None when empty."""

    issued: int = 0
    refused: int = 0
    last: dict[str, Any] | None = None

    @property
    def last_line(self) -> int:
        """The input line of the last record; 0 when there is none."""
        return int(self.last["line"]) if self.last else 0


class ResultsFile:
    """The file while a run writes it; locked, so that two runs cannot."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        """Opens or creates it. Raises UnusableFile when it exists without ``resume``, is in use or is none of ours."""
        flags = os.O_RDWR | os.O_CREAT | (0 if resume else os.O_EXCL)
        try:
            self._file = FileIO(os.open(path, flags, 0o644), "r+")
        except FileExistsError:
            raise UnusableFile(f"{path} exists: go on with --resume, or choose another --results file") from None
        except OSError as error:
            raise UnusableFile(f"{path}: {error.strerror}") from error
        self.path = path
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.done, end = _read_back(path)
        except BlockingIOError:
            self._file.close()
            raise UnusableFile(f"{path} is being written by another run") from None
        except BaseException:
            self._file.close()
            raise
        self._file.truncate(end)
        self._file.seek(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def append(self, records: list[dict[str, Any]]) -> None:
        """Writes records at once, past the process's own buffers: a killed run has told all that it was told."""
        data = memoryview(b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records))
        while data:
            data = data[os.write(self._file.fileno(), data) :]


def _read_back(path: Path) -> tuple[Done, int]:
    """What is there, and where its last whole record ends: behind it may be one that was torn by a kill."""
    done = Done()
    end = 0
    with path.open("rb", buffering=1024 * 1024) as file:
        for raw in file:
            record = _record(raw)
            if record is None:
                if file.read(1):
                    raise UnusableFile(f"{path} is no results file: broken behind byte {end}")
                break
            if record["line"] <= done.last_line:
                raise UnusableFile(f"{path} is no results file: line {record['line']} behind {done.last_line}")
            done.issued += "number" in record
            done.refused += "error" in record
            done.last = record
            end += len(raw)
    return done, end


def _record(raw: bytes) -> dict[str, Any] | None:
    """One record; None when it is torn or none of ours."""
    if not raw.endswith(b"\n"):
        return None
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    whole = isinstance(record, dict) and type(record.get("line")) is int and ("number" in record) != ("error" in record)
    return record if whole else None
