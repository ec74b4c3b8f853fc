"""The inspection page has words for everything the contract can answer, in both languages; run by Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf.descriptor import FileDescriptor

from billow.inspection.v1 import inspection_pb2
from billow.types.v1 import invoice_pb2
from billow.verification.v1 import verification_pb2
from core.documents import inspection
from stack import Stack
from tests.support.browser import Visit, chromium, visiting

HAN = re.compile("[\u4e00-\u9fff]")
NO_ANSWER = {"zh": "没有得到答复", "en": "No answer"}
VERDICT = """
async ([language, kind, given]) => {
  const { checked, inspected } = await import('/static/verdicts.js');
  const { wordsIn } = await import('/static/words.js');
  const check = { number: '26110000000000000042', date: 20261118, totalMinor: '11300' };
  return (kind === 'fields' ? checked(check, given) : inspected('file', given))(wordsIn(language));
}
"""
PATHS = [
    *("document", "lines", "color", "issue_time", "lines[0].type"),
    *inspection._BEFORE_LINES,
    *inspection._TOTALS,
    *(f"{side}.{name}" for side in ("seller", "buyer") for name in inspection._PARTY),
    *(f"lines[11].{name}" for name in inspection._LINE),
]


@pytest.fixture(scope="module")
def visit(running_stack: Stack) -> Iterator[Visit]:
    with chromium() as browser, visiting(browser, running_stack) as opened:
        yield opened


def names(file: FileDescriptor, enum: str) -> list[str]:
    """All values but the one that is never sent."""
    found = [value.name for value in file.enum_types_by_name[enum].values]
    return [name for name in found if not name.endswith("_UNSPECIFIED")]


def verdict(visit: Visit, language: str, kind: str, answer: Mapping[str, object]) -> dict[str, Any]:
    found: dict[str, Any] = visit.page.evaluate(VERDICT, [language, kind, answer])
    return found


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_outcome_and_state_has_a_verdict_of_its_own(visit: Visit, language: str) -> None:
    titles = []
    states = names(invoice_pb2.DESCRIPTOR, "InvoiceState")
    for outcome in names(verification_pb2.DESCRIPTOR, "VerificationOutcome"):
        for state in states if outcome.endswith("_MATCH") else ["INVOICE_STATE_UNSPECIFIED"]:
            answer = {"outcome": outcome, "state": state, "redTotalMinor": "-1"}
            titles.append(verdict(visit, language, "fields", answer)["title"])
    assert len(titles) == 8
    assert len(set(titles) - {NO_ANSWER[language]}) == 8
    assert all(bool(HAN.search(title)) is (language == "zh") for title in titles)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_outcome_of_a_file_has_words(visit: Visit, language: str) -> None:
    for outcome in names(inspection_pb2.DESCRIPTOR, "InspectionOutcome"):
        for state in names(invoice_pb2.DESCRIPTOR, "InvoiceState"):
            found = verdict(visit, language, "file", {"outcome": outcome, "state": state, "redTotalMinor": "0"})
            assert found["title"] != NO_ANSWER[language], outcome
            assert found["text"]
    sentences = [
        verdict(visit, language, "file", {"outcome": "INSPECTION_OUTCOME_UNREADABLE", "unreadableReason": reason})[
            "text"
        ]
        for reason in names(inspection_pb2.DESCRIPTOR, "UnreadableReason")
    ]
    assert len(set(sentences)) == len(sentences)
    signatures = [
        verdict(visit, language, "file", {"outcome": "INSPECTION_OUTCOME_ALTERED", "signature": signature})["facts"][-1]
        for signature in names(inspection_pb2.DESCRIPTOR, "SignatureResult")
    ]
    assert len({text for _, text, _ in signatures}) == len(signatures)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_field_that_can_differ_has_a_name(visit: Visit, language: str) -> None:
    answer = {
        "outcome": "INSPECTION_OUTCOME_ALTERED",
        "differences": [{"path": path, "documentValue": "1"} for path in PATHS],
        "differenceCount": len(PATHS) + 3,
    }
    found = verdict(visit, language, "file", answer)["differences"]
    shown = [row[0] for row in found["rows"]]
    assert len(shown) == len(PATHS)
    assert [path for path, name in zip(PATHS, shown, strict=True) if "_" in name or name == path] == []
    assert all(bool(HAN.search(name)) is (language == "zh") for name in shown)
    assert "3" in found["more"]


def test_an_answer_not_known_is_no_verdict(visit: Visit) -> None:
    for answer in ({}, {"outcome": "INSPECTION_OUTCOME_GENUINE"}, {"outcome": "INSPECTION_OUTCOME_NEW"}):
        assert verdict(visit, "en", "file", answer)["title"] == NO_ANSWER["en"]
        assert verdict(visit, "en", "fields", answer)["title"] == NO_ANSWER["en"]


def test_both_columns_are_filled(visit: Visit) -> None:
    script = """
    async () => {
      const { wordsIn } = await import('/static/words.js');
      const nodes = [...document.querySelectorAll('[data-text]')].map((node) => node.dataset.text);
      return nodes.map((key) => ['zh', 'en'].map((language) => wordsIn(language).say(key)));
    }
    """
    columns = visit.page.evaluate(script)
    assert len(columns) >= 20
    assert all(chinese and english and not HAN.search(english) for chinese, english in columns)
