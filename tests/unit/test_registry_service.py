"""The registry's rules: every fault told, nothing of another tenant touched (P8, P11)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from core.domain.errors import BillowError, Reason
from core.domain.parties import Party
from core.storage.memory.registry import MemoryRegistryStore
from server.services.auth import Caller, KeyAuthenticator
from server.services.registry import RegistryService
from server.services.sellers import SellerDirectory
from tests.support.invoices import tax_id
from tests.support.lost_replies import LostReplies

PARTY = Party(name="卖方", tax_id=tax_id(1))
FIRST, LAST = "26310000000000000000", "26310000000000000999"


WAIT_MS = 60_000


class Bench:
    def __init__(self, *, losing: Sequence[str] = ()) -> None:
        self.store: Any = LostReplies(MemoryRegistryStore(), *losing)
        sellers = SellerDirectory(store=self.store, wait_max_ms=0)
        self.now_us = 0
        self.service = RegistryService(store=self.store, sellers=sellers, now_us=self.next_moment, wait_max_ms=WAIT_MS)
        self.authenticator = KeyAuthenticator(store=self.store, wait_max_ms=0)

    def next_moment(self) -> int:
        """The clock: another moment each time, as for real calls."""
        self.now_us += 1
        return self.now_us

    async def tenant(self, tenant_id: str, *scopes: str) -> Caller:
        """Creates a tenant and returns a caller of it."""
        tenant = await self.service.create_tenant(tenant_id=tenant_id, display_name="")
        return Caller(tenant.tenant_key, tenant_id, frozenset(scopes or {"registry"}), "00" * 8)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def refusal(call: Awaitable[object]) -> BillowError:
    with pytest.raises(BillowError) as error:
        await call
    return error.value


def faults(error: BillowError) -> list[tuple[str, str]]:
    assert error.reason is Reason.INVALID_REQUEST
    return [(item.field, item.rule) for item in error.violations]


@pytest.mark.parametrize("tenant_id", ["-a", "A", "a_b", "a" * 64, "é", "a\n", "a\0"])
async def test_bad_ids_are_refused(bench: Bench, tenant_id: str) -> None:
    error = await refusal(bench.service.create_tenant(tenant_id=tenant_id, display_name="x" * 101))
    assert faults(error) == [("tenant_id", "ID_FORM"), ("display_name", "TOO_LONG")]
    assert (await bench.service.list_tenants(page_size=0, page_token="")).items == []


async def test_what_was_created_though_the_reply_was_lost_is_created_once() -> None:
    bench = Bench(losing=("create_tenant", "create_api_key", "create_seller", "add_number_range"))
    caller = await bench.tenant("acme")
    key, secret = await bench.service.create_api_key(caller, tenant_id="", scopes=["registry"], display_name="")
    assert (await bench.authenticator.caller(f"Bearer {secret}")).key_id == key.key_id
    assert (await bench.service.list_api_keys(caller, page_size=0, page_token="")).items == [key]
    seller = await bench.service.create_seller(caller, seller_id="shop", party=PARTY, profile="")
    assert (await bench.service.list_sellers(caller, page_size=0, page_token="")).items == [seller]
    added = await bench.service.add_number_range(caller, seller_id="shop", kind=2, first_number=FIRST, last_number=LAST)
    ranges = await bench.service.list_number_ranges(caller, seller_id="shop", page_size=0, page_token="")
    assert ranges.items == [added]
    assert bench.store.all_lost()


async def test_a_new_key_works_and_shows_its_secret_once(bench: Bench) -> None:
    caller = await bench.tenant("acme", "registry", "issue")
    key, secret = await bench.service.create_api_key(
        caller, tenant_id="", scopes=["issue", "issue"], display_name="till"
    )
    assert re.fullmatch(r"bk_[A-Za-z0-9_-]{43}", secret)
    assert re.fullmatch(r"[0-9a-f]{16}", key.key_id)
    found = await bench.authenticator.caller(f"Bearer {secret}")
    assert found == Caller(caller.tenant_key, "acme", frozenset({"issue"}), key.key_id)
    assert (await bench.service.list_api_keys(caller, page_size=0, page_token="")).items == [key]
    other, other_secret = await bench.service.create_api_key(
        caller, tenant_id="acme", scopes=["issue"], display_name=""
    )
    assert other_secret != secret
    assert other.key_id != key.key_id


async def test_nobody_gives_more_than_it_has(bench: Bench) -> None:
    caller = await bench.tenant("acme", "registry", "issue")
    await bench.tenant("other")
    for scopes in (["verify"], ["issue", "platform"]):
        error = await refusal(bench.service.create_api_key(caller, tenant_id="", scopes=scopes, display_name=""))
        assert error.reason is Reason.SCOPE_MISSING
        assert error.metadata == {"scope": scopes[-1]}
    for tenant_id in ("other", "absent"):
        error = await refusal(
            bench.service.create_api_key(caller, tenant_id=tenant_id, scopes=["issue"], display_name="")
        )
        assert (error.reason, error.metadata) == (Reason.SCOPE_MISSING, {"scope": "platform"})


async def test_the_platform_gives_keys_to_every_tenant(bench: Bench) -> None:
    platform = await bench.tenant("platform", "platform")
    other = await bench.tenant("other")
    key, _ = await bench.service.create_api_key(platform, tenant_id="other", scopes=["registry"], display_name="")
    assert key.tenant_key == other.tenant_key
    error = await refusal(bench.service.create_api_key(platform, tenant_id="absent", scopes=["issue"], display_name=""))
    assert (error.reason, error.metadata) == (Reason.TENANT_NOT_FOUND, {"tenant_id": "absent"})


async def test_every_fault_of_a_key_is_told(bench: Bench) -> None:
    caller = await bench.tenant("acme")
    error = await refusal(
        bench.service.create_api_key(caller, tenant_id="_", scopes=["issue", "root"], display_name="x" * 101)
    )
    assert faults(error) == [("tenant_id", "ID_FORM"), ("scopes[1]", "SCOPE_UNKNOWN"), ("display_name", "TOO_LONG")]
    error = await refusal(bench.service.create_api_key(caller, tenant_id="", scopes=[], display_name=""))
    assert faults(error) == [("scopes", "SCOPES_REQUIRED")]


async def test_only_its_tenant_revokes_a_key(bench: Bench) -> None:
    caller, stranger = await bench.tenant("acme", "registry", "issue"), await bench.tenant("other")
    key, secret = await bench.service.create_api_key(caller, tenant_id="", scopes=["issue"], display_name="")
    for who, key_id in ((stranger, key.key_id), (caller, "0" * 16), (caller, "nonsense'\0"), (caller, "")):
        error = await refusal(bench.service.revoke_api_key(who, key_id=key_id))
        assert (error.reason, error.metadata) == (Reason.API_KEY_NOT_FOUND, {"key_id": key_id})
    await bench.authenticator.caller(f"Bearer {secret}")
    revoked = await bench.service.revoke_api_key(caller, key_id=key.key_id)
    assert revoked.revoked_at_us == bench.now_us
    assert await bench.service.revoke_api_key(caller, key_id=key.key_id) == revoked
    error = await refusal(KeyAuthenticator(store=bench.store, wait_max_ms=0).caller(f"Bearer {secret}"))
    assert error.reason is Reason.API_KEY_INVALID


async def test_every_fault_of_a_seller_is_told(bench: Bench) -> None:
    caller = await bench.tenant("acme")
    party = Party(name="", tax_id=tax_id(1)[:-1] + "I", address="x" * 101, phone="1" * 41, bank_name="b" * 101)
    party = replace(party, bank_account="1" * 51)
    error = await refusal(bench.service.create_seller(caller, seller_id="", party=party, profile="xx"))
    assert faults(error) == [
        ("seller_id", "REQUIRED"),
        ("party.name", "REQUIRED"),
        ("party.address", "TOO_LONG"),
        ("party.phone", "TOO_LONG"),
        ("party.bank_name", "TOO_LONG"),
        ("party.bank_account", "TOO_LONG"),
        ("party.tax_id", "TAX_ID_FORM"),
        ("profile", "PROFILE_UNKNOWN"),
    ]
    error = await refusal(
        bench.service.create_seller(caller, seller_id="a", party=replace(PARTY, tax_id=""), profile="")
    )
    assert faults(error) == [("party.tax_id", "REQUIRED")]
    assert (await bench.service.list_sellers(caller, page_size=0, page_token="")).items == []


async def test_a_wrong_check_character_is_told_apart(bench: Bench) -> None:
    caller = await bench.tenant("acme")
    good = tax_id(1)
    wrong = good[:-1] + ("0" if good[-1] != "0" else "1")
    error = await refusal(
        bench.service.create_seller(caller, seller_id="a", party=replace(PARTY, tax_id=wrong), profile="")
    )
    assert faults(error) == [("party.tax_id", "TAX_ID_CHECK_CHARACTER")]


async def test_another_tenants_seller_looks_unknown(bench: Bench) -> None:
    caller, stranger = await bench.tenant("acme"), await bench.tenant("other")
    seller = await bench.service.create_seller(caller, seller_id="shop", party=PARTY, profile="")
    assert (seller.profile, seller.tenant_key) == ("cn", caller.tenant_key)
    assert await bench.service.get_seller(caller, seller_id="shop") == seller
    for call in (
        bench.service.get_seller(stranger, seller_id="shop"),
        bench.service.add_number_range(stranger, seller_id="shop", kind=2, first_number=FIRST, last_number=LAST),
        bench.service.list_number_ranges(stranger, seller_id="shop", page_size=0, page_token=""),
    ):
        error = await refusal(call)
        assert (error.reason, error.metadata) == (Reason.SELLER_NOT_FOUND, {"seller_id": "shop"})
    assert (await bench.service.list_sellers(stranger, page_size=0, page_token="")).items == []


@pytest.mark.parametrize(
    ("kind", "first", "last", "wanted"),
    [
        (
            0,
            "1",
            "x" * 20,
            [("kind", "KIND_REQUIRED"), ("first_number", "NUMBER_FORM"), ("last_number", "NUMBER_FORM")],
        ),
        (3, FIRST, LAST, [("kind", "KIND_REQUIRED")]),
        (2, LAST, FIRST, [("last_number", "RANGE_ORDER")]),
        (2, "26310" + "9" * 15, "26311" + "0" * 15, [("last_number", "RANGE_HEAD")]),
        (2, "１" * 20, LAST, [("first_number", "NUMBER_FORM")]),
    ],
)
async def test_every_fault_of_a_range_is_told(
    bench: Bench, kind: int, first: str, last: str, wanted: list[tuple[str, str]]
) -> None:
    caller = await bench.tenant("acme")
    await bench.service.create_seller(caller, seller_id="shop", party=PARTY, profile="")
    call = bench.service.add_number_range(caller, seller_id="shop", kind=kind, first_number=first, last_number=last)
    assert faults(await refusal(call)) == wanted
    assert (await bench.service.list_number_ranges(caller, seller_id="shop", page_size=0, page_token="")).items == []


async def test_ranges_of_one_number_and_of_all_numbers_are_lawful(bench: Bench) -> None:
    caller = await bench.tenant("acme")
    await bench.service.create_seller(caller, seller_id="shop", party=PARTY, profile="")
    for first, last in ((FIRST, FIRST), ("26320" + "0" * 15, "26320" + "9" * 15)):
        added = await bench.service.add_number_range(
            caller, seller_id="shop", kind=1, first_number=first, last_number=last
        )
        assert (added.first_number, added.last_number, added.used, added.created_at_us) == (
            first,
            last,
            0,
            bench.now_us,
        )


async def test_listings_go_on_page_by_page(bench: Bench) -> None:
    caller = await bench.tenant("acme")
    names = [f"shop-{letter}" for letter in "abcde"]
    for name in names:
        await bench.service.create_seller(caller, seller_id=name, party=PARTY, profile="")
    seen, token = [], ""
    while True:
        page = await bench.service.list_sellers(caller, page_size=2, page_token=token)
        seen += [seller.seller_id for seller in page.items]
        token = page.next_page_token
        if not token:
            break
    assert seen == names
