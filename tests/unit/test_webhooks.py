"""Signatures as an outside implementation reads them, the retry schedule, the guard, and what follows an attempt."""

from __future__ import annotations

import ipaddress
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from core.domain import webhooks
from core.domain.destinations import Guard, email_fault, url_fault
from core.storage.delivery_port import DeliveryState, Due, EndpointState, Facts
from tests.contract.delivery_subjects import endpoint_of
from tests.support.issuing import TestSeller
from workers.attempts import CIRCUIT_FAILURES, Answer, Policy

BODY = '{"名":"值"}'.encode()
OLD, NEW, FOREIGN = bytes(range(32)), bytes(range(1, 33)), bytes(32)


def signed(*secrets: bytes) -> dict[str, str]:
    return webhooks.headers(secrets, message_id="dlv_1", timestamp_s=int(time.time()), body=BODY)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_an_outside_implementation_verifies_with_either_secret_of_a_rotation(secret: bytes) -> None:
    assert Webhook(webhooks.secret_text(secret)).verify(BODY, signed(NEW, OLD)) == {"名": "值"}


def test_an_outside_implementation_refuses_another_secret_body_and_time() -> None:
    head = signed(NEW)
    for secret, body, headers in (
        (FOREIGN, BODY, head),
        (NEW, BODY + b" ", head),
        (NEW, BODY, head | {"webhook-id": "dlv_2"}),
        (NEW, BODY, head | {"webhook-timestamp": str(int(time.time()) - 5)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(webhooks.secret_text(secret)).verify(body, headers)


def test_secrets_are_read_back_and_nonsense_is_refused() -> None:
    assert webhooks.secret_of(webhooks.secret_text(OLD)) == OLD
    with pytest.raises(ValueError, match="not a webhook secret"):
        webhooks.secret_of("whsec_?")


def test_the_schedule_is_the_specifications_with_jitter_on_top() -> None:
    assert sum(webhooks.SCHEDULE_MS) == ((75 * 60 + 35) * 60 + 5) * 1_000
    least = [webhooks.retry_delay_ms(place, below=lambda n: 0) for place in range(1, 11)]
    most = [webhooks.retry_delay_ms(place, below=lambda n: n - 1) for place in range(1, 11)]
    assert least == [*webhooks.SCHEDULE_MS, None]
    assert most == [*(delay * 120 // 100 for delay in webhooks.SCHEDULE_MS), None]


def test_retry_after_lengthens_a_delay_and_never_shortens_it() -> None:
    def delay(tries: int, asked_ms: int) -> int | None:
        return webhooks.retry_delay_ms(tries, below=lambda n: 0, retry_after_ms=asked_ms)

    assert delay(1, 60_000) == 60_000
    assert delay(3, 60_000) == 1_800_000
    assert delay(1, 10**9) == webhooks.RETRY_AFTER_MAX_MS


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "localhost", ""),
    ],
)
def test_private_local_and_metadata_addresses_are_refused(address: str) -> None:
    assert not Guard().allows(address)


def test_public_addresses_and_allowed_networks_pass() -> None:
    assert Guard().allows("93.184.215.14")
    assert Guard().allows("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    inside = Guard([ipaddress.ip_network("10.0.0.0/8")])
    assert inside.allows("10.1.2.3")
    assert not inside.allows("127.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        *("", "http://example.com/", "ftp://example.com/", "https://", "https://user@example.com/", "https://a b/"),
        *("https://example.com/#x", "https://127.0.0.1/", "https://[::1]/", "https://127.1/", "https://0x7f.1/"),
        *("https://2130706433/", "https://example.com:0/", "https://example.com:99999/", "https://exa\nmple.com/"),
        *("https://example.com\\@127.0.0.1/", "https://" + "a" * 1_000, "https://[::ffff:10.0.0.1]/"),
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    assert url_fault(url, allow_http=False, guard=Guard())


def test_urls_and_addresses_that_are_taken() -> None:
    assert not url_fault("https://example.com:8443/hooks?id=1", allow_http=False, guard=Guard())
    local = Guard([ipaddress.ip_network("127.0.0.0/8")])
    assert not url_fault("http://127.0.0.1:9/", allow_http=True, guard=local)
    assert not email_fault("a.b+c@example.com")
    for address in ("", "a", "a@", "@b", "a@b\r\nBcc: c@d", "a b@c", "a@b@c", "a" * 65 + "@b"):
        assert email_fault(address)


def due(*, tries: int = 0, failures: int = 0) -> Due:
    endpoint = endpoint_of(TestSeller(seller_key=1, tax_id=""))
    object.__setattr__(endpoint, "failures", failures)
    facts = Facts(
        number="1" * 20,
        seller_id="s",
        seller_name="卖方",
        request_id="r",
        kind=2,
        color=1,
        issued_at_us=1,
        net_total_minor=1,
        tax_total_minor=1,
        gross_total_minor=2,
        buyer_tax_id="",
        body_sha256=bytes(32),
    )
    assert endpoint.state is EndpointState.ACTIVE
    return Due(delivery_id=7, endpoint=endpoint, attempts=tries, tries=tries, facts=facts)


POLICY = Policy(below=lambda n: 0)
FAILED = Answer(delivered=False, code=500, detail="x" * 500)


def test_a_failure_is_tried_again_until_the_schedule_ends() -> None:
    first = POLICY.outcome(due(), FAILED, began_us=1_000, now_us=2_000)
    assert (first.state, first.due_at_us, first.open_until_us) == (DeliveryState.PENDING, 5_002_000, 0)
    assert (first.attempt.attempt, first.attempt.duration_us, len(first.attempt.detail)) == (1, 1_000, 200)
    last = POLICY.outcome(due(tries=len(webhooks.SCHEDULE_MS)), FAILED, began_us=1, now_us=2)
    assert (last.state, last.due_at_us) == (DeliveryState.FAILED, None)


def test_gone_disables_and_keeps_the_delivery_waiting() -> None:
    answer = Answer(delivered=False, code=410, detail="gone", gone=True)
    outcome = POLICY.outcome(due(), answer, began_us=1, now_us=2)
    assert outcome.disable
    assert outcome.state is DeliveryState.PENDING


def test_an_endpoint_that_keeps_failing_is_left_alone_twice_as_long_each_time_up_to_a_bound() -> None:
    pauses = [
        POLICY.outcome(due(failures=failures), FAILED, began_us=0, now_us=0).open_until_us // 1_000
        for failures in (CIRCUIT_FAILURES - 2, CIRCUIT_FAILURES - 1, CIRCUIT_FAILURES, 10**6)
    ]
    assert pauses == [0, 5_000, 10_000, 300_000]


def test_a_throttling_receiver_is_left_alone_for_as_long_as_it_asks() -> None:
    answer = Answer(delivered=False, code=429, detail="", throttled=True, retry_after_ms=30_000)
    assert POLICY.outcome(due(), answer, began_us=0, now_us=0).open_until_us == 30_000_000


def test_what_is_away_here_is_waited_for_without_using_up_tries_or_pausing_the_endpoint() -> None:
    answer = Answer(delivered=False, code=0, detail="away", postponed=True)
    first = POLICY.outcome(due(failures=100), answer, began_us=1, now_us=2)
    assert (first.state, first.counts, first.open_until_us) == (DeliveryState.PENDING, False, 0)
    late = due(tries=len(webhooks.SCHEDULE_MS))
    delays = []
    for attempts in range(30):
        object.__setattr__(late, "attempts", late.tries + attempts)
        outcome = POLICY.outcome(late, answer, began_us=1, now_us=2)
        assert outcome.state is DeliveryState.PENDING
        assert outcome.due_at_us is not None
        delays.append(outcome.due_at_us // 1_000_000)
    assert delays[:4] == [10, 20, 40, 80]
    assert delays[-1] == 1_800
