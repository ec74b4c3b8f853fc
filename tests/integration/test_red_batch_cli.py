"""`billow red batch` against the whole stack: each once, in order, resumed after a kill (P2, P4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

import billow
from stack import Stack
from tests.support.command import environment, records, run, start, until
from tests.support.platform import Tenant, _serials, new_tenant, request_of

COUNT = 1_000


@dataclass(slots=True)
class Bench:
    tenant: Tenant
    client: billow.AsyncClient
    env: dict[str, str]

    async def blues(self, count: int) -> list[str]:
        """Issues invoices to persons nobody has to ask before they are red-lettered."""
        requests = [request_of("seller-0", f"blue {place}") for place in range(count)]
        return [
            result.issued.number
            for start in range(0, count, 1_000)
            for result in await self.client.issue_batch(requests[start : start + 1_000])
        ]


@pytest.fixture
async def bench(running_stack: Stack) -> AsyncIterator[Bench]:
    address = f"{running_stack.envoy.host}:{running_stack.envoy.port}"
    async with new_tenant(running_stack) as tenant, billow.AsyncClient(address, api_key=tenant.secret) as client:
        seller = await tenant.seller()
        first = (26 * 10**9 + next(_serials)) * 10**9
        await client.registry.add_number_range(
            seller,
            first_number=f"{first:020d}",
            last_number=f"{first + 9_999:020d}",
            kind=billow.INVOICE_KIND_GENERAL,
            color=billow.INVOICE_COLOR_RED,
        )
        yield Bench(tenant, client, environment(BILLOW_TARGET=address, BILLOW_API_KEY=tenant.secret))


async def test_a_table_is_issued_in_order_and_what_is_refused_is_told(bench: Bench, tmp_path: Path) -> None:
    first, second = await bench.blues(2)
    file = tmp_path / "red.csv"
    rows = [
        "seller_id,request_id,blue_number,reason,extent,line,gross_minor",
        f"seller-0,part,{first},04,,1,5000",
        f"seller-0,rest,{first},02,remainder,,",
        f"seller-0,again,{first},02,remainder,,",
        f"seller-0,broken,{first},09,,,",
        f"seller-0,whole,{second},01,,,",
        f"seller-0,absent,{'9' * 20},01,,,",
    ]
    file.write_text("\n".join(rows) + "\n")
    ended = await run("red", "batch", file, "--json", env=bench.env)
    assert ended.code == 1, ended.err
    assert (ended.json["issued"], ended.json["refused"]) == (3, 3)
    results = tmp_path / "red.csv.results.jsonl"
    told = records(results)
    assert [record["line"] for record in told] == list(range(2, 8))
    assert [record.get("error", {}).get("reason") for record in told] == [
        None, None, "ALREADY_FULLY_RED", "UNREADABLE", None, "INVOICE_NOT_FOUND",
    ]  # fmt: skip
    assert [record["blue_number"] for record in told if "number" in record] == [first, first, second]
    assert told[0]["gross_total_minor"] == -5_000
    for number in (first, second):
        found = await bench.client.get(number)
        assert found.state == billow.INVOICE_STATE_FULLY_RED
        assert found.red_total_minor == -found.issued.gross_total_minor
    verified = await run("verify", results, "--json", env=bench.env)
    assert (verified.code, verified.json["outcomes"]) == (0, {"match": 3}), verified.err

    refused = await run("red", "batch", file, env=bench.env)
    assert (refused.code, "--resume" in refused.err) == (2, True)
    again = await run("red", "batch", file, "--results", tmp_path / "again.jsonl", "--json", env=bench.env)
    assert again.code == 1
    assert [record.get("number") for record in records(tmp_path / "again.jsonl")] == [
        record.get("number") for record in told
    ]


@pytest.mark.slow
async def test_a_run_killed_half_way_and_resumed_red_letters_everything_once(bench: Bench, tmp_path: Path) -> None:
    blues = await bench.blues(COUNT)
    file = tmp_path / "red.jsonl"
    whole = {"reason": "RED_REASON_GOODS_RETURNED", "extent": "RED_EXTENT_WHOLE"}
    wishes = (
        {"sellerId": "seller-0", "requestId": f"red {number}", "selection": {"blueNumber": number} | whole}
        for number in blues
    )
    file.write_bytes(b"".join(orjson.dumps(wish, option=orjson.OPT_APPEND_NEWLINE) for wish in wishes))
    results = tmp_path / "red.jsonl.results.jsonl"
    process = await start("red", "batch", file, env=bench.env)
    await until(lambda: results.exists() and results.stat().st_size > 10_000)
    process.kill()
    await process.communicate()
    before = results.read_bytes().count(b"\n")  # the last line may be torn already
    assert 0 < before < COUNT
    with results.open("ab") as torn:
        torn.write(b'{"line":')  # as if the kill had come in the middle of a write
    ended = await run("red", "batch", file, "--resume", "--json", env=bench.env)
    assert ended.code == 0, ended.err
    assert (ended.json["issued"], ended.json["already_done"]) == (COUNT, before)
    told = records(results)
    assert [record["line"] for record in told] == list(range(1, COUNT + 1))
    assert [record["blue_number"] for record in told] == blues
    numbers = sorted(int(record["number"]) for record in told)
    assert numbers == list(range(numbers[0], numbers[0] + COUNT))
