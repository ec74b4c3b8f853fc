"""The command against the whole stack, through Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest_asyncio
from google.protobuf.json_format import MessageToDict

from stack import Stack
from tests.support.command import environment, records, run, start, until
from tests.support.invoices import good_invoice
from tests.support.platform import Tenant, new_tenant


@pytest_asyncio.fixture
async def tenant(running_stack: Stack) -> AsyncIterator[Tenant]:
    async with new_tenant(running_stack) as tenant:
        yield tenant


@pytest_asyncio.fixture
async def env(running_stack: Stack, tenant: Tenant) -> dict[str, str]:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    return environment(BILLOW_TARGET=address, BILLOW_API_KEY=tenant.secret)


def write(path: Path, seller_id: str, count: int, broken: dict[int, bytes]) -> Path:
    invoice = MessageToDict(good_invoice())
    with path.open("wb") as file:
        for n in range(1, count + 1):
            whole = orjson.dumps({"sellerId": seller_id, "requestId": f"r-{n}", "invoice": invoice})
            file.write(broken.get(n, whole) + b"\n")
    return path


async def listed(seller_id: str, env: dict[str, str]) -> list[dict[str, Any]]:
    ended = await run("list", "--seller", seller_id, "--all", "--json", env=env)
    assert ended.code == 0, ended.err
    return [orjson.loads(line)["issued"] for line in ended.out.splitlines()]


async def test_a_file_with_a_broken_line_is_issued_but_for_that_line_and_verified(
    tmp_path: Path, tenant: Tenant, env: dict[str, str]
) -> None:
    seller = await tenant.seller()
    bad = MessageToDict(good_invoice()) | {"kind": "INVOICE_KIND_GENERAL", "grossTotalMinor": "1"}
    refused = orjson.dumps({"sellerId": seller, "requestId": "r-2000", "invoice": bad})
    file = write(tmp_path / "in.jsonl", seller, 3_000, {1_000: b'{"sellerId": ', 2_000: refused})
    ended = await run("issue", file, "--json", env=env)
    assert ended.code == 1, ended.err
    assert (ended.json["issued"], ended.json["refused"]) == (2_998, 2)
    results = tmp_path / "in.jsonl.results.jsonl"
    told = records(results)
    assert [r["line"] for r in told] == list(range(1, 3_001))
    errors = {r["line"]: r["error"] for r in told if "error" in r}
    assert errors[1_000]["reason"] == "UNREADABLE"
    assert errors[2_000]["reason"] == "INVALID_INVOICE"
    assert "invoice.gross_total_minor" in [v["field"] for v in errors[2_000]["violations"]]
    there = await listed(seller, env)
    assert {(i["requestId"], i["number"]) for i in there} == {
        (r["request_id"], r["number"]) for r in told if "number" in r
    }
    assert len(there) == 2_998
    verified = await run("verify", results, "--json", env=env)
    assert verified.code == 0, verified.err
    assert verified.json["outcomes"] == {"match": 2_998}


async def test_a_run_killed_half_way_and_resumed_issues_everything_once(
    tmp_path: Path, tenant: Tenant, env: dict[str, str]
) -> None:
    seller = await tenant.seller()
    count = 12_000
    file = write(tmp_path / "in.jsonl", seller, count, {})
    results = tmp_path / "in.jsonl.results.jsonl"
    for _ in range(2):
        before = results.stat().st_size if results.exists() else 0
        process = await start("issue", file, "--resume", env=env)
        await until(lambda before=before: results.exists() and results.stat().st_size > before + 200_000)  # type: ignore[misc]
        process.kill()
        await process.communicate()
        assert len(results.read_bytes().splitlines()) < count
        with results.open("ab") as torn:
            torn.write(b'{"line":')  # as if the kill had come in the middle of a write
    ended = await run("issue", file, "--resume", "--json", env=env)
    assert ended.code == 0, ended.err
    assert ended.json["already_done"] > 1_000
    told = records(results)
    assert [r["line"] for r in told] == list(range(1, count + 1))
    there = await listed(seller, env)
    assert len(there) == count
    assert {(i["requestId"], i["number"]) for i in there} == {(r["request_id"], r["number"]) for r in told}
    numbers = sorted(int(i["number"]) for i in there)
    assert numbers == list(range(numbers[0], numbers[0] + count))


async def test_one_invoice_is_shown_to_people_and_programs(tmp_path: Path, tenant: Tenant, env: dict[str, str]) -> None:
    seller = await tenant.seller()
    file = write(tmp_path / "in.jsonl", seller, 1, {})
    assert (await run("issue", file, env=env)).code == 0
    (told,) = records(tmp_path / "in.jsonl.results.jsonl")
    shown = await run("get", told["number"], env=env)
    assert shown.code == 0
    assert told["number"] in shown.out
    assert "339.00" in shown.out
    as_json = await run("get", told["number"], "--json", env=env)
    assert as_json.json["issued"]["requestId"] == "r-1"
    missing = await run("get", "9" * 20, env=env)
    assert missing.code == 1
    assert "INVOICE_NOT_FOUND" in missing.err
    date = f"{told['issue_date']}"
    public = {name: value for name, value in env.items() if name != "BILLOW_API_KEY"}
    assert (await run("verify", told["number"], "--date", date, "--total", "339.00", env=public)).code == 0
    wrong = await run("verify", told["number"], "--date", date, "--total", "339.01", "--json", env=public)
    assert (wrong.code, wrong.json["outcome"]) == (1, "mismatch")


async def test_the_registry_by_command(tenant: Tenant, env: dict[str, str]) -> None:
    party = ("--name", "示例卖方有限公司", "--tax-id", "91110000000000005X")
    created = await run("seller", "create", "by-command", *party, "--json", env=env)
    assert created.json["sellerId"] == "by-command"
    assert (await run("seller", "create", "by-command", *party, env=env)).code == 1
    first, last = f"26{tenant.serial:09d}000000001", f"26{tenant.serial:09d}000000100"
    added = await run("range", "create", "by-command", first, last, "--kind", "general", "--json", env=env)
    assert added.code == 0, added.err
    assert (await run("range", "list", "by-command", "--json", env=env)).json["firstNumber"] == first
    made = await run("key", "create", "--scope", "read", "--json", env=env)
    assert made.code == 0, made.err
    key_id = made.json["apiKey"]["keyId"]
    assert "revokeTime" in (await run("key", "revoke", key_id, "--json", env=env)).json
    assert (await run("tenant", "list", env=env)).code == 5
