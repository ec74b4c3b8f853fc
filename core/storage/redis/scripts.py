"""Scripts, packed as commands: many keys in one command with one answer, which is what makes them cheap.

All may be repeated. Redis does nothing else meanwhile, so a script takes SCRIPT_ITEMS_MAX items at most, about 1 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.storage.redis.keys import entry_places
from core.storage.redis.places import Argument, pack

SCRIPT_ITEMS_MAX: Final = 250
ENDS_SOON_S: Final = 20  # longer than the workers go on telling a balance that has changed (workers/red_letter.py)

# SET … NX leaves what is there
SET_ABSENT: Final = "for i = 1, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 1], 'EX', ARGV[1], 'NX') end"

GET_ENTRIES: Final = (
    "local found = {} for i = 1, #KEYS do found[i] = redis.call('HGET', KEYS[i], ARGV[i]) end return found"
)

# leaves what a red-letter wrote in the meantime
ADD_ENTRIES: Final = (
    "local fields, values, last, new = 1, 1 + #KEYS"
    " for i = 1, #KEYS do local key = KEYS[i]"
    " if key ~= last then new = redis.call('EXISTS', key) == 0 end"
    " redis.call('HSETNX', key, ARGV[fields + i], ARGV[values + i])"
    " if new then redis.call('EXPIRE', key, ARGV[1]) new = false end"
    " last = key end"
)

# sums of reds only ever grow more negative: of two that race, the one that knows more stays (P7). The red total lies at
# byte 27 of an entry (core/storage/redis/values.py); a double holds every lawful one exactly. What has changed must not
# end before replicas know it, and nothing may be kept longer than ARGV[1]: so a hash that ends soon begins anew
REPLACE_ENTRIES: Final = (
    "local fields, values, reds = 2, 2 + #KEYS, 2 + 2 * #KEYS"
    " for i = 1, #KEYS do local key, field, value = KEYS[i], ARGV[fields + i], ARGV[values + i]"
    " local old = redis.call('HGET', key, field)"
    " if old and #old >= 35 and old:byte(1) == 1"
    " and struct.unpack('<i8', old, 27) <= tonumber(ARGV[reds + i]) then value = old end"
    " local new = redis.call('TTL', key) < tonumber(ARGV[2])"
    " if new then redis.call('DEL', key) end"
    " redis.call('HSET', key, field, value)"
    " if new then redis.call('EXPIRE', key, ARGV[1]) end end"
)


def set_absent(keys: Sequence[Argument], values: Sequence[bytes], ttl_s: int) -> bytes:
    """Sets the strings that are not there yet."""
    return pack("EVAL", SET_ABSENT, len(keys), *keys, ttl_s, *values)


def get_entries(numbers: Sequence[str]) -> bytes:
    """Asks for verification entries; the reply has one, or None, for every number."""
    keys, fields = entry_places(numbers)
    if len(keys) == 1:
        return pack("HMGET", keys[0], fields[0])
    return pack("EVAL", GET_ENTRIES, len(keys), *keys, *fields)


def add_entries(numbers: Sequence[str], values: Sequence[bytes], ttl_s: int) -> bytes:
    """Adds the verification entries that are not there yet."""
    keys, fields = entry_places(numbers)
    return pack("EVAL", ADD_ENTRIES, len(keys), *keys, ttl_s, *fields, *values)


def replace_entries(numbers: Sequence[str], values: Sequence[bytes], reds: Sequence[int], ttl_s: int) -> bytes:
    """Replaces verification entries but by those that know of more red invoices; `reds`: what `values` know of."""
    keys, fields = entry_places(numbers)
    ends_soon_s = min(ENDS_SOON_S, ttl_s)
    return pack("EVAL", REPLACE_ENTRIES, len(keys), *keys, ttl_s, ends_soon_s, *fields, *values, *reds)
