"""The demo's last act: one invoice's whole life, told step by step with what each took."""

from __future__ import annotations

import asyncio
import hashlib
import time
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

import billow
from demo import account
from demo.mapping import made_up_tax_id

SELLER: Final = "life"
BUYER_TENANT: Final = "demo-buyer"
BUYER_SCOPES: Final = ("issue", "read", "book", "registry")
GROUP: Final = "L"  # of taxpayer ids, beside those of mapping
SELLER_TAX_ID: Final = made_up_tax_id(GROUP, 1)
BUYER_TAX_ID: Final = made_up_tax_id(GROUP, 2)
# sequences far above those of the orders' sellers
BLUE_FIRST, RED_FIRST, RANGE_NUMBERS = 900_000_000_000, 950_000_000_000, 10**9
FORMATS: Final = ("pdf", "xml", "ofd")
COLLECTED_WITHIN_S: Final = 30.0
PERIOD: Final = 202611
GROSS_MINOR: Final = 135_600
RETURNED_MINOR: Final = 22_600  # two of ten boxes


class LifeError(RuntimeError):
    """A step ended otherwise than it must; the text says how."""


@dataclass(slots=True)
class Step:
    """What happened, and how long it took."""

    name: str
    told: str = ""
    ms: float = 0.0


@dataclass(slots=True)
class Life:
    """The story. `left_minor`: what may still be red-lettered of the invoice."""

    number: str = ""
    red_number: str = ""
    state: str = ""
    left_minor: int = 0
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Times a step."""
        step = Step(name)
        began = time.perf_counter()
        yield step
        step.ms = round((time.perf_counter() - began) * 1_000, 1)
        self.steps.append(step)

    def as_dict(self) -> dict[str, Any]:
        """For the line of JSON."""
        return {
            "number": self.number,
            "red_number": self.red_number,
            "state": self.state,
            "left_minor": self.left_minor,
            "ms": {step.name: step.ms for step in self.steps},
        }


def show(console: Console, life: Life, *, audit_findings: int) -> None:
    """Prints the story; the audit is its end."""
    console.print(f"\n[bold]One invoice's whole life[/] (by command and by curl: docs/walkthrough.md): {life.number}")
    for step in life.steps:
        console.print(f"  {step.name:<10} {step.ms:>8,.1f} ms  {escape(step.told)}", highlight=False, soft_wrap=True)
    console.print(f"  {'audit':<24}{audit_findings or 'no'} findings, in this invoice and all others", highlight=False)


async def live(address: str, *, config: Path) -> Life:
    """Lets an invoice live; a new one each time. Raises LifeError, billow.BillowError, account.AccountError."""
    seller_key = await account.api_key(address, config=config)
    buyer_key = await account.api_key(address, config=config, tenant=BUYER_TENANT, scopes=BUYER_SCOPES)
    async with (
        billow.AsyncClient(address, api_key=seller_key) as seller,
        billow.AsyncClient(address, api_key=buyer_key) as buyer,
    ):
        await _ensure_seller(seller)
        await account.prove(buyer, BUYER_TAX_ID, config=config, tenant=BUYER_TENANT)
        tale = _Tale(seller=seller, buyer=buyer, serial=str(time.time_ns()))
        await tale.issued()
        await tale.documents()
        await tale.delivered()
        await tale.received()
        await tale.returned()
        await tale.checked()
        await tale.inspected()
        return tale.life


async def _ensure_seller(client: billow.AsyncClient) -> None:
    """Registers the seller and its two ranges, unless an earlier run did."""
    if SELLER not in {seller.seller_id async for seller in client.registry.list_sellers()}:
        await client.registry.create_seller(SELLER, billow.Party(name="山间茶叶有限公司", tax_id=SELLER_TAX_ID))
    known = {item.color async for item in client.registry.list_number_ranges(SELLER)}
    for color, first in ((billow.INVOICE_COLOR_BLUE, BLUE_FIRST), (billow.INVOICE_COLOR_RED, RED_FIRST)):
        if color not in known:
            await client.registry.add_number_range(
                SELLER,
                kind=billow.INVOICE_KIND_GENERAL,
                color=color,
                first_number=account.number(first),
                last_number=account.number(first + RANGE_NUMBERS - 1),
            )


class _Tale:
    """The steps, in their order. Every change has a request id made of `serial`."""

    def __init__(self, *, seller: billow.AsyncClient, buyer: billow.AsyncClient, serial: str) -> None:
        self._seller = seller
        self._buyer = buyer
        self._serial = serial
        self._issue_date = 0
        self._xml = b""
        self.life = Life()

    async def issued(self) -> None:
        """The seller issues it, and anybody sees that it is real."""
        lines = [
            billow.InvoiceLine(
                name="绿茶", category="茶叶", goods_code="103030402", unit="盒",
                quantity="10", unit_price="100", tax_rate_bp=1300,
            ),
            billow.InvoiceLine(
                name="茶壶", category="陶瓷", goods_code="107010101", quantity="1", unit_price="200", tax_rate_bp=1300
            ),
        ]  # fmt: skip
        invoice = billow.Invoice(
            kind=billow.INVOICE_KIND_GENERAL,
            buyer=billow.Party(name="望江客栈", tax_id=BUYER_TAX_ID),
            lines=lines,
        )
        with self.life.step("issue") as step:
            request = billow.IssueInvoiceRequest(seller_id=SELLER, request_id=self._serial, invoice=invoice)
            issued = await self._seller.issue(request)
            step.told = f"ten boxes of tea and a pot for 1,356.00 yuan: {issued.number}"
        self.life.number = issued.number
        moment = time.gmtime(issued.issue_time.seconds + 8 * 3_600)  # the date in Asia/Shanghai
        self._issue_date = moment.tm_year * 10_000 + moment.tm_mon * 100 + moment.tm_mday
        with self.life.step("verify") as step:
            await self._check()
            step.told = f"anybody who holds it: a match, {self.life.state}"

    async def documents(self) -> None:
        """It becomes documents, and a link by which anybody may have one."""
        with self.life.step("document") as step:
            found = await asyncio.gather(*(self._seller.documents.get(self.life.number, name) for name in FORMATS))
            self._xml = found[FORMATS.index("xml")].content
            step.told = ", ".join(f"{one.format.upper()} {len(one.content):,} bytes" for one in found)
        with self.life.step("link") as step:
            link = await self._seller.documents.link(self.life.number, "pdf")
            content = await asyncio.to_thread(_fetch, link.url)
            _require(hashlib.sha256(content).digest() == link.sha256 == found[0].sha256, "the link gave other bytes")
            step.told = "the PDF by a signed link, without a key: the same bytes"

    async def delivered(self) -> None:
        """The buyer's system fetches it from a pull queue."""
        with self.life.step("deliver") as step:
            added = await self._seller.deliveries.create_endpoint(SELLER, kind=billow.ENDPOINT_KIND_PULL)
            queue = added.endpoint.endpoint_id
            wanted = await self._seller.deliveries.deliver(self.life.number, queue)
            claimed = [item.delivery_id for item in await self._seller.deliveries.claim(queue)]
            _require(claimed == [wanted.delivery_id], f"claimed {claimed}, not {wanted.delivery_id}")
            await self._seller.deliveries.acknowledge(queue, claimed)
            await self._seller.deliveries.disable_endpoint(queue)
            step.told = f"{wanted.delivery_id} claimed from a pull queue and acknowledged"

    async def received(self) -> None:
        """The buyer finds it and enters it into its books, once."""
        with self.life.step("receive") as step:
            async with asyncio.timeout(COLLECTED_WITHIN_S):
                position = await self._position()
            whole = await self._buyer.inbox.get(self.life.number)
            step.told = f"the buyer has it at position {position}, with its {len(whole.invoice.lines)} lines"
        with self.life.step("enter") as step:
            first = await self._entered("enter")
            _require(first is None, f"not entered: {first}")
            again = await self._entered("enter again")
            _require(isinstance(again, billow.AlreadyEntered), f"entered twice: {again}")
            step.told = f"in the buyer's books of {PERIOD}; a second time is refused"

    async def _position(self) -> int:
        """Waits until the invoice has its place among those the buyer received."""
        async with aclosing(self._buyer.inbox.follow(BUYER_TAX_ID)) as following:
            async for item in following:
                if item.number == self.life.number:
                    return item.position
        raise LifeError("the buyer's inbox ended")

    async def _entered(self, request_id: str) -> billow.BillowError | None:
        (result,) = await self._buyer.entries.enter([
            billow.EnterInvoiceRequest(
                request_id=f"{self._serial} {request_id}",
                number=self.life.number,
                state=billow.ENTRY_STATE_DEDUCTIBLE,
                period=PERIOD,
            )
        ])  # fmt: skip
        return billow.error_of(result)

    async def returned(self) -> None:
        """Two boxes come back: a form, its confirmation, a red invoice."""
        selection = billow.RedSelection(
            blue_number=self.life.number,
            reason=billow.RED_REASON_GOODS_RETURNED,
            extent=billow.RED_EXTENT_LINES,
            lines=[billow.RedLine(line=1, quantity="2")],
        )
        request = billow.IssueRedInvoiceRequest(seller_id=SELLER, request_id=f"{self._serial} red", selection=selection)
        with self.life.step("form") as step:
            try:
                await self._seller.red_letter.issue(request)
            except billow.ConfirmationRequired:
                form = await self._seller.red_letter.create_confirmation(f"{self._serial} form", selection)
            else:
                raise LifeError("an entered invoice was red-lettered without a form")
            step.told = "two boxes come back; it stands in the buyer's books, so a form goes first"
        with self.life.step("confirm") as step:
            withdrawal = billow.WithdrawEntryRequest(request_id=f"{self._serial} out", number=self.life.number)
            (result,) = await self._buyer.entries.withdraw([withdrawal])
            error = billow.error_of(result)
            _require(error is None, f"not withdrawn: {error}")
            confirmed = await self._buyer.red_letter.confirm(form.confirmation_id)
            _require(confirmed.state == billow.CONFIRMATION_STATE_CONFIRMED, "the form is not confirmed")
            step.told = "the buyer takes it out of its books and confirms"
        with self.life.step("red") as step:
            request.confirmation_id = form.confirmation_id
            red = await self._seller.red_letter.issue(request)
            self.life.red_number = red.issued.number
            _require(red.issued.gross_total_minor == -RETURNED_MINOR, "the red invoice has another total")
            step.told = f"226.00 yuan taken back: {red.issued.number}"

    async def checked(self) -> None:
        """Whoever checks it now sees what has become of it and what is left."""
        with self.life.step("verify red") as step:
            await self._check()
            _require(self.life.state == "partly red", f"it is {self.life.state}")
            step.told = f"a match, {self.life.state}; more than is left is refused:"
            too_much = billow.IssueRedInvoiceRequest(
                seller_id=SELLER,
                request_id=f"{self._serial} too much",
                selection=billow.RedSelection(
                    blue_number=self.life.number,
                    reason=billow.RED_REASON_GOODS_RETURNED,
                    extent=billow.RED_EXTENT_LINES,
                    lines=[billow.RedLine(line=1, quantity="9")],
                ),
            )
            try:
                await self._seller.red_letter.issue(too_much)
            except billow.RedExceedsRemainder as error:
                step.told += f" {int(error.metadata['remaining_minor']) / 100:,.2f} of line 1"
            else:
                raise LifeError("more was taken back than was sold")

    async def inspected(self) -> None:
        """A document of it is told from a forged one."""
        with self.life.step("inspect") as step:
            genuine = await self._seller.inspection.verify_document(self._xml)
            _require(genuine.outcome == billow.INSPECTION_OUTCOME_GENUINE, "the XML is not genuine")
            forged = await self._seller.inspection.verify_document(self._xml.replace("茶壶".encode(), "银壶".encode()))
            _require(forged.outcome == billow.INSPECTION_OUTCOME_ALTERED, "a forged XML is not seen")
            paths = ", ".join(difference.path for difference in forged.differences)
            step.told = f"the XML is genuine; one with a silver pot is altered in {paths}"

    async def _check(self) -> None:
        """Verifies it as anybody may who holds it, and notes its state and what is left."""
        check = billow.InvoiceCheck(number=self.life.number, issue_date=self._issue_date, gross_total_minor=GROSS_MINOR)
        result = await self._seller.verify(check)
        _require(result.outcome == billow.VERIFICATION_OUTCOME_MATCH, "verification finds no match")
        self.life.state = (
            billow.InvoiceState.Name(result.state).removeprefix("INVOICE_STATE_").lower().replace("_", " ")
        )
        self.life.left_minor = GROSS_MINOR + result.red_total_minor


def _fetch(url: str) -> bytes:
    """Downloads a document."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 (a link that our own server made)
        content: bytes = answer.read()
    return content


def _require(holds: bool, words: str) -> None:
    """Raises LifeError when something does not hold."""
    if not holds:
        raise LifeError(words)
