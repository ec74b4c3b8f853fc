"""Where a delivery may go: the form of targets, and the guard against server-side request forgery. Pure.

A webhook's address is chosen by a tenant and called from inside the platform's network, so nothing but addresses of the
public Internet is called unless the settings allow a network. The guard judges addresses, never names: whoever connects
resolves the name, asks the guard about every address, and connects to an address it allowed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from core import limits

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
                    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Guard:
    """Which addresses may be called. `allowed` are networks that may be although they are not public."""

    allowed: Sequence[IPNetwork] = ()

    def allows(self, text: str) -> bool:
        """Tells whether an address, as text, may be called; what is no address may not."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        candidates = [address, *_embedded(address)]
        if any(one in network for one in candidates for network in self.allowed if one.version == network.version):
            return True
        return all(one.is_global and not one.is_multicast and not one.is_reserved for one in candidates)


def _embedded(address: IPAddress) -> list[IPAddress]:
    """Returns the IPv4 addresses an IPv6 address leads to: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    hidden = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    found: list[IPAddress] = [one for one in hidden if one is not None]
    if address in NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def url_fault(url: str, *, allow_http: bool, guard: Guard) -> str:
    """Returns what is wrong with a webhook's URL, "" when nothing is."""
    if not url or len(url) > limits.TARGET_CHARS_MAX or not _PRINTABLE.fullmatch(url) or "\\" in url:
        return f"must be a URL of 1 to {limits.TARGET_CHARS_MAX} printable ASCII characters without spaces"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme != "https" and not (allow_http and parts.scheme == "http"):
        return "must begin with https://"
    if "@" in parts.netloc or parts.fragment or port == 0:
        return "must have no user, password or fragment, and a possible port"
    host = parts.hostname or ""
    literal = literal_address(host)
    if literal is None and not _HOST.fullmatch(host):
        return "must name a host"
    if literal is not None and not guard.allows(literal):
        return "must not lead to a private, local or reserved address"
    return ""


def literal_address(host: str) -> str | None:
    """Returns the address when the host of a URL is one rather than a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    # 127.1, 0x7f.1 and 2130706433 are addresses to some resolvers: no public name ends in such a label
    last = host.rstrip(".").rpartition(".")[2].lower()
    return host if last.isdigit() or last.startswith("0x") else None


def phone_fault(number: str) -> str:
    """Returns what is wrong with a telephone number, "" when nothing is: E.164, at most 15 digits."""
    return "" if _PHONE.fullmatch(number) else "must be a telephone number as +8613800000000 (E.164)"


def email_fault(address: str) -> str:
    """Returns what is wrong with an e-mail address, "" when nothing is."""
    if len(address) <= 254 and _EMAIL.fullmatch(address):
        return ""
    return "must be an e-mail address of at most 254 ASCII characters"
