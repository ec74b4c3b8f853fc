"""The pure parts of the SDK: frames, backoff, budget, settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import billow
from billow._call import Caller
from billow._config import Target
from billow._frames import ItemFramer, varint
from billow._retry import RetryBudget, backoff_s
from billow.issuance.v1 import issuance_pb2
from billow.verification.v1 import verification_pb2


def requests(sizes: list[int]) -> list[issuance_pb2.IssueInvoiceRequest]:
    return [
        issuance_pb2.IssueInvoiceRequest(seller_id=f"s{n}", invoice=billow.Invoice(remark="记" * size))
        for n, size in enumerate(sizes)
    ]


@given(st.lists(st.sampled_from([0, 1, 40, 60, 5_000, 6_000, 30_000]), max_size=6), st.integers(0, 2**62))
def test_frames_are_what_protobuf_would_send(sizes: list[int], sequence: int) -> None:
    items = requests(sizes)
    serialized = [item.SerializeToString() for item in items]
    stream = issuance_pb2.StreamIssueInvoicesRequest(sequence=sequence, requests=items)
    batch = issuance_pb2.BatchIssueInvoicesRequest(requests=items)
    assert ItemFramer(field=2).frame(serialized, sequence=sequence) == stream.SerializeToString()
    assert ItemFramer(field=1).frame(serialized) == batch.SerializeToString()


def test_checks_are_framed_the_same_way() -> None:
    checks = [billow.InvoiceCheck(number="1" * 20, issue_date=20260131, gross_total_minor=0)] * 3
    expected = verification_pb2.StreamVerifyInvoicesRequest(sequence=7, checks=checks).SerializeToString()
    assert ItemFramer(field=2).frame([c.SerializeToString() for c in checks], sequence=7) == expected


@pytest.mark.parametrize(("value", "wire"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")])
def test_varints(value: int, wire: bytes) -> None:
    assert varint(value) == wire


@given(st.integers(1, 1_000), st.integers(0, 10_000), st.floats(0, 1))
def test_the_wait_is_the_servers_plus_full_jitter_below_the_bound(attempt: int, asked_ms: int, luck: float) -> None:
    policy = billow.RetryPolicy(backoff_first_ms=100, backoff_max_ms=5_000)
    bound_ms = min(5_000, 100 * 2 ** (attempt - 1))
    wait_s = backoff_s(policy, attempt=attempt, retry_delay_ms=asked_ms, random=lambda: luck)
    assert wait_s == pytest.approx((asked_ms + luck * bound_ms) / 1_000)


def test_the_budget_stops_at_half_and_successes_fill_it_again() -> None:
    budget = RetryBudget(billow.RetryPolicy(budget_tokens=10, budget_refill=0.5))
    assert [budget.failed() for _ in range(7)] == [True] * 4 + [False] * 3
    for _ in range(8):
        budget.succeeded()
    assert budget.failed()
    for _ in range(1_000):
        budget.succeeded()
    assert [budget.failed() for _ in range(5)] == [True] * 4 + [False]


async def test_a_stream_slows_down_once_its_budget_is_used_up_and_calls_keep_theirs() -> None:
    policy = billow.RetryPolicy(budget_tokens=4, budget_refill=1.0, backoff_first_ms=1, backoff_max_ms=5_000)
    caller = Caller(target=Target(address="localhost:1"), policy=policy, random=lambda: 0.0)
    waits = [caller.stream_backoff_s(attempt=1, retry_delay_ms=70) for _ in range(3)]
    assert waits == [0.07, 5.0, 5.0]
    for _ in range(4):
        caller.stream_answered()
    assert caller.stream_backoff_s(attempt=1, retry_delay_ms=70) == 0.07
    assert caller.stream_backoff_s(attempt=1, retry_delay_ms=9_000) == 9.0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: billow.Timeouts(call_s=0), "call_s"),
        (lambda: billow.Timeouts(answer_s=-1), "answer_s"),
        (lambda: billow.RetryPolicy(attempts_max=0), "attempts_max"),
        (lambda: billow.RetryPolicy(backoff_first_ms=10, backoff_max_ms=5), "backoff_first_ms"),
        (lambda: billow.RetryPolicy(budget_refill=2), "budget_refill"),
        (lambda: billow.Keepalive(interval_ms=10), "interval_ms"),
        (lambda: billow.TLS(client_certificate=b"x"), "client_key"),
        (lambda: billow.Target(address=""), "address"),
        (lambda: billow.Target(address="a:1", api_key="bk_\n"), "api_key"),
        (lambda: billow.Target(address="a:1", api_key="密钥"), "api_key"),
        (lambda: billow.Target(address="a:1", api_key=""), "api_key"),
    ],
)
def test_impossible_settings_are_refused_by_name(make: object, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        make()  # type: ignore[operator]


def test_secrets_do_not_show() -> None:
    target = billow.Target(
        address="a:1", api_key="bk_secret", tls=billow.TLS(client_certificate=b"c", client_key=b"private")
    )
    assert "bk_secret" not in repr(target)
    assert "private" not in repr(target)
