"""How fast documents are made: `python -m benchmarks.documents` (the figures of ADR 0023).

Renders invoices of 1, 3, 40 and 300 lines in every format, unsigned and signed with an RSA key of 2,048 bits and an EC
key on P-256, each in turn in this one process, and checks the signatures of what was made. Figures are documents a
second of CPU time, so of one core that does nothing else; a machine that is busy with other work still slows them, as
caches and clock are shared. Prints tables in Markdown and writes benchmarks/results/documents.json.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from core.documents import hostile_xml
from core.documents.pdf_signatures import check_pdf_signature
from core.documents.renderer import Renderer
from core.documents.renderers import make_renderers
from core.documents.signatures import SignatureChecker
from core.documents.signing_keys import KeyRing
from tests.support.documents import FONT, issued_invoice
from tests.support.signing_keys import curve_pair, key_pair, ring

RESULTS = Path(__file__).parent / "results" / "documents.json"
LINES = (1, 3, 40, 300)
ROUNDS = 5
ROUND_S = 0.1  # CPU time of one cell in one round, at least one document
NEVER_SIGNED = {"ubl"}
KEYS: dict[str, KeyRing | None] = {
    "no": None,
    "RSA 2048": ring(*key_pair()),
    "EC P-256": ring(*curve_pair()),
}


def a_second(work: Callable[[], object]) -> float:
    """Returns how often `work` is done in a second of CPU time."""
    count, began = 0, time.process_time()
    while True:
        work()
        count += 1
        spent = time.process_time() - began
        if spent >= ROUND_S:
            return count / spent


def cells() -> dict[tuple[str, str], Renderer]:
    """The renderers by format and signature."""
    made = {}
    for signed, keys in KEYS.items():
        for name, renderer in make_renderers(font=FONT, keys=keys).items():
            if keys is None or name not in NEVER_SIGNED:
                made[name, signed] = renderer
    return made


def measure_making(renderers: dict[tuple[str, str], Renderer]) -> list[dict[str, object]]:
    """Renders everything in turn, round after round."""
    invoices = {lines: issued_invoice(lines) for lines in LINES}
    figures: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for (name, signed), renderer in renderers.items():
            for lines, invoice in invoices.items():
                figure = a_second(partial(renderer.render, invoice))
                figures.setdefault((name, signed, lines), []).append(figure)
    return [
        {
            "format": name,
            "signed": signed,
            "lines": lines,
            "documents_a_second": round(statistics.median(measured), 1),
            "bytes": len(renderers[name, signed].render(invoices[lines])),
        }
        for (name, signed, lines), measured in figures.items()
    ]


def measure_checking(renderers: dict[tuple[str, str], Renderer]) -> list[dict[str, object]]:
    """Checks signatures of documents of three lines, XML parsed before."""
    checker = SignatureChecker([key_pair()[1], curve_pair()[1]])
    rows: list[dict[str, object]] = []
    for signed in ("RSA 2048", "EC P-256"):
        work: Callable[[], object]
        root = hostile_xml.parse(renderers["xml", signed].render(issued_invoice(3)))
        pdf = renderers["pdf", signed].render(issued_invoice(3))
        for name, work in (
            ("xml", partial(checker.check, root)),
            ("pdf", partial(check_pdf_signature, pdf, checker.trusted)),
        ):
            figure = statistics.median(a_second(work) for _ in range(ROUNDS))
            rows.append({"format": name, "signed": signed, "checks_a_second": round(figure, 1)})
    return rows


def main() -> None:
    """Measures, prints and writes."""
    renderers = cells()
    for renderer in renderers.values():
        renderer.render(issued_invoice(3))  # the font is read at the first
    making = measure_making(renderers)
    checking = measure_checking(renderers)
    RESULTS.write_text(json.dumps({"making": making, "checking": checking}, indent=1) + "\n")
    print(f"| format | signed | {' | '.join(f'{lines} lines' for lines in LINES)} | bytes of {LINES[-1]} |")
    print(f"|---|---|{'---|' * (len(LINES) + 1)}")
    for name, signed in renderers:
        rows = [row for row in making if (row["format"], row["signed"]) == (name, signed)]
        figures = " | ".join(f"{row['documents_a_second']:,}" for row in rows)
        print(f"| {name} | {signed} | {figures} | {rows[-1]['bytes']:,} |")
    print("\n| checked | key | a second |\n|---|---|---|")
    for row in checking:
        print(f"| {row['format']} | {row['signed']} | {row['checks_a_second']:,} |")


if __name__ == "__main__":
    main()
