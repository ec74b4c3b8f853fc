"""The inspection page for everyone: keyboard, screen readers, narrow screens, large text, dark, still (WCAG 2.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from stack import Stack
from tests.support.browser import Visit, chromium, visiting
from tests.support.page_invoices import Held, hold, prepared
from tests.support.platform import Tenant

NARROW = (320, 640)
SMALLEST_TARGET = 24  # CSS pixels: 2.5.8 of WCAG 2.2
STOPS = ["zh", "en", "number", "date", "total", "fields", "code", "qr", "file"]
NAME_OF_FOCUS = (
    "() => { const at = document.activeElement;"
    " return at.dataset.language ?? (at.id || at.closest('form')?.id || at.tagName) }"
)


@pytest.fixture(scope="module")
def held(running_stack: Stack) -> Held:
    async def prepare(tenant: Tenant) -> Held:
        return await hold(tenant, "access")

    return prepared(running_stack, prepare)


@pytest.fixture(scope="module")
def browser(held: Held) -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize(("language", "scheme"), [("zh", "light"), ("en", "dark")])
def test_axe_finds_nothing(browser: Browser, running_stack: Stack, language: str, scheme: str, held: Held) -> None:
    """Empty, with faults in every field, and with an answer."""
    with visiting(browser, running_stack, f"/?lang={language}", color_scheme=scheme) as visit:
        assert visit.faults() == []
        visit.page.click("#fields button")
        visit.page.fill("#code", "01")
        visit.page.press("#code", "Enter")
        assert visit.page.locator("[aria-invalid=true]").count() == 4
        assert visit.faults() == []
        visit.fill("9" * 20, held.date, held.total)
        visit.page.click("#fields button")
        visit.verdict()
        assert visit.faults() == []


def test_axe_is_at_work(browser: Browser, running_stack: Stack) -> None:
    with visiting(browser, running_stack) as visit:
        visit.page.evaluate("document.querySelector('label[for=number]').remove()")
        assert any(fault.startswith("label: ") for fault in visit.faults())


def test_by_keyboard_alone(browser: Browser, running_stack: Stack, held: Held) -> None:
    with visiting(browser, running_stack) as visit:
        keys = visit.page.keyboard
        stops = []
        for _ in STOPS:
            keys.press("Tab")
            stops.append(visit.page.evaluate(NAME_OF_FOCUS))
            assert outlined(visit)
        assert stops == STOPS
        for _ in range(len(STOPS) - 1 - STOPS.index("number")):
            keys.press("Shift+Tab")
        for text in (held.number, held.date, held.total):
            keys.type(text)
            keys.press("Tab")
        keys.press("Space")  # the button
        assert visit.verdict() == "Genuine"


def outlined(visit: Visit) -> bool:
    """Tells whether what has the focus shows it; the file's field does by its label."""
    script = (
        "() => { const at = document.activeElement;"
        " const style = getComputedStyle(at.type === 'file' ? at.nextElementSibling : at);"
        " return style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2 }"
    )
    return bool(visit.page.evaluate(script))


def test_a_wrong_field_gets_the_focus_and_says_why(browser: Browser, running_stack: Stack, held: Held) -> None:
    with visiting(browser, running_stack) as visit:
        visit.fill(held.number, "2026-02-30", "1.005")
        visit.page.keyboard.press("Enter")
        assert visit.page.evaluate(NAME_OF_FOCUS) == "date"
        date = visit.page.get_by_label("Issue date")
        assert date.get_attribute("aria-invalid") == "true"
        described = (date.get_attribute("aria-describedby") or "").split()
        assert visit.page.inner_text(f"#{described[-1]}") == "Enter the date, as in 2026-11-18."
        visit.page.keyboard.type("1")
        assert date.get_attribute("aria-invalid") is None
        assert not any("/v1/" in url for url in visit.requested)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("text_percent", [100, 200])
def test_nothing_is_cut_off_when_it_is_narrow(
    browser: Browser, running_stack: Stack, language: str, text_percent: int
) -> None:
    with visiting(browser, running_stack, f"/?lang={language}", size=NARROW) as visit:
        visit.page.evaluate("(percent) => { document.documentElement.style.fontSize = `${percent}%` }", text_percent)
        visit.fill("9" * 20, "2026-11-18", "1")
        visit.page.keyboard.press("Enter")
        visit.verdict()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
        assert visit.page.locator("#verdict .title").is_visible()
        visit.page.wait_for_function(
            "() => document.getElementById('answer').getBoundingClientRect().top < innerHeight"
        )


def test_targets_are_large_enough(browser: Browser, running_stack: Stack) -> None:
    with visiting(browser, running_stack, size=NARROW) as visit:
        targets = visit.page.locator("button, input:not([type=file]), label.secondary").all()
        boxes: list[Any] = [target.bounding_box() for target in targets]
        assert len(boxes) == 9
        assert all(box["width"] >= SMALLEST_TARGET and box["height"] >= SMALLEST_TARGET for box in boxes)


def test_nothing_moves_for_who_wants_it_still(browser: Browser, running_stack: Stack) -> None:
    script = (
        "() => { const answer = document.getElementById('answer'); answer.setAttribute('aria-busy', 'true');"
        " const name = getComputedStyle(answer.querySelector('.seal')).animationName;"
        " answer.removeAttribute('aria-busy'); return name }"
    )
    for wish, name in (("no-preference", "breathe"), ("reduce", "none")):
        with visiting(browser, running_stack, reduced_motion=wish) as visit:
            assert visit.page.evaluate(script) == name
