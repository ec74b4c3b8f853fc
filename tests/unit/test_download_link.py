"""Signed links: one spelling, one document, one time; keys in rotation; settings that cannot be."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable

import click
import pytest

from billow.cli import document
from core import limits
from core.domain.download_link import DownloadLink, LinkKey, LinkRefused, expiry_s, sign, verify
from core.settings import DownloadSettings, SettingsError

OLD, NEW = LinkKey("2026-01", b"a" * 32), LinkKey("2026-02", b"b" * 32)
NOW_S = 1_795_000_000
LINK = DownloadLink(
    number="26110000000000000042",
    format_name="pdf",
    version=3,
    sha256=bytes(range(32)),
    size_bytes=4_321,
    expires_s=NOW_S + 60,
)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def refused(token: str, *keys: LinkKey, now_s: int = NOW_S) -> bool:
    try:
        verify(token, keys, now_s=now_s)
    except LinkRefused:
        return True
    return False


def test_a_link_is_read_as_it_was_signed_and_is_the_same_text_every_time() -> None:
    assert verify(sign(LINK, OLD), [OLD], now_s=NOW_S) == LINK
    assert sign(LINK, OLD) == sign(dataclasses.replace(LINK), OLD)
    for number in ("0" * 20, "9" * 20):
        other = dataclasses.replace(LINK, number=number, size_bytes=2**32 - 1, version=65_535, format_name="x" * 16)
        assert verify(sign(other, OLD), [OLD], now_s=NOW_S) == other


def test_the_longest_token_is_within_the_limit() -> None:
    key = LinkKey("k" * limits.DOWNLOAD_KEY_ID_CHARS_MAX, b"s" * 32)
    assert len(sign(dataclasses.replace(LINK, format_name="x" * 16), key)) <= limits.DOWNLOAD_TOKEN_CHARS_MAX
    assert refused("A" * (limits.DOWNLOAD_TOKEN_CHARS_MAX + 1), key)


def test_every_changed_character_is_refused() -> None:
    token = sign(LINK, OLD)
    for place in range(len(token)):
        for character in ALPHABET:
            changed = token[:place] + character + token[place + 1 :]
            assert refused(changed, OLD) == (changed != token), (place, character)


def test_what_is_shorter_longer_or_spelled_otherwise_is_refused() -> None:
    token = sign(LINK, OLD)
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    spellings = (
        *(token[:length] for length in range(len(token))),
        *(token + more for more in ("A", "AA", "AAAA", "=", "==", " ", "\n", "é")),
        *(" " + token, base64.b64encode(data).decode() + "="),
        base64.urlsafe_b64encode(data + b"\x00").decode().rstrip("="),
    )
    for spelling in spellings:
        assert refused(spelling, OLD), spelling


def test_a_token_without_spare_bits_or_with_has_one_spelling() -> None:
    for name in ("p", "pd", "pdf"):  # three lengths modulo 3: no, two and four spare bits at the end
        token = sign(dataclasses.replace(LINK, format_name=name), OLD)
        taken = [character for character in ALPHABET if not refused(token[:-1] + character, OLD)]
        assert taken == [token[-1]]


@pytest.mark.parametrize(
    "other",
    [
        lambda link: dataclasses.replace(link, number="26110000000000000043"),
        lambda link: dataclasses.replace(link, format_name="xml"),
        lambda link: dataclasses.replace(link, version=4),
        lambda link: dataclasses.replace(link, expires_s=link.expires_s + 1),
        lambda link: dataclasses.replace(link, sha256=bytes(32)),
        lambda link: dataclasses.replace(link, size_bytes=1),
    ],
)
def test_a_signature_is_worth_nothing_for_anything_else(other: Callable[[DownloadLink], DownloadLink]) -> None:
    def parts(token: str) -> tuple[bytes, bytes]:
        data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        return data[:-32], data[-32:]

    content, _ = parts(sign(other(LINK), OLD))
    _, signature = parts(sign(LINK, OLD))
    assert refused(base64.urlsafe_b64encode(content + signature).decode().rstrip("="), OLD)


def test_a_link_ends_at_its_second() -> None:
    token = sign(LINK, OLD)
    assert not refused(token, OLD, now_s=LINK.expires_s - 1)
    assert refused(token, OLD, now_s=LINK.expires_s)


def test_keys_are_changed_without_breaking_links() -> None:
    before, after = sign(LINK, OLD), sign(LINK, NEW)
    assert refused(after, OLD)
    assert not refused(before, NEW, OLD)
    assert not refused(after, NEW, OLD)
    assert refused(before, NEW)
    assert refused(before)
    assert refused(sign(LINK, LinkKey(NEW.id, OLD.secret)), NEW, OLD)
    assert "aaaa" not in repr(OLD)


@pytest.mark.parametrize(
    ("now_s", "lifetime_s", "step_s", "end_s"),
    [(7_200, 60, 3_600, 10_800), (7_199, 1, 3_600, 7_200), (7_200, 3_600, 3_600, 10_800), (5, 7, 1, 12)],
)
def test_ends_are_rounded_up_to_the_step(now_s: int, lifetime_s: int, step_s: int, end_s: int) -> None:
    assert expiry_s(now_s=now_s, lifetime_s=lifetime_s, step_s=step_s) == end_s


def test_settings_of_downloads() -> None:
    secret = "s" * limits.DOWNLOAD_SECRET_CHARS_MIN
    read = DownloadSettings(keys=(f"new:{secret}", f"old:{secret}:x"), base_url="https://example.com/billow")
    assert read.link_keys == (LinkKey("new", secret.encode()), LinkKey("old", f"{secret}:x".encode()))
    assert DownloadSettings().link_keys == ()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("keys", ("short:secret",)),
        ("keys", ("s" * 40,)),
        ("keys", ("Upper:" + "s" * 32,)),
        ("keys", ("a:" + "s" * 32, "a:" + "t" * 32)),
        ("keys", tuple(f"k{i}:" + "s" * 32 for i in range(limits.DOWNLOAD_KEYS_MAX + 1))),
        ("base_url", "example.com"),
        ("base_url", "https://example.com/"),
        ("base_url", "ftp://example.com"),
        ("base_url", "https://example.com?x=1"),
        ("step_s", 0),
        ("step_s", 86_401),
        ("lifetime_s", 0),
        ("lifetime_s", limits.DOWNLOAD_LIFETIME_S_MAX + 1),
        ("drain_wait_ms", -1),
    ],
)
def test_impossible_settings_are_refused_by_name(name: str, wrong: object) -> None:
    with pytest.raises(SettingsError, match=f"downloads.{name}"):
        DownloadSettings(**{name: wrong})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7_200), ("7d", 604_800)])
def test_the_command_reads_lifetimes(text: str, seconds: int) -> None:
    assert document.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2y", "-2h", "2 h", "0h", "1.5h", "٢h", "2h30m", "99999999s"])
def test_what_is_no_lifetime_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.UsageError, match="--for"):
        document.seconds_of(text)


@pytest.mark.parametrize(
    ("typed", "rest"),
    [
        (["123"], ["123"]),
        (["--format", "xml", "123"], ["--format", "xml", "123"]),
        (["get", "123"], ["123"]),
    ],
)
def test_a_number_alone_means_a_file(typed: list[str], rest: list[str]) -> None:
    assert document.document.parse_args(click.Context(document.document), typed) == rest
