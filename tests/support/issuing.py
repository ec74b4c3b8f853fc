"""Issues test invoices straight through an issuing store: a tenant, sellers with ranges, drafts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from billow.types.v1.invoice_pb2 import Party
from core.domain.body import seller_part
from core.domain.kinds import InvoiceKind
from core.storage.mysql.pool import Primary
from core.storage.ports import Draft, Issued, IssuingStore
from tests.support.invoices import good_invoice, tax_id

LINE_NET, LINE_TAX = 10_000, 1_300  # of good_invoice


@dataclass(frozen=True, slots=True)
class TestSeller:
    """A seller as drafts need it."""

    __test__ = False

    seller_key: int
    tax_id: str

    def draft(self, request_id: str, *, lines: int = 3, serial: int = 1) -> Draft:
        """A general invoice, validated and completed."""
        invoice = good_invoice(lines, serial=serial)
        net, tax = LINE_NET * lines, LINE_TAX * lines
        invoice.currency = "CNY"
        invoice.net_total_minor, invoice.tax_total_minor, invoice.gross_total_minor = net, tax, net + tax
        request = invoice.SerializeToString(deterministic=True)
        party = Party(name=f"卖方{self.seller_key}", tax_id=self.tax_id).SerializeToString(deterministic=True)
        return Draft(
            seller_key=self.seller_key,
            kind=int(InvoiceKind.GENERAL),
            request_id=request_id,
            request_sha256=hashlib.sha256(request).digest(),
            net_total_minor=net,
            tax_total_minor=tax,
            gross_total_minor=net + tax,
            buyer_tax_id=invoice.buyer.tax_id,
            prepared=request + seller_part(party),
        )


class TestIssuer:
    """Registers sellers by SQL and issues through `store`. Numbers and ids are new with every call."""

    __test__ = False

    def __init__(self, *, primary: Primary, store: IssuingStore) -> None:
        self.primary = primary
        self.store = store
        self._serials = count(1)

    async def seller(self, *, ranges: Sequence[int] = (1_000_000,)) -> TestSeller:
        """Registers a seller of a tenant of its own, with ranges of these sizes for general invoices."""
        serial = time.time_ns() // 1_000 % 10**12  # differs between runs on one database
        now_us = time.time_ns() // 1_000
        await self.primary.rows(
            "INSERT INTO tenants (tenant_id, display_name, created_at_us) VALUES (%s, 'test', %s)",
            (f"t-{serial}", now_us),
        )
        own_tax_id = tax_id(serial)
        await self.primary.rows(
            "INSERT INTO sellers (tenant_key, seller_id, profile, name, tax_id, address, phone, bank_name,"
            " bank_account, created_at_us) SELECT tenant_key, 's', 'cn', 'seller', %s, '', '', '', '', %s"
            " FROM tenants WHERE tenant_id = %s",
            (own_tax_id, now_us, f"t-{serial}"),
        )
        found = await self.primary.rows(
            "SELECT seller_key FROM sellers JOIN tenants USING (tenant_key) WHERE tenant_id = %s", (f"t-{serial}",)
        )
        seller = TestSeller(seller_key=found[0][0], tax_id=own_tax_id)
        first = 26 * 10**18 + seller.seller_key * 10**12
        for size in ranges:
            await self.primary.rows(
                "INSERT INTO number_ranges (seller_key, kind, first_number, last_number, size, created_at_us)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (
                    seller.seller_key,
                    int(InvoiceKind.GENERAL),
                    f"{first:020d}",
                    f"{first + size - 1:020d}",
                    size,
                    now_us,
                ),
            )
            first += size + 10  # ranges do not touch
        return seller

    async def issue(self, seller: TestSeller, number: int, *, lines: int = 3) -> list[Issued]:
        """Issues so many invoices in one commit; fails the test when one is refused."""
        drafts = [
            seller.draft(f"r-{serial}", lines=lines, serial=serial)
            for serial in (next(self._serials) for _ in range(number))
        ]
        issued = [answer for answer in await self.store.commit(drafts) if isinstance(answer, Issued)]
        assert len(issued) == number
        return issued
