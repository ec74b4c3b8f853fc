"""Backup, everything destroyed, restore to a named invoice: what was before it is there, nothing is issued twice
(P1 to P4; docs/backup.md)."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from billow.issuance.v1 import issuance_pb2
from stack import DATA_STORES, Stack, StackError, StackOptions
from stack.mariadb import root
from tests.support.platform import Tenant, new_tenant, request_of

OPTIONS = StackOptions(servers=1, workers=1, parts=DATA_STORES | {"server", "worker", "envoy"})
EARLIER, LATER, UNLOGGED = 5, 6, 3  # invoices in the backup, in the logs beside it, and after their last copy
LAST = 2  # of those in the logs
MARGIN = 50
AUDIT_S = 120


async def issue(tenant: Tenant, seller_id: str, name: str, count: int) -> list[str]:
    """Issues one after the other, a commit each, and returns the numbers."""
    return [(await tenant.issue(request_of(seller_id, f"{name}-{serial}"))).number for serial in range(count)]


async def is_there(tenant: Tenant, number: str) -> bool:
    """Tells whether an invoice can be read."""
    request = issuance_pb2.GetInvoiceRequest(number=number)
    try:
        await tenant.issuance.GetInvoice(request, metadata=tenant.metadata, timeout=30)
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
        return False
    return True


def lines(path: str) -> list[dict[str, object]]:
    """Reads a file of JSON lines."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def lowest_epoch(stack: Stack) -> int:
    """The epoch that every node has reached."""
    found = []
    for node in stack.state.nodes:
        with root(stack.folder, stack.state, node) as cursor:
            cursor.execute("SELECT epoch FROM billow.fencing")
            found += [int(row["epoch"]) for row in cursor.fetchall()]
    assert len(found) == len(stack.state.nodes)
    return min(found)


def audit(stack: Stack) -> str:
    """Runs the audit, which must find nothing; returns what it says."""
    command = [sys.executable, "-m", "admin", "audit", "--config", str(stack.config_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_restoring_to_an_invoice_after_everything_was_destroyed(tmp_path: Path) -> None:
    stack = Stack(run_dir=tmp_path / "run", options=OPTIONS)
    backup = tmp_path / "backup"
    stack.up(with_owner=True)
    try:
        async with new_tenant(stack) as tenant:
            seller_id = await tenant.seller()
            earlier = await issue(tenant, seller_id, "earlier", EARLIER)
            made = await asyncio.to_thread(stack.backup, backup)
            assert made.node == "mysql-2"
            later = await issue(tenant, seller_id, "later", LATER)
            await asyncio.to_thread(stack.copy_logs, backup)
            unlogged = await issue(tenant, seller_id, "unlogged", UNLOGGED)
            epoch = await asyncio.to_thread(lowest_epoch, stack)
            await asyncio.to_thread(stack.down)
            done = await asyncio.to_thread(stack.restore, backup, number=later[LAST])  # the primary's log tells all
            assert [item["number"] for item in lines(done.list)] == [*later[LAST + 1 :], *unlogged]
            assert done.withdrawn == len(lines(done.list))
            for place in stack.folder.root.glob("before-restore-*"):
                shutil.rmtree(place)
            for node in stack.state.nodes:
                shutil.rmtree(stack.folder.mysql(node))

            with pytest.raises(StackError, match="--margin"):
                stack.restore(backup, number=later[LAST])
            with pytest.raises(StackError, match="earlier one"):
                stack.restore(backup, number=earlier[0], margin=MARGIN)
            done = await asyncio.to_thread(stack.restore, backup, number=later[LAST], margin=MARGIN)
            listed = lines(done.list)
            assert [item["number"] for item in listed] == later[LAST + 1 :]
            assert [item["request_id"] for item in listed] == [f"later-{n}" for n in range(LAST + 1, LATER)]
            assert done.withdrawn == LATER - LAST - 1 + MARGIN

            await asyncio.to_thread(stack.up, with_owner=True)
            assert await asyncio.to_thread(lowest_epoch, stack) > epoch
            kept = [*earlier, *later[: LAST + 1]]
            assert [await is_there(tenant, number) for number in kept] == [True] * len(kept)
            lost = [*later[LAST + 1 :], *unlogged]
            assert [await is_there(tenant, number) for number in lost] == [False] * len(lost)
            again = await tenant.issue(request_of(seller_id, f"later-{LAST}"))
            assert again.number == later[LAST]  # what is there is answered as before
            (anew,) = await issue(tenant, seller_id, "unlogged", 1)
            assert int(anew) == int(later[-1]) + MARGIN + 1  # and no number that was given is given again
        said = await asyncio.to_thread(audit, stack)
        assert f"{done.withdrawn} numbers were set aside by a restore" in said
    finally:
        stack.down()
