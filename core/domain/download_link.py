"""Signed links to documents: the text between `/d/` and the file's name, made by servers and read by the web process.

A token says which document, which bytes and until when, and carries an HMAC-SHA256 of that under a key that only the
platform has. It has one spelling: what differs in a character is no link. Layout, before base64url without padding:
one byte 1, the key's id, the format (each one byte of length and ASCII), the format's version (2 bytes), the number as
an integer (9), the expiry in seconds since the epoch (5), the size (4), the SHA-256 (32), the HMAC (32).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core import limits

PATH_PREFIX: Final = "/d/"

LAYOUT: Final = 1
MAC_BYTES: Final = 32
TAIL_BYTES: Final = 2 + 9 + 5 + 4 + 32
PURPOSE: Final = b"billow download link\x00"  # a signature made for anything else is worth nothing here
KEY_ID_FORM: Final = re.compile(rf"[a-z0-9-]{{1,{limits.DOWNLOAD_KEY_ID_CHARS_MAX}}}")


class LinkRefused(Exception):
    """The token is no link of ours, or its time is over. Who asks is not told which."""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A secret that signs links, and the name by which a token says that it was this one."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"LinkKey(id={self.id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLink:
    """What a link opens: these bytes of one document, until `expires_s` (seconds since the epoch)."""

    number: str
    format_name: str
    version: int
    sha256: bytes
    size_bytes: int
    expires_s: int


def sign(link: DownloadLink, key: LinkKey) -> str:
    """Returns the token of a link. The same link and key give the same token."""
    name = link.format_name.encode()
    content = b"".join((
        bytes((LAYOUT, len(key.id))),
        key.id.encode(),
        bytes((len(name),)),
        name,
        link.version.to_bytes(2),
        int(link.number).to_bytes(9),
        link.expires_s.to_bytes(5),
        link.size_bytes.to_bytes(4),
        link.sha256,
    ))  # fmt: skip
    return base64.urlsafe_b64encode(content + _mac(key, content)).rstrip(b"=").decode()


def verify(token: str, keys: Sequence[LinkKey], *, now_s: int) -> DownloadLink:
    """Reads a token; raises LinkRefused unless one of the keys signed it, it is spelled as `sign` does, and in time.

    Nothing of the content is believed before its signature is right.
    """
    data = _decoded(token)
    content, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
    key_id, rest = _text(content[1:])
    right = False
    for key in keys:  # all of them, so that the time does not tell which one it was
        right |= hmac.compare_digest(mac, _mac(key, content)) and key.id == key_id
    if not right or content[0] != LAYOUT:
        raise LinkRefused("not signed")
    name, tail = _text(rest)
    if len(tail) != TAIL_BYTES:
        raise LinkRefused("layout")
    link = DownloadLink(
        number=f"{int.from_bytes(tail[2:11]):0{limits.NUMBER_CHARS}}",
        format_name=name,
        version=int.from_bytes(tail[:2]),
        expires_s=int.from_bytes(tail[11:16]),
        size_bytes=int.from_bytes(tail[16:20]),
        sha256=tail[20:],
    )
    if now_s >= link.expires_s:
        raise LinkRefused("expired")
    return link


def expiry_s(*, now_s: int, lifetime_s: int, step_s: int) -> int:
    """Returns the end of a link's life: rounded up to a whole step, so that links asked for soon after are the same."""
    return -(-(now_s + lifetime_s) // step_s) * step_s


def _mac(key: LinkKey, content: bytes) -> bytes:
    return hmac.digest(key.secret, PURPOSE + content, "sha256")


def _decoded(token: str) -> bytes:
    """Reads base64url without padding, in its one spelling."""
    if len(token) > limits.DOWNLOAD_TOKEN_CHARS_MAX:
        raise LinkRefused("too long")
    try:
        plain = token.encode("ascii")
        data = base64.b64decode(plain + b"=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise LinkRefused("no token") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != plain or len(data) < 3 + MAC_BYTES:
        raise LinkRefused("another spelling")
    return data


def _text(data: bytes) -> tuple[str, bytes]:
    """Reads a text with its length before it, and returns what follows."""
    length = data[0] if data else 0
    return data[1 : 1 + length].decode("latin-1"), data[1 + length :]
