"""Admission: what is refused, why, and what the refusal says; a clock that the tests turn."""

from __future__ import annotations

import pytest

from core import limits
from core.domain.errors import BillowError, Reason
from server.admission import RETRY_FIRST_MS, RETRY_MAX_MS, Admission, Standing, retry_delay_ms

GREEDY, MODEST, THIRD = 1, 2, 3


class Metrics:
    """Notes what is refused."""

    def __init__(self) -> None:
        self.why: list[str] = []
        self.items = 0

    def refused(self, lane: str, why: str, items: int) -> None:
        self.why.append(why)
        self.items += items

    def dropped(self, lane: str, items: int) -> None: ...

    def estimated(self, lane: str, wait_s: float) -> None: ...


class Door:
    """An admission of 1,000 items with a wait of 2 s that may stay, and its clock."""

    def __init__(self, items_max: int = 1_000, commit_items: int = 0) -> None:
        self.now_s = 100.0
        self.metrics = Metrics()
        self.admission = Admission(
            lane="bulk",
            items_max=items_max,
            delay_ms=2_000,
            commit_items=commit_items,
            metrics=self.metrics,
            clock=lambda: self.now_s,
            draw=lambda: 0.5,
        )

    def admit(self, items: int, tenant: int = GREEDY, *, within_s: float | None = None) -> None:
        deadline_s = None if within_s is None else self.now_s + within_s
        self.admission.admit(items, tenant_key=tenant, deadline_s=deadline_s)

    def commit(self, items: int, after_s: float, tenant: int = GREEDY) -> None:
        self.now_s += after_s
        self.admission.answered(tenant, items)
        self.admission.committed(items)

    def refusal(self, items: int, tenant: int = GREEDY, *, within_s: float | None = None) -> BillowError:
        with pytest.raises(BillowError) as refused:
            self.admit(items, tenant, within_s=within_s)
        return refused.value


def test_a_refusal_names_the_lane_and_when_to_come_back() -> None:
    door = Door()
    door.admit(600)
    error = door.refusal(401, MODEST)
    assert error.reason is Reason.OVERLOADED
    assert error.metadata == {"lane": "bulk"}
    assert error.retry_delay_ms == RETRY_FIRST_MS * 1.5
    assert door.metrics.why == ["full"]
    assert door.admission.items == 600, "nothing was taken"


def test_a_greedy_tenant_leaves_a_third_and_is_refused_first() -> None:
    door = Door()
    for _ in range(7):
        door.admit(100)
    door.refusal(100)
    assert door.metrics.why == ["share"]
    door.admit(200, MODEST)
    door.admit(20, THIRD)
    door.refusal(1)
    assert door.metrics.why == ["share", "share"], "its share shrank, since others wait"
    door.admit(20, THIRD)


def test_a_new_tenant_finds_room_beside_greedy_ones() -> None:
    door = Door()
    for tenant in (GREEDY, THIRD):
        try:
            while True:
                door.admit(10, tenant)
        except BillowError:
            continue
    assert set(door.metrics.why) == {"share"}
    door.admit(10, MODEST)


def test_room_that_was_not_used_is_given_back() -> None:
    door = Door(items_max=10)
    with door.admission.admit(8, tenant_key=GREEDY, deadline_s=None) as place:
        place.items -= 3  # these went into the queue
    assert door.admission.items == 3
    door.admission.answered(GREEDY, 3)
    door.admit(10, GREEDY)


def test_nothing_is_refused_for_its_deadline_while_the_rate_is_unknown() -> None:
    door = Door()
    door.admit(500)
    door.admit(100, MODEST, within_s=0.001)


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    door = Door()
    door.admit(600)
    door.commit(100, 0.5)  # 5 ms an item, 500 left: 2.5 s
    assert door.admission.wait_s() == pytest.approx(2.5)
    error = door.refusal(1, MODEST, within_s=2.5 * limits.DEADLINE_WAITS - 0.1)
    assert door.metrics.why == ["deadline"]
    assert error.retry_delay_ms == 2_500 * 1.5
    door.admit(1, MODEST, within_s=2.5 * limits.DEADLINE_WAITS + 0.1)


def test_a_modest_tenants_wait_is_not_the_greedy_ones() -> None:
    door = Door(items_max=20_000)
    door.admit(8_500)
    door.commit(500, 0.5)  # 1 ms an item, 8,000 left
    own_s = (2 * limits.TURN_ITEMS + limits.COMMIT_ITEMS_MAX) / 1_000
    door.refusal(100, GREEDY, within_s=8 * limits.DEADLINE_WAITS)
    door.admit(20, MODEST, within_s=own_s * limits.DEADLINE_WAITS + 0.1)
    door.refusal(20, THIRD, within_s=own_s * limits.DEADLINE_WAITS)
    assert door.metrics.why == ["deadline", "deadline"]


def test_few_items_in_a_quiet_lane_tell_nothing_of_the_rate() -> None:
    door = Door()
    door.admit(1)
    door.commit(1, 0.9)
    door.admit(500)
    assert door.admission.wait_s() == 0


def test_a_failover_is_no_overload() -> None:
    door = Door()
    door.admit(600)
    for _ in range(3):
        door.commit(100, 0.1)
        door.admit(100)
    door.now_s += 10  # the primary is away: nothing moves, and whoever comes within its deadline waits
    for _ in range(5):
        door.admit(10, MODEST, within_s=5)
        door.now_s += 0.5
    door.commit(100, 0.1)
    assert door.admission.wait_s() < 1, "one slow commit does not change the rate"
    door.admit(10, MODEST, within_s=5)
    assert door.metrics.why == []


def test_a_failover_in_the_first_commit_of_a_process_is_no_rate() -> None:
    door = Door()
    door.admit(1)
    door.admit(60)  # come while the primary is away
    door.commit(1, 4.5)
    assert door.admission.wait_s() == 0
    door.commit(30, 0.01)
    assert door.admission.wait_s() == pytest.approx(0.01)


def test_commits_that_take_long_one_after_the_other_are_the_rate() -> None:
    door = Door()
    door.admit(500)
    door.commit(100, 2.0)
    assert door.admission.wait_s() == 0
    door.commit(100, 2.0)
    assert door.admission.wait_s() == pytest.approx(300 * 0.02)
    door.refusal(1, MODEST, within_s=3)


def test_a_lane_that_is_worked_off_at_once_was_thought_too_slow() -> None:
    door = Door()
    for items, after_s in ((100, 0.9), (100, 0.9), (300, 0.003)):
        door.admit(500 - door.admission.items)
        door.commit(items, after_s)
    assert door.admission.wait_s() == pytest.approx(200 * 0.009), "as slow as most were"
    for _ in range(3):  # all that waits goes at once: no backlog, and yet so much faster
        door.admit(10)
        door.commit(door.admission.items, 0.005)
    door.admit(100)
    assert door.admission.wait_s() < 0.1


def test_small_commits_are_no_slow_store() -> None:
    door = Door(items_max=20_000, commit_items=limits.BULK_COMMIT_ITEMS)
    door.admit(1)
    for _ in range(10):  # one after the other, while another one waits: 10 ms each
        door.admit(1)
        door.commit(1, 0.010)
    door.admit(1_000, MODEST, within_s=1.0)  # by items alone these would take 10 s
    assert door.metrics.why == []
    assert door.admission.wait_s() == pytest.approx(0.109, abs=0.001)


def test_large_commits_tell_nearly_the_same_with_or_without_what_a_commit_costs() -> None:
    waits = []
    for commit_items in (0, limits.BULK_COMMIT_ITEMS):
        door = Door(items_max=20_000, commit_items=commit_items)
        door.admit(12_000)
        door.commit(1_000, 0.1)
        waits.append(door.admission.wait_s())
    assert waits[0] == pytest.approx(1.1)
    assert waits[0] * 0.9 < waits[1] < waits[0]


def test_a_delay_that_stays_is_refused_and_one_that_passes_is_not() -> None:
    door = Door(items_max=10_000)
    door.admit(3_000)
    door.commit(100, 0.1)  # 1 ms an item: 2.9 s
    door.admit(100)
    for _ in range(9):
        door.commit(100, 0.1)
        door.admit(100)
    assert door.metrics.why == [], "it has not stayed yet"
    door.commit(100, 0.2)
    door.admit(1, MODEST)  # its own wait is short
    door.refusal(1)
    assert door.metrics.why == ["delay"]
    for _ in range(10):
        door.commit(100, 0.1)
    door.admit(1)
    assert door.metrics.why == ["delay"], "below the target again"


def test_standing_begins_anew_after_one_look_below() -> None:
    delay = Standing(target_s=0.1, interval_s=1.0)
    assert not delay.look(0.0, 60.0), "a process that was stopped is late once"
    assert not delay.look(0.5, 0.05)
    assert not delay.look(0.6, 0.2)
    assert not delay.look(1.5, 0.2)
    assert delay.look(1.6, 0.2)
    assert not delay.look(1.7, 0.1)


@pytest.mark.parametrize(("draw", "backlog_s", "most"), [(0.0, 0.0, RETRY_FIRST_MS), (1.0, 1_000.0, RETRY_MAX_MS)])
def test_retry_delays_grow_with_the_backlog_within_bounds(draw: float, backlog_s: float, most: int) -> None:
    assert retry_delay_ms(backlog_s, lambda: draw) == most
    assert retry_delay_ms(1.0, lambda: 0.25) == 1_250


def test_the_shares_leave_room_for_a_batch_of_a_new_tenant() -> None:
    alone = limits.LANE_ITEMS_MAX * limits.TENANT_FREE_TIMES // (limits.TENANT_FREE_TIMES + 1)
    assert limits.LANE_ITEMS_MAX - alone >= limits.BATCH_ITEMS_MAX


def test_room_can_be_asked_for_without_taking_it() -> None:
    door = Door()
    door.admission.require_room(1, tenant_key=GREEDY, deadline_s=None)
    assert door.admission.items == 0
    door.admit(660)
    with pytest.raises(BillowError) as refused:
        door.admission.require_room(21, tenant_key=GREEDY, deadline_s=None, count=lambda: 500)
    assert door.metrics.items == 500
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.metadata == {"lane": "bulk"}
    door.admission.require_room(1, tenant_key=MODEST, deadline_s=None)
    assert door.admission.items == 660
