"""The results file: whole after a kill, locked, honest about what it is."""

import datetime as dt
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import billow
from billow.cli.exits import Exit, exit_of
from billow.cli.results import ResultsFile, issue_date
from billow.cli.show import amount
from billow.cli.sources import UnusableFile
from billow.cli.verify import parse_amount, parse_date
from billow.reasons import REASONS

SHANGHAI = dt.timezone(dt.timedelta(hours=8))


def record(line: int, *, error: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = {"error": {"reason": "X"}} if error else {"number": f"{line:020}"}
    return {"line": line, "seller_id": "s", "request_id": f"r-{line}", **told}


def write(path: Path, lines: range) -> None:
    with ResultsFile(path, resume=False) as out:
        out.append([record(n, error=n % 10 == 0) for n in lines])


def test_what_was_written_is_counted_and_gone_on_behind(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write(path, range(1, 26))
    with ResultsFile(path, resume=True) as out:
        assert (out.done.issued, out.done.refused, out.done.last_line) == (23, 2, 25)
        out.append([record(26)])
    assert [orjson.loads(line)["line"] for line in path.read_bytes().splitlines()] == list(range(1, 27))


def test_every_possible_tear_of_the_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write(path, range(1, 4))
    whole = path.read_bytes()
    last_start = whole[:-1].rindex(b"\n") + 1
    for cut in range(last_start, len(whole)):
        path.write_bytes(whole[:cut])
        with ResultsFile(path, resume=True) as out:
            assert out.done.last_line == 2, cut
            out.append([record(3)])
        assert path.read_bytes() == whole


def test_blocks_of_zeros_after_a_power_cut_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write(path, range(1, 4))
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 4096)
    with ResultsFile(path, resume=True) as out:
        assert out.done.last_line == 3
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [b"hello\nworld\n", b'{"line":2,"number":"1"}\n{"line":1,"number":"1"}\n', b'{"a":1}\n{"line":1,"number":"1"}\n'],
)
def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(UnusableFile, match="no results file"):
        ResultsFile(path, resume=True)
    assert path.read_bytes() == content


def test_without_resume_an_existing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    write(path, range(1, 3))
    with pytest.raises(UnusableFile, match="--resume"):
        ResultsFile(path, resume=False)


def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with ResultsFile(path, resume=False), pytest.raises(UnusableFile, match="another run"):
        ResultsFile(path, resume=True)


@given(st.integers(-(10**9), 2**34))
def test_issue_dates_are_those_of_shanghai(seconds: int) -> None:
    expected = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    assert issue_date(seconds) == int(expected.astimezone(SHANGHAI).strftime("%Y%m%d"))


@pytest.mark.parametrize(
    ("text", "minor"),
    [("1130.00", 113_000), ("1,130", 113_000), ("-0.5", -50), ("0", 0), ("92233720368547758.07", 2**63 - 1)],
)
def test_amounts_are_read(text: str, minor: int) -> None:
    assert parse_amount(text) == minor
    assert parse_amount(amount(minor)) == minor


@pytest.mark.parametrize("text", ["1.005", "x", "", "NaN", "Infinity", "1e30", "92233720368547758.08"])
def test_amounts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_amount(text)


def test_dates_are_read_and_those_that_are_none_refused() -> None:
    assert parse_date("2026-01-31") == parse_date("20260131") == 20260131
    for text in ("2026-02-30", "31.01.2026", ""):
        with pytest.raises(click.BadParameter):
            parse_date(text)


def test_every_reason_ends_in_an_exit_code_that_says_whether_to_try_again() -> None:
    for reason, spec in REASONS.items():
        kind = billow._errors.BY_REASON[reason]
        ended = exit_of(kind("no", code=spec.code, reason=reason))
        assert (ended is Exit.UNAVAILABLE) == (spec.retryable or reason == "DEADLINE_EXCEEDED"), reason
        assert ended not in (Exit.OK, Exit.USAGE, Exit.INTERRUPTED)
