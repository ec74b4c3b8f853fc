"""The inspection page in Chromium, through Envoy, against real servers: what holders of invoices ask and are told."""

from __future__ import annotations

import datetime as dt
import http.client
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from stack import Stack
from tests.support.browser import Visit, chromium, visiting
from tests.support.page_invoices import Held, hold, prepared, red_letter
from tests.support.platform import Tenant

FILES = ("/", "/static/main.js", "/static/page.css", "/static/icon.svg")


@dataclass(frozen=True)
class Invoices:
    """Each is asked for by few tests: one invoice is checked for anybody five times a day."""

    missing: str  # a number of the same seller that no invoice has
    blue: Held
    coded: Held
    keyed: Held
    spoken: Held
    worn: Held
    partly: Held
    fully: Held


@pytest.fixture(scope="module")
def invoices(running_stack: Stack) -> Invoices:
    async def prepare(tenant: Tenant) -> Invoices:
        held = [await hold(tenant, f"page-{serial}") for serial in range(7)]
        await red_letter(tenant, held[5], lines=(1,))
        await red_letter(tenant, held[6])
        missing = str(int(held[6].number) + 500_000).zfill(20)
        return Invoices(missing, *held)

    return prepared(running_stack, prepare)


@pytest.fixture(scope="module")
def browser(invoices: Invoices) -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, running_stack: Stack) -> Iterator[Visit]:
    with visiting(browser, running_stack) as opened:
        yield opened


def check(visit: Visit, held: Held, **other: str) -> str:
    visit.fill(other.get("number", held.number), other.get("date", held.date), other.get("total", held.total))
    visit.page.get_by_role("button", name="Check").first.click()
    return visit.verdict()


def test_a_genuine_invoice_by_what_stands_on_it(visit: Visit, invoices: Invoices) -> None:
    blue = invoices.blue
    assert check(visit, blue, date=f"{blue.day:%Y年%m月%d日}", total=f"￥ {blue.total}") == "Genuine"
    assert visit.tone() == "good"
    assert visit.facts() == {
        "Invoice number": blue.spaced,
        "Issue date": blue.date,
        "Total with tax": f"¥\u00a0{blue.total}",
        "State": "Normal",
    }


def test_an_answer_is_announced(visit: Visit, invoices: Invoices) -> None:
    status = visit.page.get_by_role("status")
    assert status.inner_text().startswith("Nothing checked yet")
    check(visit, invoices.blue, number=invoices.missing)
    assert status.inner_text().startswith("Not found\n")
    assert status.get_attribute("aria-live") == "polite"


def test_by_the_text_of_its_qr_code(visit: Visit, invoices: Invoices) -> None:
    visit.page.get_by_label("Text of the QR code").fill(invoices.coded.code)
    visit.page.keyboard.press("Enter")
    assert visit.verdict() == "Genuine"
    assert visit.page.input_value("#number") == invoices.coded.number


def test_a_code_scanned_into_the_field_of_the_number(visit: Visit, invoices: Invoices) -> None:
    visit.page.fill("#number", f" {invoices.coded.code} ")
    visit.page.keyboard.press("Enter")
    assert visit.verdict() == "Genuine"
    assert visit.page.input_value("#total") == invoices.coded.total


def test_a_misread_code_fills_the_fields_and_asks_nothing(visit: Visit, invoices: Invoices) -> None:
    code = invoices.coded.code
    visit.page.get_by_label("Text of the QR code").fill(code[:-1] + ("0" if code[-1] != "0" else "1"))
    visit.page.keyboard.press("Enter")
    assert visit.page.inner_text("#code-error").startswith("Its check digits do not fit")
    assert visit.page.input_value("#number") == invoices.coded.number
    visit.page.get_by_label("Text of the QR code").fill("https://example.com")
    visit.page.keyboard.press("Enter")
    assert visit.page.inner_text("#code-error") == "This is not the text of an invoice’s QR code."
    assert not any("/v1/" in url for url in visit.requested)


def test_what_does_not_match_and_what_is_not_there(visit: Visit, invoices: Invoices) -> None:
    blue = invoices.blue
    assert check(visit, blue, date=(blue.day - dt.timedelta(days=1)).isoformat()) == "Does not match"
    assert visit.tone() == "bad"
    assert "State" not in visit.facts()
    assert check_again(visit, "Does not match", number=invoices.missing) == "Not found"


def check_again(visit: Visit, before: str, **fields: str) -> str:
    for name, text in fields.items():
        visit.page.fill(f"#{name}", text)
    visit.page.get_by_role("button", name="Check").first.click()
    return visit.verdict(but=before)


def test_red_letters_are_seen(visit: Visit, invoices: Invoices) -> None:
    """P7."""
    assert check(visit, invoices.partly) == "Genuine, partly taken back"
    facts = visit.facts()
    assert (facts["State"], facts["Taken back"]) == ("Partly red-lettered", "¥\u00a0\u2212113.00")
    assert facts["Remaining"] == "¥\u00a0226.00"
    fully = invoices.fully
    verdict = check_again(visit, "Genuine, partly taken back", number=fully.number, date=fully.date, total=fully.total)
    assert verdict == "Genuine, but void"
    assert (visit.tone(), visit.facts()["Remaining"]) == ("void", "¥\u00a00.00")


def test_the_sixth_check_of_a_day_is_refused(visit: Visit, invoices: Invoices) -> None:
    titles = [check(visit, invoices.worn)]
    while titles[-1] == "Genuine" and len(titles) < 6:
        visit.page.reload()
        titles.append(check(visit, invoices.worn))
    assert titles == [*itertools.repeat("Genuine", 5), "Too many checks today"]
    assert visit.page.inner_text("#verdict .text").endswith("Try again tomorrow.")


@pytest.mark.parametrize(
    ("locale", "path", "tag", "title"),
    [
        ("zh-CN", "/", "zh-CN", "这张发票是真的吗？"),
        ("zh-TW", "/", "zh-CN", "这张发票是真的吗？"),
        ("en-GB", "/", "en", "Is this invoice real?"),
        ("fr-FR", "/", "en", "Is this invoice real?"),
        ("en-GB", "/?lang=zh", "zh-CN", "这张发票是真的吗？"),
        ("zh-CN", "/?lang=xx", "zh-CN", "这张发票是真的吗？"),
    ],
)
def test_the_language_is_the_readers(
    browser: Browser, running_stack: Stack, locale: str, path: str, tag: str, title: str
) -> None:
    with visiting(browser, running_stack, path, locale=locale) as visit:
        assert visit.page.inner_text("h1") == title
        assert visit.page.get_attribute("html", "lang") == tag


def test_switching_the_language_keeps_what_is_there(visit: Visit, invoices: Invoices) -> None:
    assert check(visit, invoices.spoken) == "Genuine"
    visit.page.fill("#total", "twelve")
    visit.page.get_by_role("button", name="Check").first.click()
    visit.page.get_by_role("button", name="中文").click()
    assert visit.verdict() == "一致，状态正常"
    assert visit.facts()["状态"] == "正常"
    assert visit.page.inner_text("#total-error") == "请输入价税合计，例如 1130.00，最多两位小数。"
    assert visit.page.input_value("#number") == invoices.spoken.number
    assert visit.page.title() == "发票查验 · Billow"
    visit.page.reload()
    assert visit.page.get_attribute("html", "lang") == "zh-CN"
    assert visit.page.get_attribute("[data-language=zh]", "aria-pressed") == "true"


def test_no_answer_says_nothing_about_the_invoice(browser: Browser, running_stack: Stack, invoices: Invoices) -> None:
    with visiting(browser, running_stack) as visit:
        visit.page.context.set_offline(True)
        assert check(visit, invoices.blue) == "No answer"
        assert visit.page.inner_text("#verdict .text").endswith("This says nothing about the invoice.")
        assert [text for text in visit.complaints if "ERR_INTERNET_DISCONNECTED" not in text] == []
        visit.complaints.clear()


def test_files_of_the_page(running_stack: Stack) -> None:
    for path in FILES:
        status, headers = head(running_stack, path)
        assert status == 200
        assert headers["content-security-policy"].startswith("default-src 'none'; ")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        assert head(running_stack, path, etag=headers["etag"])[0] == 304
    assert head(running_stack, "/static/nothing.js")[0] == 404


def head(stack: Stack, path: str, *, etag: str = "") -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(stack.envoy.host, stack.envoy.port, timeout=30)
    try:
        connection.request("HEAD", path, headers={"if-none-match": etag} if etag else {})
        reply = connection.getresponse()
        assert reply.read() == b""
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}
    finally:
        connection.close()
