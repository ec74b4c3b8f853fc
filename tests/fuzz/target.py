"""`python -m tests.fuzz.target NAME [libFuzzer's arguments]`: fuzzes one decoder by coverage until it is told to stop.

A process of its own: libFuzzer never returns, and a decoder in C may take the process with it.
"""

from __future__ import annotations

import sys
from typing import Final

import atheris

INSTRUMENTED: Final = ["core", "server", "billow", "zipfile", "asn1crypto"]


def main() -> None:
    """Runs the command."""
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.table import DECODERS
    decoder = DECODERS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], decoder.decode)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
