"""Debian's Chromium without a screen, and a page of the stack in it that notes everything a browser complains about."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from stack import Stack

WAIT_MS = 20_000
WIDE = (1180, 860)
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
VIOLATED = "document.addEventListener('securitypolicyviolation', (event) => console.error('CSP: ' + event.blockedURI))"


@dataclass
class Visit:
    """The page in one tab, and what went on in it."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    def fill(self, number: str, date: str, total: str) -> None:
        """Types into the three fields."""
        for name, text in (("number", number), ("date", date), ("total", total)):
            self.page.fill(f"#{name}", text)

    def verdict(self, *, but: str = "") -> str:
        """Waits for an answer, or for another one than `but`, and returns its title."""
        self.page.wait_for_function(
            "(but) => { const answer = document.getElementById('answer');"
            " const title = document.querySelector('#verdict .title').textContent;"
            " return answer.dataset.tone !== 'empty' && !answer.hasAttribute('aria-busy') && title !== but }",
            arg=but,
        )
        return self.page.inner_text("#verdict .title")

    def facts(self) -> dict[str, str]:
        """The facts below the answer."""
        rows = self.page.locator("#details dl > div").all()
        return {row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in rows}

    def tone(self) -> str | None:
        """What colors the answer."""
        return self.page.get_attribute("#answer", "data-tone")

    def faults(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA and its own good practice: rule and element."""
        options = {"runOnly": {"type": "tag", "values": AXE_TAGS}, "resultTypes": ["violations"]}
        found: list[dict[str, Any]] = Axe().run(self.page, options=options).response["violations"]
        return [f"{fault['id']}: {node['html']}" for fault in found for node in fault["nodes"]]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts Chromium inside the block. While it runs, this thread can run no asyncio loop of its own."""
    program = shutil.which("chromium")
    assert program is not None, "no Chromium: run `make setup`"
    with sync_playwright() as playwright:
        # its sandbox needs what containers and root do not have; it opens our own pages only
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(browser: Browser, stack: Stack, path: str = "/?lang=en", **options: Any) -> Iterator[Visit]:
    """Opens a page of the stack through Envoy; at the end nothing must have gone wrong in it or left its origin."""
    origin = f"http://{stack.envoy.host}:{stack.envoy.port}"
    width, height = options.pop("size", WIDE)
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    visit = Visit(page, origin)

    def said(message: ConsoleMessage) -> None:
        visit.complaints.append(f"{message.type}: {message.text}")

    def asked(request: Request) -> None:
        visit.requested.append(request.url)

    def answered(response: Response) -> None:
        if response.status >= 400:
            visit.complaints.append(f"{response.status}: {response.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: visit.complaints.append(f"error: {error}"))
    page.on("request", asked)
    page.on("response", answered)
    page.add_init_script(VIOLATED)
    try:
        page.goto(origin + path)
        page.wait_for_function("() => document.querySelector('h1').textContent !== ''")
        yield visit
        assert visit.complaints == []
        assert [url for url in visit.requested if not url.startswith(f"{origin}/")] == []
        assert context.cookies() == []
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    finally:
        context.close()
