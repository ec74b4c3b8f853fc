"""The reason table covers the contract's enum exactly and says nothing else."""

import itertools
from pathlib import Path

import grpc

from billow.errors.v1 import errors_pb2
from billow.reasons import DOMAIN, REASONS

PROTO = Path(__file__).parents[2] / "protos/billow/errors/v1/errors.proto"


def test_every_reason_of_the_contract_stands_in_the_table_and_no_other() -> None:
    names = [name.removeprefix("REASON_") for name, _ in errors_pb2.Reason.items()]
    assert names[0] == "UNSPECIFIED"
    assert list(REASONS) == names[1:]


def test_the_codes_stand_as_the_contract_comments_say() -> None:
    lines = PROTO.read_text(encoding="utf-8").splitlines()
    checked = 0
    for above, line in itertools.pairwise(lines):
        name, _, _ = line.strip().removeprefix("REASON_").partition(" ")
        said = above.rstrip(".").rpartition(" ")[2]
        if line.strip().startswith("REASON_") and hasattr(grpc.StatusCode, said):
            assert REASONS[name].code is grpc.StatusCode[said], name
            checked += 1
    assert checked >= len(REASONS) - 1  # INTERNAL's comment names no code


def test_only_passing_states_are_retryable() -> None:
    retryable = {name for name, spec in REASONS.items() if spec.retryable}
    assert retryable == {"STORAGE_UNAVAILABLE", "SHUTTING_DOWN", "OVERLOADED", "QUOTA_EXCEEDED"}
    assert DOMAIN == "billow"
