"""The command against a scripted server: exit codes, what is written down, what is told."""

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.support.command import environment, records, run, start, until
from tests.support.toy_server import Toy, refuse, serving, status_of


@pytest_asyncio.fixture
async def toy() -> Toy:
    return Toy()


@pytest_asyncio.fixture
async def env(toy: Toy) -> AsyncIterator[dict[str, str]]:
    async with serving(toy) as address:
        yield environment(BILLOW_TARGET=address, BILLOW_API_KEY="bk_test")


def line(number: int) -> dict[str, Any]:
    return {"sellerId": "s", "requestId": f"r-{number}", "invoice": {"grossTotalMinor": number}}


def write(path: Path, count: int, change: Callable[[int, bytes], bytes] = lambda _, raw: raw) -> Path:
    path.write_bytes(b"".join(change(n, orjson.dumps(line(n))) + b"\n" for n in range(1, count + 1)))
    return path


async def test_every_line_gets_its_record_and_a_broken_one_does_not_stop_the_rest(
    tmp_path: Path, toy: Toy, env: dict[str, str]
) -> None:
    toy.item_refusals = {"r-1500": [status_of("SELLER_NOT_FOUND", seller_id="s")]}
    file = write(tmp_path / "in.jsonl", 2_000, lambda n, raw: raw[:-3] if n == 700 else raw)
    ended = await run("issue", file, "--json", env=env)
    assert ended.code == 1, ended.err
    assert (ended.json["issued"], ended.json["refused"]) == (1_998, 2)
    told = records(tmp_path / "in.jsonl.results.jsonl")
    assert [r["line"] for r in told] == list(range(1, 2_001))
    assert [r["line"] for r in told if "error" in r] == [700, 1500]
    assert told[699]["error"]["reason"] == "UNREADABLE"
    assert told[1499]["error"]["reason"] == "SELLER_NOT_FOUND"
    assert told[0] == {
        "line": 1,
        "seller_id": "s",
        "request_id": "r-1",
        "number": toy.issued["s", "r-1"].number,
        "issue_date": 20260921,
        "net_total_minor": 0,
        "tax_total_minor": 0,
        "gross_total_minor": 1,
    }
    assert "line 700: " in ended.err
    assert {m["authorization"] for m in toy.metadata} == {"Bearer bk_test"}


async def test_a_results_file_that_exists_is_refused_without_resume_and_nothing_is_sent(
    tmp_path: Path, toy: Toy, env: dict[str, str]
) -> None:
    file = write(tmp_path / "in.jsonl", 3)
    assert (await run("issue", file, env=env)).code == 0
    sent = toy.messages
    again = await run("issue", file, env=env)
    assert again.code == 2
    assert "--resume" in again.err
    assert toy.messages == sent


async def test_resuming_a_finished_run_sends_nothing_and_keeps_the_exit_code(
    tmp_path: Path, toy: Toy, env: dict[str, str]
) -> None:
    file = write(tmp_path / "in.jsonl", 30, lambda n, raw: b"broken" if n == 30 else raw)
    assert (await run("issue", file, env=env)).code == 1
    before = (tmp_path / "in.jsonl.results.jsonl").read_bytes()
    sent = toy.messages
    assert (await run("issue", file, "--resume", env=env)).code == 1
    assert toy.messages == sent
    assert (tmp_path / "in.jsonl.results.jsonl").read_bytes() == before


async def test_resume_refuses_results_of_another_file(tmp_path: Path, env: dict[str, str]) -> None:
    results = tmp_path / "results.jsonl"
    assert (await run("issue", write(tmp_path / "a.jsonl", 5), "--results", results, env=env)).code == 0
    other = write(tmp_path / "b.jsonl", 9, lambda n, raw: raw.replace(b"r-", b"q-"))
    ended = await run("issue", other, "--results", results, "--resume", env=env)
    assert ended.code == 2
    assert "not about this file" in ended.err


async def test_a_passing_refusal_is_never_written_down_as_a_verdict(
    tmp_path: Path, toy: Toy, env: dict[str, str]
) -> None:
    # all twenty attempts would take too long for a test: the run is interrupted while it waits
    toy.item_refusals = {"r-700": [status_of("OVERLOADED", retry_ms=900) for _ in range(1_000)]}
    file = write(tmp_path / "in.jsonl", 2_000)
    process = await start("issue", file, env=env)
    await until(lambda: toy.seen["r-700"] >= 2)
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 4
    told = records(tmp_path / "in.jsonl.results.jsonl")
    assert [r["line"] for r in told] == list(range(1, len(told) + 1))
    assert len(told) < 700
    toy.item_refusals = {}
    ended = await run("issue", file, "--resume", "--json", env=env)
    assert ended.code == 0
    assert ended.json["already_done"] == len(told)
    assert [r["line"] for r in records(tmp_path / "in.jsonl.results.jsonl")] == list(range(1, 2_001))
    assert len(toy.issued) == 2_000


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
async def test_a_run_ended_half_way_is_resumed_without_loss_and_without_duplicates(
    tmp_path: Path, toy: Toy, env: dict[str, str], ending: signal.Signals
) -> None:
    file = write(tmp_path / "in.jsonl", 20_000)
    results = tmp_path / "in.jsonl.results.jsonl"
    process = await start("issue", file, env=env)
    await until(lambda: toy.messages >= 10)
    process.send_signal(ending)
    await process.communicate()
    assert process.returncode == (-9 if ending is signal.SIGKILL else 4)
    before = len(results.read_bytes().splitlines())
    assert before < 20_000
    ended = await run("issue", file, "--resume", "--json", env=env)
    assert ended.code == 0, ended.err
    told = records(results)
    assert [r["line"] for r in told] == list(range(1, 20_001))
    assert [r["request_id"] for r in told] == [f"r-{n}" for n in range(1, 20_001)]
    assert {r["number"] for r in told} == {i.number for i in toy.issued.values()}
    assert len(toy.issued) == 20_000


@pytest.mark.parametrize(
    ("reason", "code"),
    [("API_KEY_INVALID", 5), ("SCOPE_MISSING", 5), ("INTERNAL", 6), ("INVALID_REQUEST", 1)],
)
async def test_refused_calls_end_with_their_exit_code(toy: Toy, env: dict[str, str], reason: str, code: int) -> None:
    toy.call_faults = [refuse(reason)]
    ended = await run("list", "--seller", "s", "--json", env=env)
    assert ended.code == code
    assert orjson.loads(ended.err)["error"]["reason"] == reason
    assert ended.out == ""


async def test_nobody_there_is_exit_code_3(tmp_path: Path) -> None:
    async with serving(Toy()) as address:
        pass
    ended = await run("get", "1" * 20, "--timeout", "1", env=environment(BILLOW_TARGET=address))
    assert ended.code == 3
    assert "UNAVAILABLE" in ended.err or "DEADLINE_EXCEEDED" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["issue", "no-such-file.jsonl"],
        ["verify", "no-such-file.jsonl"],
        ["verify", "1" * 20],
        ["verify", "1" * 20, "--date", "2026-02-30", "--total", "1"],
        ["list"],
        ["get"],
        ["get", "1" * 20, "--api-key", "with blank "],
        ["get", "1" * 20, "--tls-cert", "no-such-file.pem"],
        ["range", "create", "s", "1", "2", "--kind", "purple"],
        ["nonsense"],
    ],
)
async def test_wrong_use_is_exit_code_2_and_sends_nothing(toy: Toy, env: dict[str, str], arguments: list[str]) -> None:
    ended = await run(*arguments, env=env)
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    assert not toy.calls
    assert not toy.streams


async def test_settings_come_from_options_before_variables_and_files(
    tmp_path: Path, toy: Toy, env: dict[str, str]
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("bk_file\nmore\n", encoding="utf-8")
    without_key = {name: value for name, value in env.items() if name != "BILLOW_API_KEY"}
    await run("get", "1" * 20, "--api-key", "bk_option", env=env)
    await run("get", "1" * 20, "--api-key-file", str(key_file), env=without_key)
    await run("get", "1" * 20, env=without_key | {"BILLOW_API_KEY_FILE": str(key_file)})
    await run("get", "1" * 20, env=without_key)
    expected = ["Bearer bk_option", "Bearer bk_file", "Bearer bk_file", None]
    assert [m.get("authorization") for m in toy.metadata] == expected


async def test_verifying_tells_matches_from_the_rest(tmp_path: Path, env: dict[str, str]) -> None:
    file = write(tmp_path / "in.jsonl", 1_200)
    assert (await run("issue", file, env=env)).code == 0
    results = tmp_path / "in.jsonl.results.jsonl"
    assert (await run("verify", results, "--json", env=env)).json["outcomes"] == {"match": 1_200}
    told = records(results)
    told[500]["gross_total_minor"] += 1
    told[900]["number"] = "9" * 20
    results.write_bytes(b"\n".join(map(orjson.dumps, told)))
    ended = await run("verify", results, "--json", "--results", tmp_path / "out.jsonl", env=env)
    assert ended.code == 1
    assert ended.json["outcomes"] == {"match": 1_198, "mismatch": 1, "not_found": 1}
    outcomes = records(tmp_path / "out.jsonl")
    assert [r["line"] for r in outcomes if r["outcome"] != "match"] == [501, 901]
    one = await run("verify", told[0]["number"], "--date", "2026-09-21", "--total", "0.01", env=env)
    assert (one.code, "match" in one.out) == (0, True)
