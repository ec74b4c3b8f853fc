"""Installs what Billow needs: `python3 -m stack.install`, with nothing but the standard library.

Debian packages by apt-get as root or through sudo without a password (otherwise the line to run is printed), and the
virtual environment `.venv` with everything from the two pyproject.toml. May be run again at any time; when nothing
changed it takes a fraction of a second.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ENVIRONMENT = CHECKOUT / ".venv"
STAMP = ENVIRONMENT / ".billow-installed"
REQUIREMENTS = (CHECKOUT / "pyproject.toml", CHECKOUT / "clients" / "pyproject.toml")
TARGETS = ("-e", "./clients", "-e", ".[stack,demo,dev]")
# for the rules of EN 16931 that lie in it, for tests: no line of its code runs, so the 60 packages it needs stay away
WITHOUT_DEPENDENCIES = ("mcp-einvoicing-core==1.34.1",)
PYTHON_MIN = (3, 11)
SYSTEM_PYTHON = "/usr/bin/python3"  # the distribution's: built with every optimisation (docs/adr/0027)
LOCK_WAIT_S = 300  # for another apt-get, as on a machine that has just started
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# a program that must be there, and the Debian package it comes in
PROGRAMS = (
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("mariadb-backup", "mariadb-backup"),  # a returning database node that has gone its own way becomes a copy
    ("redis-server", "redis-server"),
    ("setpriv", "util-linux"),
    ("pdftotext", "poppler-utils"),  # tests read PDFs with it
    ("xmlsec1", "xmlsec1"),  # tests verify signatures with it
    ("curl", "curl"),  # the demo and docs/walkthrough.md show calls by it
    ("jq", "jq"),  # docs/walkthrough.md reads answers with it
    ("softhsm2-util", "softhsm2"),  # tests keep a key in it as in a hardware token
    ("zbarimg", "zbar-tools"),  # tests read QR codes with it
)
# the same for what tests alone need and not every Debian relative has by this name: told, not fatal
TEST_PROGRAMS = (
    ("chromium", "chromium"),  # tests of the inspection page drive it: 113 MB (docs/adr/0026)
    ("promtool", "prometheus"),  # tests check the alert rules with it, the chaos run fires them: 23 MB (docs/adr/0039)
)
LIBFAKETIME = "usr/lib/*/faketime/libfaketimeMT.so.1"  # below /
TEST_FILES = ((LIBFAKETIME, "libfaketime"),)  # the chaos run lets clocks jump by it
# a file that must be there, and its package
FILES = (("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc", "fonts-wqy-microhei"),)


class InstallError(RuntimeError):
    """Something could not be installed; the text says what to do."""


def main() -> None:
    """Installs everything, telling each step; exits 1 with what to do when it cannot."""
    began = time.monotonic()
    try:
        changed = [
            install_packages(missing_packages()),
            install_test_packages(),
            install_environment(interpreter()),
        ]
    except InstallError as error:
        print(f"setup: {error}", file=sys.stderr)
        sys.exit(1)
    state = f"done in {time.monotonic() - began:.0f} s" if any(changed) else "nothing to do"
    print(f"setup: {state}")


def without(programs: Sequence[tuple[str, str]]) -> set[str]:
    """Returns the packages of the programs that are not there."""
    path = os.environ.get("PATH", "") + ":" + SYSTEM_PATH
    return {package for program, package in programs if shutil.which(program, path=path) is None}


def missing_packages() -> list[str]:
    """Returns the Debian packages whose programs or files are not there."""
    packages = without(PROGRAMS) | {package for file, package in FILES if not Path(file).exists()}
    if not makes_environments(SYSTEM_PYTHON):
        packages.add("python3-venv")
    return sorted(packages)


def makes_environments(python: str) -> bool:
    """Tells whether an interpreter is there, new enough, and able to make virtual environments."""
    look = f"import ensurepip, sys, venv; sys.exit(sys.version_info < {PYTHON_MIN})"
    return Path(python).exists() and subprocess.run([python, "-c", look], capture_output=True).returncode == 0


def interpreter() -> str:
    """Returns the interpreter to make `.venv` with: the distribution's, or this one where that is too old."""
    for python in (SYSTEM_PYTHON, sys.executable):
        if makes_environments(python):
            return python
    raise InstallError(f"Billow needs Python 3.11 or newer with venv; this is {sys.version.split()[0]}")


def install_packages(packages: Sequence[str]) -> bool:
    """Installs Debian packages without starting their services, and tells whether there was anything to do."""
    if not packages:
        return False
    line = f"apt-get install --yes --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None:
        raise InstallError(
            f"this is not Debian or Ubuntu: install what they call {', '.join(packages)}, then run again"
        )
    if os.geteuid() == 0:
        prefix = ["env"]
    elif shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        prefix = ["sudo", "-n", "env"]
    else:
        raise InstallError(f"run this once, then again `make setup`:\n    sudo {line}")
    # At runlevel 1 Debian's scripts start no services (under systemd they may: harmless, Billow uses other ports).
    prefix += ["RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive"]
    wait = ["-o", f"DPkg::Lock::Timeout={LOCK_WAIT_S}"]
    install = [*prefix, *line.split(), *wait]
    print(f"setup: Debian packages {', '.join(packages)}", flush=True)
    if subprocess.run(install, stdout=subprocess.DEVNULL).returncode == 0:
        return True
    print("setup: refreshing the package lists", flush=True)
    subprocess.run([*prefix, "apt-get", "update", *wait], stdout=subprocess.DEVNULL)
    if subprocess.run(install, stdout=subprocess.DEVNULL).returncode != 0:
        raise InstallError(f"apt-get failed; try it by hand:\n    {line}")
    return True


def install_test_packages() -> bool:
    """Installs what tests alone need; where that fails it says so, and the tests will fail, not the demo."""
    files = {package for pattern, package in TEST_FILES if not any(Path("/").glob(pattern))}
    packages = sorted(without(TEST_PROGRAMS) | files)
    try:
        return install_packages(packages)
    except InstallError as error:
        print(f"setup: without {', '.join(packages)}, which `make test` needs: {error}", file=sys.stderr)
        return False


def stamp(python: str) -> str:
    """Returns what the environment depends on: its interpreter, both pyproject.toml, and where the checkout lies."""
    digest = hashlib.sha256(f"{python} {CHECKOUT}".encode())
    digest.update(repr((TARGETS, WITHOUT_DEPENDENCIES)).encode())
    for path in REQUIREMENTS:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def install_environment(base: str) -> bool:
    """Makes `.venv` with an interpreter and installs into it, and tells whether there was anything to do."""
    wanted = stamp(base)
    if STAMP.exists() and STAMP.read_text() == wanted:
        return False
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists() or not made_with(base):
        print(f"setup: virtual environment .venv of {base}", flush=True)
        if subprocess.run([base, "-m", "venv", "--clear", str(ENVIRONMENT)]).returncode != 0:
            raise InstallError("no virtual environment could be made; the message is above")
    print("setup: Python packages (about 400 MB on a first run)", flush=True)
    quiet = [] if sys.stdout.isatty() else ["-qq", "--progress-bar", "off"]
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *quiet]
    for what in (TARGETS, ("--no-deps", *WITHOUT_DEPENDENCIES)):
        if subprocess.run([*command, *what], cwd=CHECKOUT).returncode != 0:
            raise InstallError("pip failed; its message is above. Run `make setup` again when it is remedied")
    STAMP.write_text(wanted)
    return True


def made_with(base: str) -> bool:
    """Tells whether `.venv` was made with that interpreter."""
    home = f"home = {Path(base).parent}"
    return home in (ENVIRONMENT / "pyvenv.cfg").read_text().splitlines()


if __name__ == "__main__":
    main()
