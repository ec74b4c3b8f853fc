"""Reading binary logs: where a restore begins and ends, what came after, and logs that do not fit (P1, P3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stack import binlog
from stack.binlog import Issued, Transaction, begins, following, parse
from stack.history import read
from stack.lost import FILE, Lost
from stack.options import RunFolder, StackError
from stack.restore import join_logs, require_whole

ONE, TWO = Path("binlog.000001"), Path("binlog.000002")
# what mariadb-binlog 10.11 prints, shortened; the request id of the second invoice imitates a row
PRINTED = rb"""
# at 4
#261129 10:55:35 server id 1  end_log_pos 256 CRC32 0x00000000 	Start: binlog v 4, server v 10.11.18-MariaDB-log
# at 400
#261129 10:55:35 server id 1  end_log_pos 442 CRC32 0x00000000 	GTID 0-1-7 trans
/*M!100001 SET @@session.gtid_seq_no=7*//*!*/;
# at 442
#261129 10:55:35 server id 1  end_log_pos 500 CRC32 0x00000000 	Table_map: `billow`.`number_ranges` mapped to number 35
### UPDATE `billow`.`number_ranges`
### WHERE
###   @1=1
### SET
###   @7=2
# at 500
### INSERT INTO `billow`.`invoices`
### SET
###   @1='26110000000000000001'
###   @2=3
###   @3='r-1'
###   @4='\x01'
### INSERT INTO `billow`.`invoices`
### SET
###   @1='26110000000000000002'
###   @2=3
###   @3='### INSERT INTO `billow`.`invoices`'
# at 700
#261129 10:55:35 server id 1  end_log_pos 731 CRC32 0x00000000 	Xid = 33
COMMIT/*!*/;
# at 731
#261129 10:55:36 server id 2  end_log_pos 773 CRC32 0x00000000 	GTID 0-2-8 cid=99 trans
# at 773
### UPDATE `billow`.`fencing`
### WHERE
###   @1=1
### SET
###   @2=5
### INSERT INTO `another`.`invoices`
### SET
###   @1='26110000000000000009'
# at 800
#261129 10:55:36 server id 2  end_log_pos 831 CRC32 0x00000000 	Xid = 34
COMMIT/*!*/;
# at 831
#261129 10:55:37 server id 2  end_log_pos 873 CRC32 0x00000000 	GTID 0-2-9 ddl
# at 873
#261129 10:55:37 server id 2  end_log_pos 900 CRC32 0x00000000 	Query	thread_id=1
ALTER TABLE x
"""


def commit(sequence: int, file: Path, at: int, *serials: int, epoch: int = 0) -> Transaction:
    """A transaction that issues invoices."""
    issued = [Issued(f"{serial:020d}", 1, f"r-{serial}") for serial in serials]
    return Transaction(f"0-1-{sequence}", file, at, issued, epoch)


LOGS = [
    commit(5, ONE, 100, 1),
    commit(6, ONE, 200, 2, 3),
    commit(7, ONE, 300, 4),
    commit(8, TWO, 100, 5, epoch=4),
    commit(9, TWO, 200, 6),
]


def test_a_printed_log() -> None:
    first, second, third = parse(ONE, PRINTED.splitlines())
    assert (first.gtid, first.at, first.epoch) == ("0-1-7", 400, 0)
    assert first.issued == [
        Issued("26110000000000000001", 3, "r-1"),
        Issued("26110000000000000002", 3, "### INSERT INTO `billow`.`invoices`"),
    ]
    assert (second.gtid, second.at, second.issued, second.epoch) == ("0-2-8", 731, [], 5)
    assert (third.gtid, third.at, third.sequence) == ("0-2-9", 831, 9)


@pytest.mark.parametrize(
    ("told", "place"),
    [
        (b"[0-1-5330]", 5330),
        (b"[0-1-17,\n# 0-3-41,\n# 0-2-29]", 41),  # as after failovers
        (b"[]", 0),
        (b"[0-1-17,", None),  # cut off
    ],
)
def test_a_log_tells_where_it_begins(told: bytes, place: int | None) -> None:
    line = b"#261129 10:55:35 server id 1  end_log_pos 299 CRC32 0x00000000 \tGtid list " + told
    head, rest = PRINTED.split(b"# at 400")
    assert begins((head + line + b"\n# at 400" + rest).splitlines()) == place
    assert begins(PRINTED.splitlines()) is None


@pytest.mark.parametrize(
    ("serial", "gtid", "files", "stop", "after"),
    [
        (2, "0-1-6", [ONE], 300, [4, 5, 6]),  # the whole commit, its third invoice too
        (4, "0-1-7", [ONE], 0, [5, 6]),  # the last of its file
        (5, "0-1-8", [ONE, TWO], 200, [6]),
        (6, "0-1-9", [ONE, TWO], 0, []),
    ],
)
def test_the_part_up_to_an_invoice(serial: int, gtid: str, files: list[Path], stop: int, after: list[int]) -> None:
    lost: list[Issued] = []
    number = f"{serial:020d}"
    found = read(LOGS, backup_sequence=5, backup_gtid="0-1-5", number=number, lose=lost.extend)
    assert found.found
    replay = found.replay
    assert (replay.gtid, replay.files, replay.start, replay.stop) == (gtid, files, 200, stop)
    assert [int(item.number) for item in lost] == after
    assert (found.last_sequence, found.epoch) == (9, 4)


def test_everything_and_nothing() -> None:
    lost: list[Issued] = []
    found = read(LOGS, backup_sequence=5, backup_gtid="0-1-5", number=None, lose=lost.extend)
    assert (found.found, found.replay.gtid, found.replay.stop, lost) == (True, "0-1-9", 0, [])
    found = read(LOGS, backup_sequence=9, backup_gtid="0-1-9", number=None, lose=lost.extend)
    assert (found.found, found.replay.gtid, found.replay.files) == (True, "0-1-9", [])


def test_an_invoice_of_the_backup_itself_is_not_found() -> None:
    found = read(LOGS, backup_sequence=5, backup_gtid="0-1-5", number=f"{1:020d}", lose=list[Issued]().extend)
    assert not found.found


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_logs_with_a_gap_are_refused(missing: int) -> None:
    logs = LOGS[:missing] + LOGS[missing + 1 :]
    with pytest.raises(StackError, match="a log is missing"):
        read(logs, backup_sequence=5, backup_gtid="0-1-5", number=None, lose=list[Issued]().extend)


@pytest.mark.parametrize(
    ("place", "left"),
    [(0, [1, 2, 3, 4]), (9, [1, 2, 3, 4]), (10, [2, 3, 4]), (15, [2, 3, 4]), (20, [4]), (99, [4])],
)
def test_logs_that_end_before_the_backup_are_not_read(
    monkeypatch: pytest.MonkeyPatch, place: int, left: list[int]
) -> None:
    """The third tells nothing: whatever it holds, it is read with those around it."""
    heads = {1: b"[]", 2: b"[0-1-10]", 3: b"", 4: b"[0-2-20]"}
    files = [Path(f"binlog.{number:06d}") for number in heads]
    monkeypatch.setattr(binlog, "_lines", lambda file: iter([b"\tGtid list " + heads[int(file.suffix[1:])]]))
    assert following(files, place) == [files[number - 1] for number in left]


def test_of_a_log_that_is_there_twice_the_longer_one_is_read(tmp_path: Path) -> None:
    copied, own = tmp_path / "copied", tmp_path / "own"
    for folder, sizes in ((copied, {"binlog.000001": 9, "binlog.000002": 5}), (own, {"binlog.000002": 7})):
        folder.mkdir()
        for name, size_bytes in sizes.items():
            (folder / name).write_bytes(bytes(size_bytes))
    joined = join_logs(sorted(copied.iterdir()), sorted(own.iterdir()))
    assert joined == [copied / "binlog.000001", own / "binlog.000002"]


def test_an_interrupted_restore_keeps_the_stack_from_starting(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    require_whole(folder)
    (tmp_path / "restoring").write_text("before-restore\n")
    with pytest.raises(StackError, match="interrupted"):
        require_whole(folder)


def test_lost_invoices_are_listed_once_and_their_numbers_are_spans(tmp_path: Path) -> None:
    """Two nodes' logs tell of the same ones, the second of one more."""
    first, second = ([issued for item in logs for issued in item.issued] for logs in (LOGS[:3], LOGS))
    kept = tmp_path / "before" / FILE
    with Lost.listed_in(tmp_path) as lost:
        lost.note(first)
        lost.note(second)
        lost.keep(kept)
    assert [json.loads(line) for line in kept.read_text().splitlines()] == [
        {"number": f"{serial:020d}", "seller_key": 1, "request_id": f"r-{serial}"} for serial in range(1, 7)
    ]
    assert (lost.count, lost.numbers.spans()) == (6, [(1, 6)])
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_list_that_is_not_kept_is_gone(tmp_path: Path) -> None:
    with Lost.listed_in(tmp_path) as lost:
        lost.note(LOGS[0].issued)
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
