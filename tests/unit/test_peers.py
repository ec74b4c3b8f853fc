"""The peers that benchmarks measure Billow against."""

from __future__ import annotations

import re

from benchmarks.peers import naive, tryton
from benchmarks.peers.tryton_invoices import GROSS


def test_the_naive_service_fills_every_column_and_leaves_what_is_there_alone() -> None:
    columns = re.findall(r"^\s+(\w+) .* NOT NULL|^\s+(buyer_tax_id) ", naive.TABLES["naive_invoices"], re.MULTILINE)
    named = naive.INSERT.split("(")[1].split(")")[0].split(", ")
    assert [first or second for first, second in columns] == named
    assert naive.INSERT.count("%s") == len(named)
    assert all(name.startswith("naive_") for name in naive.TABLES)


def test_tryton_results_name_versions_and_rates() -> None:
    found = {
        "versions": {"trytond": "8.2.1"},
        "single": {"invoices": 40, "seconds": 20.0, "rate": 2.0},
        "hundred": {"invoices": 300, "seconds": 20.0, "rate": 15.0},
        "posted": 445,
    }
    assert tryton.result(found, "postgres 15") == {
        "versions": {"trytond": "8.2.1", "postgresql": "postgres 15"},
        "rate_single": 2.0,
        "rate_100": 15.0,
        "invoices_single": 40,
        "invoices_100": 300,
        "posted": 445,
    }


def test_tryton_invoices_are_those_of_a_three_line_invoice() -> None:
    assert str(GROSS) == "339.0000"
