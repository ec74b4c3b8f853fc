"""Every decoder of outside bytes on its corpus and on mutations by seed: it returns, or refuses as documented (P11).

Bounded by count, so the same on every machine. `make fuzz` goes on by coverage for as long as wanted.
"""

from __future__ import annotations

import random

import pytest

from tests.fuzz.decoder import Decoder
from tests.fuzz.mutations import fields_mutated, mutated
from tests.fuzz.table import CORPUS, DECODERS, kept

MUTATIONS = 300
SEED = 20_261_129
FILE_BYTES_MAX = 64 * 1024


@pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)
def test_a_decoder_returns_or_refuses(decoder: Decoder) -> None:
    found = kept(decoder)
    seeds = [*decoder.seeds(), *found.values()]
    assert seeds, "a decoder without good input is not tried"
    for data in (b"", *seeds):
        decoder.decode(data)
    choice = random.Random(f"{SEED} {decoder.name}")
    for number in range(MUTATIONS):
        if decoder.message is not None and number % 3:
            data = fields_mutated(choice.choice(seeds), decoder.message, choice)
        else:
            data = mutated(seeds, choice, bytes_max=decoder.bytes_max)
        try:
            decoder.decode(data)
        except BaseException as error:
            error.add_note(f"mutation {number} of {decoder.name}: {data[:200]!r}")
            raise


def test_the_corpus_belongs_to_decoders_and_is_small() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= DECODERS.keys()
    assert [path for path in CORPUS.rglob("*") if path.is_file() and path.stat().st_size > FILE_BYTES_MAX] == []


def test_mutations_repeat_by_their_seed() -> None:
    first, again = random.Random(1), random.Random(1)
    made = [mutated([b"abc"], first, bytes_max=64) for _ in range(50)]
    assert made == [mutated([b"abc"], again, bytes_max=64) for _ in range(50)]
    assert len(set(made)) > 25
