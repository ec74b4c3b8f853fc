"""`python -m tests.fuzz --seconds 30 --only xml,ofd`: every decoder by coverage, so long each, with atheris.

What was learnt is kept in run/fuzz and goes on from there. An input that breaks a decoder is written into its corpus,
where the test of the decoders finds it: give it the name of what it shows, and mend the decoder. Exits 1 on any.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from core import limits
from tests.fuzz.decoder import Decoder
from tests.fuzz.table import CORPUS, DECODERS, kept

LEARNT: Final = Path(__file__).parents[2] / "run" / "fuzz"
MEMORY_MB_MAX: Final = 2 * limits.READER_MEMORY_BYTES_MAX // 2**20  # libFuzzer's own included
INPUT_S_MAX: Final = 2 * limits.READER_CPU_S_MAX  # of one input, with coverage counted
RUNS: Final = re.compile(rb"number_of_executed_units: (\d+)")
COVERAGE: Final = re.compile(rb"cov: (\d+)")


def fuzz(decoder: Decoder, seconds: int) -> bool:
    """Fuzzes one decoder; tells whether it held."""
    learnt = LEARNT / decoder.name
    learnt.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate([*decoder.seeds(), *kept(decoder).values()]):
        (learnt / f"seed-{place}").write_bytes(seed)
    folder = CORPUS / decoder.name
    before = set(folder.glob("*"))
    folder.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.target", decoder.name, str(learnt)),
        *(f"-max_total_time={seconds}", f"-max_len={decoder.bytes_max}", f"-artifact_prefix={folder}/"),
        *(f"-rss_limit_mb={MEMORY_MB_MAX}", f"-timeout={INPUT_S_MAX}", "-len_control=0", "-print_final_stats=1"),
    ]
    done = subprocess.run(command, capture_output=True)
    runs = int((RUNS.findall(done.stderr) or [0])[-1])
    coverage = int((COVERAGE.findall(done.stderr) or [0])[-1])
    found = sorted(path.name for path in set(folder.glob("*")) - before)
    held = done.returncode == 0 and not found
    print(f"{decoder.name:14} {runs:>9,} inputs  coverage {coverage:>5}  {'held' if held else found}", flush=True)
    if not held:
        print((done.stdout + done.stderr).decode(errors="replace")[-6_000:], flush=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return held


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=30, help="of each decoder")
    parser.add_argument("--only", default="", help=f"some of {', '.join(DECODERS)}")
    options = parser.parse_args()
    wanted = [name for name in options.only.split(",") if name] or list(DECODERS)
    if unknown := set(wanted) - DECODERS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    held = [fuzz(DECODERS[name], options.seconds) for name in wanted]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
