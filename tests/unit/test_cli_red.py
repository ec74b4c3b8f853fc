"""What `billow red` makes of its options."""

from __future__ import annotations

import click
import pytest

from billow import RED_EXTENT_LINES, RED_EXTENT_REMAINDER, RED_EXTENT_WHOLE, RED_REASON_ALLOWANCE, RedLine
from billow.cli.red import selection_of


def test_the_extent_follows_from_the_options() -> None:
    assert selection_of("1", "04", False, ()).extent == RED_EXTENT_WHOLE
    assert selection_of("1", "04", True, ()).extent == RED_EXTENT_REMAINDER
    selection = selection_of("1", "04", False, ("1", "2:quantity=0.5", "3:net=12.3", "4:gross=7"))
    assert (selection.extent, selection.reason) == (RED_EXTENT_LINES, RED_REASON_ALLOWANCE)
    assert list(selection.lines) == [
        RedLine(line=1),
        RedLine(line=2, quantity="0.5"),
        RedLine(line=3, net_minor=1_230),
        RedLine(line=4, gross_minor=700),
    ]


@pytest.mark.parametrize("text", ["", "x", "1:", "1:net", "1:net=1.234", "1:price=3", "-1", "1:net=-1", "9999999999"])
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError):
        selection_of("1", "01", False, (text,))


def test_rest_and_line_exclude_each_other() -> None:
    with pytest.raises(click.UsageError):
        selection_of("1", "01", True, ("1",))
