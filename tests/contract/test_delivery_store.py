"""The contract of delivery: exactly-once fan-out, leases, outcomes (twin and MySQL)."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.domain.errors import BillowError, Reason
from core.limits import ENDPOINTS_OF_SELLER_MAX
from core.storage.delivery_port import (
    Attempt,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    Due,
    EndpointKind,
    EndpointState,
    Outcome,
)
from stack import Stack
from tests.contract.delivery_subjects import (
    DeliverySubject,
    MemoryDeliverySubject,
    MySQLDeliverySubject,
    endpoint_of,
    now_us,
)
from tests.support.databases import own_stores
from tests.support.issuing import TestSeller

WEBHOOK = (EndpointKind.WEBHOOK,)
LEASE_MS = 60_000


@pytest.fixture(params=["memory", "mysql"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DeliverySubject]:
    if request.param == "memory":
        yield MemoryDeliverySubject()
        return
    stack: Stack = request.getfixturevalue("data_stores")
    async with own_stores(stack, tmp_path) as stores:
        yield MySQLDeliverySubject(stores)


async def all_of(subject: DeliverySubject, seller: TestSeller) -> list[Delivery]:
    return await subject.store.deliveries(DeliveryFilter(seller_key=seller.seller_key, items_max=1_000))


def outcome(due: Due, *, delivered: bool, due_at_us: int | None = None, **rest: object) -> Outcome:
    state = DeliveryState.DELIVERED if delivered else DeliveryState.FAILED
    if due_at_us is not None:
        state = DeliveryState.PENDING
    attempt = Attempt(
        attempt=due.attempts + 1, at_us=now_us(), duration_us=5, delivered=delivered, code=500, detail="so"
    )
    key = due.endpoint.endpoint_key
    return Outcome(
        delivery_id=due.delivery_id,
        endpoint_key=key,
        attempt=attempt,
        state=state,
        due_at_us=due_at_us,
        **rest,  # type: ignore[arg-type] # by name
    )


async def test_every_invoice_is_fanned_out_once_to_each_endpoint_with_the_rule(subject: DeliverySubject) -> None:
    seller, other = await subject.seller(), await subject.seller()
    await subject.issue(seller, 2)  # before the endpoints: not theirs
    first = await subject.store.create_endpoint(endpoint_of(seller))
    second = await subject.store.create_endpoint(endpoint_of(seller, kind=EndpointKind.PULL, target=""))
    await subject.store.create_endpoint(endpoint_of(seller, every_invoice=False))
    issued = [*await subject.issue(seller, 3), *await subject.issue(seller, 4)]
    await subject.issue(other, 1)
    done = sum(await asyncio.gather(*(subject.queue.fan_out(batches_max=2) for _ in range(4))))
    while fresh := await subject.queue.fan_out(batches_max=2):
        done += fresh
    assert done == 4
    pairs = sorted((item.endpoint_id, item.number) for item in await all_of(subject, seller))
    assert pairs == sorted((e.endpoint_id, i.number) for e in (first, second) for i in issued)
    assert await all_of(subject, other) == []


async def test_what_is_leased_is_nobody_elses_until_the_lease_runs_out(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller))
    (issued,) = await subject.issue(seller, 1)
    await subject.queue.fan_out(batches_max=10)
    assert await subject.queue.due_endpoints(kinds=WEBHOOK, items_max=10) == {endpoint.endpoint_key: 0}
    (due,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=5, lease_ms=1)
    assert (due.endpoint, due.facts.number, due.facts.body_sha256) == (endpoint, issued.number, issued.body_sha256)
    await asyncio.sleep(0.01)
    (again,) = await subject.queue.claim(endpoint.endpoint_key, owner="b", items_max=5, lease_ms=LEASE_MS)
    assert again == due
    assert await subject.queue.claim(endpoint.endpoint_key, owner="c", items_max=5, lease_ms=LEASE_MS) == []
    assert await subject.queue.due_endpoints(kinds=WEBHOOK, items_max=10) == {}
    assert await subject.queue.finish("a", [outcome(due, delivered=True)]) == 0
    assert await subject.queue.finish("b", [outcome(again, delivered=True)]) == 1
    (delivery,) = await all_of(subject, seller)
    assert (delivery.state, delivery.attempts, delivery.due_at_us) == (DeliveryState.DELIVERED, 1, None)
    assert delivery.finished_at_us
    assert len(await subject.store.attempts(delivery.delivery_id)) == 1


async def test_two_claimers_share_and_never_overlap(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller))
    await subject.issue(seller, 40)
    await subject.queue.fan_out(batches_max=10)
    claims = await asyncio.gather(
        *(
            subject.queue.claim(endpoint.endpoint_key, owner=f"o-{place}", items_max=10, lease_ms=LEASE_MS)
            for place in range(4)
        )
    )
    ids = [due.delivery_id for claim in claims for due in claim]
    assert len(ids) == len(set(ids))
    while more := await subject.queue.claim(endpoint.endpoint_key, owner="o", items_max=10, lease_ms=LEASE_MS):
        ids += [due.delivery_id for due in more]
    assert len(ids) == len(set(ids)) == 40


async def test_failures_are_counted_a_success_forgets_them_and_a_pause_is_kept(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller))
    await subject.issue(seller, 1)
    await subject.queue.fan_out(batches_max=10)
    for place in range(2):
        (due,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=1, lease_ms=LEASE_MS)
        assert (due.attempts, due.tries) == (place, place)
        await subject.queue.finish("a", [outcome(due, delivered=False, due_at_us=now_us())])
    await asyncio.sleep(0.01)
    assert await subject.queue.due_endpoints(kinds=WEBHOOK, items_max=10) == {endpoint.endpoint_key: 2}
    (due,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=1, lease_ms=LEASE_MS)
    pause = now_us() + 10**9
    await subject.queue.finish("a", [outcome(due, delivered=False, due_at_us=now_us(), open_until_us=pause)])
    assert await subject.queue.due_endpoints(kinds=WEBHOOK, items_max=10) == {}
    (due,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=1, lease_ms=LEASE_MS)
    await subject.queue.finish("a", [outcome(due, delivered=True)])
    stored = await subject.store.endpoint(endpoint.endpoint_id)
    assert stored is not None
    assert (stored.failures, stored.open_until_us) == (0, 0)


async def test_a_disabled_endpoint_gets_nothing_and_goes_on_when_enabled(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller))
    await subject.issue(seller, 1)
    await subject.queue.fan_out(batches_max=10)
    (due,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=1, lease_ms=LEASE_MS)
    await subject.queue.finish("a", [outcome(due, delivered=False, due_at_us=now_us(), disable="gone")])
    await subject.issue(seller, 1)
    await subject.queue.fan_out(batches_max=10)
    stored = await subject.store.endpoint(endpoint.endpoint_id)
    assert stored is not None
    assert (stored.state, stored.state_reason) == (EndpointState.DISABLED, "gone")
    assert await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=9, lease_ms=LEASE_MS) == []
    await subject.store.set_state(endpoint.endpoint_key, EndpointState.ACTIVE, "")
    (again,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=9, lease_ms=LEASE_MS)
    assert again.delivery_id == due.delivery_id
    await subject.issue(seller, 2)
    await subject.queue.fan_out(batches_max=10)
    assert len(await all_of(subject, seller)) == 3  # not the one issued while it was disabled


async def test_ordering_twice_and_redelivering_keep_the_id(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller, every_invoice=False))
    (issued,) = await subject.issue(seller, 1)
    for _ in range(2):
        await subject.store.deliver(endpoint, [issued.number], now_us=now_us())
    (due,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=9, lease_ms=LEASE_MS)
    await subject.queue.finish("a", [outcome(due, delivered=False)])
    failed = await subject.store.delivery(due.delivery_id)
    assert failed is not None
    assert (failed.state, failed.due_at_us) == (DeliveryState.FAILED, None)
    await subject.store.redeliver(due.delivery_id, now_us=now_us())
    await asyncio.sleep(0.01)
    (again,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=9, lease_ms=LEASE_MS)
    assert (again.delivery_id, again.attempts, again.tries) == (due.delivery_id, 1, 0)


async def test_acknowledging_finishes_once_and_only_ones_own(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    pull = await subject.store.create_endpoint(endpoint_of(seller, kind=EndpointKind.PULL, target=""))
    other = await subject.store.create_endpoint(endpoint_of(seller, kind=EndpointKind.PULL, target=""))
    await subject.issue(seller, 3)
    await subject.queue.fan_out(batches_max=10)
    claimed = await subject.queue.claim(pull.endpoint_key, owner="p", items_max=2, lease_ms=LEASE_MS)
    ids = [due.delivery_id for due in claimed]
    foreign = [
        due.delivery_id for due in await subject.queue.claim(other.endpoint_key, owner="p", items_max=1, lease_ms=1)
    ]
    for _ in range(2):
        assert await subject.store.acknowledge(pull.endpoint_key, [*ids, *foreign, 10**9], now_us=now_us()) == ids
    states = [item.state for item in await all_of(subject, seller)]
    assert states.count(DeliveryState.DELIVERED) == 2
    assert [len(await subject.store.attempts(delivery_id)) for delivery_id in ids] == [1, 1]


async def test_endpoints_are_listed_rotated_and_bounded(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    made = [await subject.store.create_endpoint(endpoint_of(seller)) for _ in range(ENDPOINTS_OF_SELLER_MAX)]
    with pytest.raises(BillowError) as caught:
        await subject.store.create_endpoint(endpoint_of(seller))
    assert caught.value.reason is Reason.ENDPOINTS_EXHAUSTED
    ids = sorted(item.endpoint_id for item in made)
    page = await subject.store.endpoints(seller.seller_key, after=ids[1], items_max=3)
    assert [item.endpoint_id for item in page] == ids[2:5]
    await subject.store.rotate(made[0].endpoint_key, b"n" * 32, old_until_us=77)
    stored = await subject.store.endpoint(made[0].endpoint_id)
    assert stored is not None
    assert (stored.secret, stored.old_secret, stored.old_secret_until_us) == (b"n" * 32, made[0].secret, 77)


async def test_an_endpoint_and_a_secret_may_be_given_again_by_the_same_call(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    wanted = endpoint_of(seller)
    made = await subject.store.create_endpoint(wanted)
    assert await subject.store.create_endpoint(wanted) == made
    for _ in range(ENDPOINTS_OF_SELLER_MAX - 1):
        await subject.store.create_endpoint(endpoint_of(seller))
    assert await subject.store.create_endpoint(wanted) == made
    for until_us in (77, 78):
        await subject.store.rotate(made.endpoint_key, b"n" * 32, old_until_us=until_us)
    stored = await subject.store.endpoint(made.endpoint_id)
    assert stored is not None
    assert (stored.secret, stored.old_secret, stored.old_secret_until_us) == (b"n" * 32, made.secret, 77)


async def test_many_outcomes_at_once_are_noted_in_their_order(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller))
    await subject.issue(seller, 4)
    await subject.queue.fan_out(batches_max=10)
    first, second, third, fourth = await subject.queue.claim(
        endpoint.endpoint_key, owner="a", items_max=4, lease_ms=LEASE_MS
    )
    later = now_us() + 10**9
    outcomes = [
        outcome(first, delivered=False, due_at_us=later, open_until_us=later),
        outcome(second, delivered=True),
        outcome(third, delivered=False, due_at_us=later),
        outcome(fourth, delivered=False, due_at_us=later, counts=False),
    ]
    assert await subject.queue.finish("b", outcomes) == 0
    assert await subject.queue.finish("a", outcomes) == 4
    stored = await subject.store.endpoint(endpoint.endpoint_id)
    assert stored is not None
    assert (stored.failures, stored.open_until_us) == (1, 0)
    found = {item.delivery_id: item for item in await all_of(subject, seller)}
    assert [(found[due.delivery_id].tries, found[due.delivery_id].attempts) for due in (first, second, third)] == [
        (1, 1)
    ] * 3
    assert (found[fourth.delivery_id].tries, found[fourth.delivery_id].attempts) == (0, 1)
    assert found[second.delivery_id].finished_at_us == outcomes[1].attempt.at_us + 5
    assert [found[due.delivery_id].due_at_us for due in (first, second, third, fourth)] == [later, None, later, later]


async def test_words_longer_than_their_column_are_cut_between_characters(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller))
    await subject.issue(seller, 1)
    await subject.queue.fan_out(batches_max=10)
    (due,) = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=1, lease_ms=LEASE_MS)
    made = outcome(due, delivered=False)
    made = dataclasses.replace(made, attempt=dataclasses.replace(made.attempt, detail="不" * 200))
    await subject.queue.finish("a", [made])
    (attempt,) = await subject.store.attempts(due.delivery_id)
    assert set(attempt.detail) == {"不"}


async def test_what_is_given_back_is_due_at_once_and_only_ones_own(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    endpoint = await subject.store.create_endpoint(endpoint_of(seller))
    await subject.issue(seller, 2)
    await subject.queue.fan_out(batches_max=10)
    claimed = await subject.queue.claim(endpoint.endpoint_key, owner="a", items_max=2, lease_ms=LEASE_MS)
    ids = [due.delivery_id for due in claimed]
    await subject.queue.release("b", ids)
    assert await subject.queue.claim(endpoint.endpoint_key, owner="b", items_max=2, lease_ms=LEASE_MS) == []
    await subject.queue.release("a", ids[:1])
    await asyncio.sleep(0.01)
    (again,) = await subject.queue.claim(endpoint.endpoint_key, owner="b", items_max=2, lease_ms=LEASE_MS)
    assert (again.delivery_id, again.attempts, again.tries) == (ids[0], 0, 0)


async def test_what_waits_for_an_endpoint_that_does_not_recover_is_given_up(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    failing = await subject.store.create_endpoint(endpoint_of(seller))
    await subject.store.create_endpoint(endpoint_of(seller))  # works: what waits for it is not late
    await subject.issue(seller, 3)
    await subject.queue.fan_out(batches_max=10)
    (due,) = await subject.queue.claim(failing.endpoint_key, owner="a", items_max=1, lease_ms=LEASE_MS)
    await subject.queue.finish("a", [outcome(due, delivered=False, due_at_us=now_us() + 10**9)])
    await asyncio.sleep(0.05)
    assert await subject.queue.give_up(failures_min=2, due_for_ms=20, items_max=10) == 0
    assert await subject.queue.give_up(failures_min=1, due_for_ms=3_600_000, items_max=10) == 0
    assert await subject.queue.give_up(failures_min=1, due_for_ms=20, items_max=1) == 1
    assert await subject.queue.give_up(failures_min=1, due_for_ms=20, items_max=10) == 1
    own = [item for item in await all_of(subject, seller) if item.endpoint_id == failing.endpoint_id]
    states = {item.delivery_id: item.state for item in own}
    assert states.pop(due.delivery_id) is DeliveryState.PENDING  # its next try is still to come
    assert set(states.values()) == {DeliveryState.FAILED}
    (attempt,) = await subject.store.attempts(next(iter(states)))
    assert (attempt.delivered, attempt.detail.startswith("given up")) == (False, True)


async def test_an_endpoint_keeps_its_formats_in_their_order(subject: DeliverySubject) -> None:
    seller = await subject.seller()
    wanted = dataclasses.replace(endpoint_of(seller, kind=EndpointKind.EMAIL), formats=("ofd", "pdf"))
    made = await subject.store.create_endpoint(wanted)
    assert made.formats == ("ofd", "pdf")
    plain = await subject.store.create_endpoint(endpoint_of(seller))
    assert plain.formats == ()
