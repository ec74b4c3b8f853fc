"""Prometheus beside a chaos run: which alerts fired in the window of each fault, and which should have.

The rules are those of deploy/prometheus/ with every `for:` and every range divided by FACTOR, at least some seconds:
faults last seconds here and minutes in earnest. Thresholds stay. Scraped and evaluated once a second.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stack import Stack, StackError
from stack.options import CHECKOUT
from tests.chaos.windows import Window

RULES: Final = CHECKOUT / "deploy" / "prometheus" / "billow.rules.yml"
FACTOR: Final = 30
FOR_LEAST_S: Final = 1
RANGE_LEAST_S: Final = 5
UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
STARTED_S: Final = 30.0
ASKED_S: Final = 30.0
AFTER_S: Final = 3.0  # an alert may fire so long after the fault's end: scrape, evaluation, a busy machine
_SPAN: Final = re.compile(r"(\bfor: |\binterval: |\[)(\d+)([smhd])\b")
JOBS: Final = {"server": "/metrics", "worker": "/metrics", "web": "/metrics", "envoy": "/stats/prometheus"}
# fault, the alert that belongs to it, and how long the fault must have lasted for it to be expected. Connections that
# are forgotten are replaced too soon for any; a wrong clock is for the rules of the node itself (docs/runbooks.md)
EXPECTED: Final = {
    "freeze server for long": ("BillowProcessDown", 10.0),
    "freeze primary for long": ("BillowNoPrimary", 10.0),
    "last replica lost and back": ("BillowNoReplica", 6.0),
    "redis hung": ("BillowRedisAway", 6.0),
    "freeze redis": ("BillowRedisAway", 6.0),
    "freeze envoy": ("BillowEdgeDown", 6.0),
    "object store down": ("BillowJobFails", 15.0),
    "disk full of primary": ("BillowIssuingStalled", 10.0),
    "disk full of replica": ("BillowReplicaBehind", 20.0),
    "disk full of s3": ("BillowJobFails", 15.0),
}


@dataclass(frozen=True, slots=True)
class Fired:
    """What fired while one fault lasted; `missing`: what should have and did not."""

    fault: str
    alerts: tuple[str, ...]
    missing: tuple[str, ...]


def shortened(rules: str) -> str:
    """Divides the durations of rules by FACTOR; groups are evaluated every second."""

    def shorter(found: re.Match[str]) -> str:
        opening, number, unit = found.groups()
        if opening == "interval: ":
            return "interval: 1s"
        least_s = RANGE_LEAST_S if opening == "[" else FOR_LEAST_S
        return f"{opening}{max(least_s, int(number) * UNITS_S[unit] // FACTOR)}s"

    return _SPAN.sub(shorter, rules)


def judge(windows: Sequence[Window], firing: Mapping[str, Sequence[float]]) -> list[Fired]:
    """Says what fired in each window; `firing` has the moments, monotonic, at which each alert was firing."""
    found = []
    for window in windows:
        until = max(window.healed, window.ended + AFTER_S)
        alerts = tuple(sorted(name for name, at in firing.items() if any(window.began <= one <= until for one in at)))
        wanted = [EXPECTED[name] for name in window.names if name in EXPECTED]
        lasted_s = window.ended - window.began
        missing = tuple(name for name, least_s in wanted if lasted_s >= least_s and name not in alerts)
        found.append(Fired(window.name, alerts, missing))
    return found


class Watch:
    """A Prometheus that looks at one stack."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        """Tells whether it answers."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=ASKED_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def firing(self, since: float) -> dict[str, list[float]]:
        """The moments, in monotonic seconds, at which each alert has fired since then."""
        offset_s = time.time() - time.monotonic()
        asked = {
            "query": 'max by (alertname) (ALERTS{alertstate="firing"})',
            "start": f"{since + offset_s:.3f}",
            "end": f"{time.time():.3f}",
            "step": "1",
        }
        with urllib.request.urlopen(
            f"{self._url}/api/v1/query_range?{urllib.parse.urlencode(asked)}", timeout=ASKED_S
        ) as answer:
            series: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return {item["metric"]["alertname"]: [at - offset_s for at, _ in item["values"]] for item in series}


@contextmanager
def watching(stack: Stack, folder: Path) -> Iterator[Watch]:
    """Runs Prometheus, Debian's, as a process of our own over the stack's ports; its data lie in `folder`.

    Raises StackError when it is not installed or does not come up.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise StackError("prometheus not found: apt-get install prometheus (make setup does)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(shortened(RULES.read_text()))
    (folder / "prometheus.json").write_text(json.dumps(_config(stack)))  # JSON is YAML
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [
        program,
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        watch = Watch(port)
        deadline = time.monotonic() + STARTED_S
        while not watch.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"prometheus does not start; see {folder / 'prometheus.log'}")
            time.sleep(0.1)
        yield watch
    finally:
        process.terminate()
        process.wait()


def _config(stack: Stack) -> dict[str, Any]:
    """Scrapes every process that the stack has now; one that is added later is not seen."""
    ports = stack.state.ports
    targets = {kind: [name for name in ports if re.fullmatch(rf"{kind}-\d+-metrics", name)] for kind in JOBS}
    targets["envoy"] = ["envoy-admin"]
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [
            {
                "job_name": f"billow-{kind}",
                "metrics_path": path,
                "static_configs": [{"targets": [f"127.0.0.1:{ports[name]}" for name in targets[kind]]}],
            }
            for kind, path in JOBS.items()
        ],
    }
