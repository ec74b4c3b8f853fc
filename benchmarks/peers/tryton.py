"""Tryton 8 creating and posting three-line customer invoices, one and 100 a transaction: `make bench-peers`.

It runs apart from Billow's loads, in an environment of its own under build/tryton and with a database of its own, which
is gone afterwards: PostgreSQL from Debian, which Tryton recommends, as a private process on a socket, durable as it
comes (fsync, synchronous commit) and without a replica, which is in Tryton's favour. Figures go to
benchmarks/results/peers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from stack.install import CHECKOUT, install_packages

ENVIRONMENT: Final = CHECKOUT / "build" / "tryton"
RESULTS: Final = CHECKOUT / "benchmarks" / "results" / "peers.json"
PACKAGES: Final = (
    "trytond[PostgreSQL]>=8,<9",
    "trytond-account-invoice>=8,<9",
    "proteus>=8,<9",
    "psycopg[binary]>=3.1,<4",  # the driver's C part: without it the peer would be slower than it has to be
)
DATABASE: Final = "peer"
USER: Final = "tryton"
START_S: Final = 30.0
SECONDS: Final = 20.0
RUN_S: Final = 300.0  # the set-up takes about 20 s, the rest is what is asked for


def environment() -> Path:
    """Returns the interpreter of Tryton's environment; installs it when it is not there."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "installed"
    wanted = "\n".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        print("bench-peers: installing Tryton into build/tryton", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(command, check=True)
        stamp.write_text(wanted)
    return python


def postgres_programs() -> Path:
    """Returns the folder of PostgreSQL's programs, of the newest version; installs it when it is not there."""

    def found() -> list[Path]:
        folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        return sorted(folders, key=lambda folder: int(folder.parent.name))

    if not found():
        install_packages(["postgresql"])
    return found()[-1]


def as_server(command: Sequence[str]) -> list[str]:
    """The command as PostgreSQL takes it: root becomes Debian's user `postgres`."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Runs a private PostgreSQL inside the block, reached by the socket in `folder` alone; gives its version."""
    programs = postgres_programs()
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    init = [str(programs / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    subprocess.run(as_server(init), check=True, stdout=subprocess.DEVNULL, cwd=folder)
    serve = [str(programs / "postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
    with (folder / "postgres.log").open("wb") as log:
        running = subprocess.Popen(as_server(serve), stdout=log, stderr=log, cwd=folder)
    try:
        create = [str(programs / "createdb"), "-h", str(folder), "-U", USER, DATABASE]
        give_up_at = time.monotonic() + START_S
        while subprocess.run(create, capture_output=True).returncode:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"PostgreSQL did not start: {(folder / 'postgres.log').read_text()[-2000:]}")
            time.sleep(0.2)
        version = subprocess.run([str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True)
        yield version.stdout.strip()
    finally:
        running.terminate()  # also when it became another user: setpriv becomes the server
        running.wait()


def measure(seconds: float) -> dict[str, Any]:
    """Returns versions and rates, invoices a second; each load takes `seconds`."""
    python = environment()
    with tempfile.TemporaryDirectory(prefix="billow-tryton-") as name:
        folder = Path(name)
        with postgres(folder) as postgres_version:
            config = folder / "trytond.conf"
            config.write_text("[database]\nuri = postgresql://\n")
            password = folder / "password"
            password.write_text("admin")
            variables = os.environ | {"PGHOST": name, "PGUSER": USER, "TRYTONPASSFILE": str(password)}
            admin = [str(python.parent / "trytond-admin"), "-c", str(config), "-d", DATABASE, "--all"]
            admin += ["--update", "account_invoice", "--activate-dependencies", "--email", "admin@example.com"]
            print("bench-peers: making Tryton's database", flush=True)
            subprocess.run(admin, check=True, env=variables, timeout=RUN_S)
            print(f"bench-peers: two loads of {seconds:.0f} s", flush=True)
            script = Path(__file__).with_name("tryton_invoices.py")
            run = [str(python), str(script), str(config), DATABASE, str(seconds)]
            done = subprocess.run(
                run, check=True, env=variables, timeout=RUN_S + 2 * seconds, stdout=subprocess.PIPE, text=True
            )
    return result(json.loads(done.stdout.splitlines()[-1]), postgres_version)


def result(found: dict[str, Any], postgres_version: str) -> dict[str, Any]:
    """What is written to the results."""
    return {
        "versions": found["versions"] | {"postgresql": postgres_version},
        "rate_single": found["single"]["rate"],
        "rate_100": found["hundred"]["rate"],
        "invoices_single": found["single"]["invoices"],
        "invoices_100": found["hundred"]["invoices"],
        "posted": found["posted"],
    }


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.tryton", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each of the two loads")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write")
    options = parser.parse_args()
    if shutil.which("setpriv") is None:
        parser.error("setpriv is missing: make setup")
    figures = measure(options.seconds)
    options.results.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"Tryton {figures['versions']['trytond']}: {figures['rate_single']}/s one a transaction,", end=" ")
    print(f"{figures['rate_100']}/s 100 a transaction")


if __name__ == "__main__":
    main()
