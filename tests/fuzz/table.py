"""Every decoder that is fuzzed, and its corpus."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz import documents, requests, stored
from tests.fuzz.decoder import Decoder

DECODERS = {decoder.name: decoder for decoder in (*requests.DECODERS, *documents.DECODERS, *stored.DECODERS)}
CORPUS = Path(__file__).parent / "corpus"


def kept(decoder: Decoder) -> dict[str, bytes]:
    """The inputs in the corpus by the names of their files: findings, each named after what it showed."""
    folder = CORPUS / decoder.name
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))} if folder.is_dir() else {}
