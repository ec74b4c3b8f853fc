"""Creates and posts customer invoices in Tryton: runs in Tryton's own environment, without anything of Billow.

`python tryton_invoices.py CONFIG DATABASE SECONDS` prints one line of JSON. The database has account_invoice and
nothing else yet. Companies, accounts, tax and product are set up through proteus, as Tryton's own scenarios do; what
is timed goes straight to the ORM in this process, with accounts, taxes and addresses looked up beforehand, as its own
modules make invoices: no RPC and no screens. Posting queues the printing of each invoice; nobody prints them here.
"""

from __future__ import annotations

import datetime as dt
import json
import platform
import sys
import time
from decimal import Decimal
from importlib.metadata import version
from typing import Any

LINES = 3
WARM_UP = 5  # transactions
ATTEMPTS_MAX = 5  # of one transaction, each with one lock more
TAX_RATE = Decimal("0.13")
PRICE = Decimal("50.00")
QUANTITY = 2
GROSS = LINES * QUANTITY * PRICE * (1 + TAX_RATE)


def set_up(config: Any) -> dict[str, int]:
    """Makes a company with chart, open year, party, product and tax; returns the ids that an invoice names."""
    from proteus import Model  # type: ignore[import-not-found]
    from trytond.modules.account.tests import tools as account  # type: ignore[import-not-found]
    from trytond.modules.account_invoice.tests import tools as invoice  # type: ignore[import-not-found]
    from trytond.modules.company.tests import tools as company  # type: ignore[import-not-found]

    company.create_company(config=config)
    account.create_chart(config=config)
    year = account.create_fiscalyear(today=dt.date.today(), config=config)  # noqa: DTZ011 (Tryton's own day)
    invoice.set_fiscalyear_invoice_sequences(year, config=config).click("create_period")
    accounts = account.get_accounts(config=config)
    tax = account.create_tax(TAX_RATE, config=config)
    tax.save()
    for amount in ("base", "tax"):
        account.create_tax_code(tax, amount, "invoice", config=config).save()
    category = Model.get("product.category")(name="goods", accounting=True)
    category.account_revenue, category.account_expense = accounts["revenue"], accounts["expense"]
    category.customer_taxes.append(tax)
    category.save()
    (unit,) = Model.get("product.uom").find([("name", "=", "Unit")])
    template = Model.get("product.template")(name="widget", type="service", default_uom=unit, list_price=PRICE)
    template.account_category = category
    template.save()
    party = Model.get("party.party")(name="buyer")
    party.save()
    term = invoice.create_payment_term(config=config)
    term.save()
    return {
        "company": company.get_company(config=config).id,
        "party": party.id,
        "address": party.addresses[0].id,
        "product": template.products[0].id,
        "unit": unit.id,
        "tax": tax.id,
        "revenue": accounts["revenue"].id,
        "receivable": accounts["receivable"].id,
        "term": term.id,
        "journal": Model.get("account.journal").find([("type", "=", "revenue")])[0].id,
    }


def issue(ids: dict[str, int], count: int) -> None:
    """Creates and posts `count` invoices of three lines, all in the running transaction."""
    from trytond.pool import Pool  # type: ignore[import-not-found]

    invoice_model, line_model = Pool().get("account.invoice"), Pool().get("account.invoice.line")
    made = []
    for _ in range(count):
        lines = [
            line_model(
                type="line",
                company=ids["company"],
                product=ids["product"],
                account=ids["revenue"],
                unit=ids["unit"],
                quantity=QUANTITY,
                unit_price=PRICE,
                taxes=[ids["tax"]],
                description=f"widget {position}",
            )
            for position in range(LINES)
        ]
        made.append(
            invoice_model(
                type="out",
                company=ids["company"],
                party=ids["party"],
                invoice_address=ids["address"],
                account=ids["receivable"],
                journal=ids["journal"],
                payment_term=ids["term"],
                lines=lines,
            )
        )
    invoice_model.save(made)  # computes the taxes as well
    invoice_model.post(made)


def rate(database: str, user: int, context: dict[str, Any], ids: dict[str, int], count: int, seconds: float) -> Any:
    """Runs transactions of `count` invoices for so long; returns invoices, seconds and invoices a second.

    A transaction that needs a lock from its beginning says so by TransactionError and is run again with it. Tryton
    does so at every request; here it is remembered after the first.
    """
    from trytond.transaction import Transaction, TransactionError  # type: ignore[import-not-found]

    locks: dict[str, Any] = {}

    def transact() -> None:
        for _ in range(ATTEMPTS_MAX):
            with Transaction().start(database, user, context=context, **locks) as transaction:
                try:
                    return issue(ids, count)
                except TransactionError as error:
                    transaction.rollback()
                    error.fix(locks)
        raise RuntimeError(f"no transaction succeeded in {ATTEMPTS_MAX} attempts")

    for _ in range(max(1, WARM_UP // count)):
        transact()
    began = time.perf_counter()
    transactions = 0
    while time.perf_counter() - began < seconds:
        transact()
        transactions += 1
    took_s = time.perf_counter() - began
    invoices = transactions * count
    return {"invoices": invoices, "seconds": round(took_s, 3), "rate": round(invoices / took_s, 2)}


def verify(database: str, user: int, context: dict[str, Any], least: int) -> int:
    """Counts the invoices posted; raises RuntimeError when they are fewer than `least`, or one is not right."""
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    with Transaction().start(database, user, context=context, readonly=True):
        posted = Pool().get("account.invoice").search([("state", "=", "posted")])
        numbers = {one.number for one in posted}
        last = posted[0]
        if len(posted) < least or len(numbers) != len(posted) or last.total_amount != GROSS or not last.move.lines:
            raise RuntimeError(f"{len(posted)} posted, {len(numbers)} numbers, total {last.total_amount}")
        return len(posted)


def main() -> None:
    """Sets up, measures and prints."""
    from proteus import config as proteus_config

    path, database, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    config = proteus_config.set_trytond(database, config_file=path)
    ids = set_up(config)
    context = dict(config.context)
    single = rate(database, config.user, context, ids, 1, seconds)
    hundred = rate(database, config.user, context, ids, 100, seconds)
    posted = verify(database, config.user, context, single["invoices"] + hundred["invoices"])
    names = ("trytond", "trytond-account-invoice", "proteus")
    versions = {name: version(name) for name in names} | {"python": platform.python_version()}
    print(json.dumps({"versions": versions, "single": single, "hundred": hundred, "posted": posted}))


if __name__ == "__main__":
    main()
