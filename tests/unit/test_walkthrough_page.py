"""The test of docs/walkthrough.md can fail: what its comparison takes for the same, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.walkthrough import Comparison, blocks_of, run

PRINTS = """\
number                state   at
26000917953865760001  normal  2026-11-22 22:29:41
["26000917953865760001","135600"]
1 issued; … s
"""


def test_numbers_and_times_may_differ_but_stay_the_same_everywhere() -> None:
    comparison = Comparison()
    printed = PRINTS.replace("26000917953865760001", "26000000000000000007").replace("22:29:41", "01:02:03")
    assert comparison.fits(PRINTS, printed.replace("…", "0.25").replace("  normal", " normal "))
    assert comparison.fits("see 26000917953865760001", "see 26000000000000000007\n")
    assert not comparison.fits("see 26000917953865760001", "see 26000917953865760001\n")


@pytest.mark.parametrize(
    ("wanted", "printed"),
    [
        ('"135600"', '"135601"'),
        ("normal", "partly red"),
        ("issued", "refused"),
        ("22:29:41", "soon"),
        ('["26000917953865760001"', '["26000917953865760002"'),
        ("… s", "1 s\nand more"),
    ],
)
def test_everything_else_must_be_as_promised(wanted: str, printed: str) -> None:
    assert not Comparison().fits(PRINTS, PRINTS.replace("…", "1").replace(wanted.replace("…", "1"), printed))


def test_a_page_is_run_in_one_shell_in_its_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n```sh\nX=3\n```\nthen\n```sh\necho $X; echo no >&2\nfalse\n```\n```text\n3\nno\n```\n")
    blocks = blocks_of(page)
    assert [(block.line, block.prints) for block in blocks] == [(2, ""), (6, "3\nno\n")]
    assert [printed for _, printed in run(blocks, folder=tmp_path, environment={"PATH": "/usr/bin:/bin"})] == [
        "",
        "3\nno\n",
    ]


def test_a_shell_that_ends_early_has_printed_nothing_of_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\necho $NOTHING\n```\n```sh\necho 1\n```\n```text\n1\n```\n")
    printed = [printed for _, printed in run(blocks_of(page), folder=tmp_path, environment={"PATH": "/usr/bin:/bin"})]
    assert "NOTHING" in printed[0]
    assert printed[1] == ""
