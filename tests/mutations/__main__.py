"""Applies each mutation to a copy of the checkout and runs its tests, which must fail there.

Exit code 0: every mutation was noticed; 1: one survived, or its tests fail without it, too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.mutations.table import MUTATIONS, Mutation

ROOT: Final = Path(__file__).resolve().parents[2]
TESTS_MAX_S: Final = 600.0  # of one run; the tests' own limits end them long before
PASSED, FAILED = 0, 1  # exit codes of pytest


class Copy:
    """A copy of the checkout, with the changes that are not committed yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(Path(sys.prefix))

    def run(self, tests: Sequence[str]) -> tuple[int, str]:
        """Runs tests in the copy; returns pytest's exit code and the last lines it printed."""
        places = [str(self.folder), str(self.folder / "clients")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TESTS_MAX_S,
            check=False,
        )
        return done.returncode, "\n".join(done.stdout.splitlines()[-3:])

    def run_mutated(self, mutation: Mutation) -> tuple[int, str]:
        """Runs the mutation's tests with it applied, and takes it back."""
        path = self.folder / mutation.file
        before = path.read_text()
        path.write_text(mutation.applied(before))
        try:
            return self.run(mutation.tests)
        finally:
            path.write_text(before)


def main() -> int:
    """Runs the mutations asked for and prints a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--only", metavar="P2,P7", default="", help="those of some promises")
    wanted = {name for name in parser.parse_args().only.split(",") if name}
    mutations = [mutation for mutation in MUTATIONS if not wanted or mutation.promise in wanted]
    bad = 0
    sound: dict[tuple[str, ...], tuple[int, str]] = {}
    with tempfile.TemporaryDirectory(prefix="billow-mutants-") as folder:
        copy = Copy(Path(folder))
        for mutation in mutations:
            began = time.monotonic()
            if mutation.tests not in sound:
                sound[mutation.tests] = copy.run(mutation.tests)
            code, words = sound[mutation.tests]
            if code != PASSED:
                verdict = f"its tests fail without it:\n{words}"
            else:
                code, words = copy.run_mutated(mutation)
                verdict = "noticed" if code == FAILED else f"SURVIVED (pytest: {code})\n{words}"
            bad += verdict != "noticed"
            print(f"{mutation.promise:4} {time.monotonic() - began:5.1f} s  {mutation.what}: {verdict}", flush=True)
    print(f"{len(mutations)} mutations, {bad} not noticed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
