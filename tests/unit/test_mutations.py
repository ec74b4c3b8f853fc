"""The table of mutations is about this code: what they change is there, and so are the tests that must notice."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
PROMISES = [f"P{number}" for number in range(1, 12)]
NAMES = [f"{mutation.promise}-{mutation.what}" for mutation in MUTATIONS]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=NAMES)
def test_a_mutation_applies_and_leaves_python(mutation: Mutation) -> None:
    mutated = mutation.applied((ROOT / mutation.file).read_text())
    if mutation.file.endswith(".py"):
        ast.parse(mutated)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=NAMES)
def test_the_tests_that_must_notice_are_there(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        file, _, name = test.partition("::")
        text = (ROOT / file).read_text()
        assert not name or re.search(rf"def {re.escape(name)}\b", text)


def test_every_promise_has_mutations() -> None:
    assert sorted({mutation.promise for mutation in MUTATIONS}) == sorted(PROMISES)


def test_a_mutation_that_does_not_fit_is_refused() -> None:
    mutation = Mutation("P1", "none", "core/limits.py", "nowhere in it", "", ("tests/unit/test_mutations.py",))
    with pytest.raises(ValueError, match=r"core/limits\.py"):
        mutation.applied("something else")


def test_the_page_of_promises_names_what_is_there() -> None:
    page = (ROOT / "docs/promises.md").read_text()
    assert re.findall(r"^\| (P\d+) ", page, re.MULTILINE) == PROMISES
    named = set(re.findall(r"`((?:unit|contract|integration|simulation|chaos)/test_\w+\.py)`", page))
    assert named
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).is_file()] == []
