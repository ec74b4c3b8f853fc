"""docs/walkthrough.md is true: its commands, by `billow` and by `curl`, print what it says (P2, P4, P7, P8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack import Stack
from tests.support.command import environment
from tests.support.walkthrough import Comparison, blocks_of, run

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "walkthrough.md"


@pytest.mark.slow
@pytest.mark.timeout(420)  # some forty commands, each a process of its own
def test_the_walk_through_prints_what_it_promises(running_stack: Stack, tmp_path: Path) -> None:
    # the page stands in a checkout after `make up`: its `run` is the tests' own stack
    (tmp_path / "run").symlink_to(running_stack.config_path.parent)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    blocks = blocks_of(PAGE)
    assert sum(bool(block.prints) for block in blocks) > len(blocks) // 2
    comparison = Comparison()
    wrong = [
        f"{PAGE.name}:{block.line}: {block.commands}promises:\n{block.prints}printed:\n{printed}"
        for block, printed in run(blocks, folder=tmp_path, environment=environment(LC_ALL="C.UTF-8"))
        if not comparison.fits(block.prints, printed)
    ]
    assert wrong == [], "\n".join(wrong)
