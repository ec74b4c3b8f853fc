"""Where Redis is can be told in one way only; what does not fit fails at start and names the setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.settings import Address, RedisSettings, SettingsError, load
from core.storage.redis import keys
from core.storage.redis.issue_cache import WAKE
from core.storage.redis.places import Argument, owner, pack
from core.storage.redis.scripts import add_entries, set_absent

URL = "redis://127.0.0.1/0"
ONE = (Address("a", 1),)
SENTINELS: dict[str, Any] = {"sentinels": ONE, "sentinel_master": "cache"}
FILE = """
[mysql]
primary = "127.0.0.1:3306"
user = "u"
password = "p"
[object_store]
endpoint = "http://127.0.0.1:1"
access_key = "a"
secret_key = "s"
[redis]
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"url": URL},
        SENTINELS,
        SENTINELS | {"sentinel_user": "u", "sentinel_password": "p", "user": "u", "password": "p", "database": 3},
        {"cluster": ONE, "password": "p", "tls": True, "tls_ca": "/ca.pem"},
    ],
)
def test_each_way_can_be_told(settings: dict[str, Any]) -> None:
    RedisSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "redis.url is missing, and redis.sentinels and redis.cluster are too"),
        ({"url": URL, "cluster": ONE}, "redis.cluster must not stand beside redis.url"),
        ({"url": URL} | SENTINELS, "redis.sentinels must not stand beside redis.url"),
        (SENTINELS | {"cluster": ONE}, "redis.cluster must not stand beside redis.sentinels"),
        ({"url": "http://a"}, "redis.url must be a redis:// URL"),
        ({"sentinels": ONE}, "redis.sentinel_master must stand together with redis.sentinels"),
        ({"url": URL, "sentinel_master": "cache"}, "redis.sentinel_master must stand together with redis.sentinels"),
        ({"cluster": ONE, "sentinel_password": "p"}, "redis.sentinel_password must stand together"),
        ({"cluster": ONE, "database": 1}, "redis.database must stand together with redis.sentinels"),
        ({"url": URL, "password": "p"}, "redis.password must not stand beside redis.url"),
        ({"url": URL, "tls": True}, "redis.tls must not stand beside redis.url"),
        ({"cluster": ONE, "user": "u"}, "redis.user must stand together with redis.password"),
        ({"cluster": ONE, "tls_ca": "/ca.pem"}, "redis.tls_ca must stand together with redis.tls"),
        (SENTINELS | {"database": -1}, "redis.database must not be negative"),
        ({"url": URL, "connections": 0}, "redis.connections must be positive"),
    ],
)
def test_what_does_not_fit_is_named(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        RedisSettings(**settings)


def test_the_file_tells_addresses(tmp_path: Path) -> None:
    path = tmp_path / "billow.toml"
    path.write_text(FILE + 'sentinels = ["a:1", "b:2"]\nsentinel_master = "cache"\n')
    assert load(path).redis.sentinels == (Address("a", 1), Address("b", 2))
    path.write_text(FILE + 'cluster = ["a"]\n')
    with pytest.raises(SettingsError, match=r"redis\.cluster: 'a' is not host:port"):
        load(path)


def test_a_packed_command_tells_its_family() -> None:
    names: list[Argument] = [keys.request_key(7, "billow:{v}:1"), keys.request_key(7, "}{")]
    assert keys.family_of(set_absent(names, [b"billow:{c}", b""], 1)) == keys.ANSWERS
    assert keys.family_of(add_entries(["1234"], [b"{"], 1)) == keys.ENTRIES
    assert keys.family_of(WAKE) == keys.WAKES
    assert keys.family_of(pack("INCR", keys.public_checks_key("1", 20260131))) == keys.COUNTS


def test_the_owner_of_a_family_is_who_holds_its_slot() -> None:
    asked = Address("asked", 7)
    slots: list[Any] = [[0, 7_760, [b"low", 1, b"id"]], [7_761, 7_761, [b"", 2, b"id"], [b"replica", 3, b"id"]]]
    assert owner(slots, keys.COUNTS, asked) == Address("low", 1)
    assert owner(slots, keys.ENTRIES, asked) == Address("asked", 2)  # it does not know its own name
    with pytest.raises(Exception, match="nobody holds slot 7893"):
        owner(slots, keys.ANSWERS, asked)
