"""One run: the stack, the clients, the faults one after the other, then the comparison."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pymysql
import redis

from stack import Stack, StackError, StackOptions
from stack.state import NODES
from tests.chaos import checks, compare, disks, facts, resolve, windows
from tests.chaos.alerts import Fired, judge, watching
from tests.chaos.away import away_times
from tests.chaos.compare import Breach
from tests.chaos.faults import catalogue, clocks
from tests.chaos.faults.fault import Fault, Site
from tests.chaos.ledger import REPLAY, Item, read
from tests.chaos.load import Load
from tests.chaos.schedule import Step, chosen, pairs, steps
from tests.chaos.setting import open_clients
from tests.chaos.windows import Row, Window
from tests.chaos.wiring import wired

WARM_UP_S: Final = 3.0
SETTLE_S: Final = {False: (0.5, 2.0), True: (0.2, 0.4)}  # between a fault's healing and the next one; quick or not
QUICK_PAIRS: Final = 4
CLOCKED: Final = (*NODES, "server-1", "server-2", "worker-1", "worker-2")  # whose clocks may jump
AUDIT_S: Final = 1_200
DISKS: Final = (*NODES, "s3")  # folders that become file systems of their own when a fault needs it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done. A full run goes on until its minutes, kills and failovers are all there.

    Once the minutes are over, only what brings missing kills or failovers is injected.
    """

    seed: int
    quick: bool = False
    minutes: float = 28.0
    minutes_max: float = 56.0
    kills: int = 200
    failovers: int = 40
    patterns: tuple[str, ...] = ()
    factor: float = 1.0  # of the load
    alerts: bool = False  # Prometheus looks on


@dataclass(slots=True)
class Result:
    """What a run found."""

    plan: Plan
    rows: list[Row] = field(default_factory=list)
    whole: Row = field(default_factory=lambda: Row("all"))
    breaches: list[Breach] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)  # what the run itself could not do: then nothing is shown
    figures: dict[str, Any] = field(default_factory=dict)
    fired: list[Fired] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # faults that cannot be injected here, and why

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not (self.breaches or self.troubles or self.audit.get("findings", 1))


class Runner:
    """Does one plan. `tell` is told what is being done, with the part of the whole that is done, 0 to 1."""

    def __init__(self, *, plan: Plan, run_dir: Path, tell: Callable[[str, float], None]) -> None:
        self._plan = plan
        self._dir = run_dir
        self._tell = tell
        self._windows: list[Window] = []
        self._away: list[tuple[float, float]] = []
        self._faults = chosen(catalogue(), plan.patterns, quick=plan.quick)
        self._left_out: dict[str, str] = {}
        self._disks: list[Path] = []

    def run(self) -> Result:
        """Runs it; call it from the main thread. Raises StackError when the stack does not come back."""
        self._choose_disks()
        with disks.mounted(self._disks):
            return self._with_stack()

    def _choose_disks(self) -> None:
        """Decides what is to be mounted, or leaves out the faults that need it."""
        needing = [fault for fault in self._faults if fault.own_disk]
        if not needing:
            return
        why = disks.why_not()
        if why is None:
            self._disks = [self._dir / "stack" / name for name in DISKS]
            return
        self._left_out = {fault.name: why for fault in needing}
        self._faults = [fault for fault in self._faults if not fault.own_disk]
        self._tell(f"left out: {', '.join(self._left_out)}: {why}", 0.0)
        if not self._faults:
            raise StackError(f"none of the faults can be injected here: {why}")

    def _with_stack(self) -> Result:
        """Runs it with the stack and what lies between its parts."""
        self._tell("starting the stack", 0.0)
        (self._dir / "ledgers").mkdir(parents=True, exist_ok=True)
        folder = (self._dir / "stack").resolve()
        names = CLOCKED if any(isinstance(fault, clocks.Jumps) for fault in self._faults) else ()
        with clocks.steered(folder, names) as environment:
            options = StackOptions(
                servers=2,
                workers=2,
                webs=1,
                replicas=2,
                primary_pool_mib=256,
                replica_pool_mib=128,
                redis_max_mib=64,
                environment=environment,
            )
            with Stack(run_dir=folder, options=options) as stack, wired(stack):
                return self._watched(stack)

    def _watched(self, stack: Stack) -> Result:
        """Runs it on a stack, Prometheus beside it if that was asked for."""
        if not self._plan.alerts:
            return asyncio.run(self._run(stack))
        began = time.monotonic()
        with watching(stack, self._dir / "prometheus") as watch:
            result = asyncio.run(self._run(stack))
            result.fired = judge(self._windows, watch.firing(began))
        return result

    async def _run(self, stack: Stack) -> Result:
        site = Site(stack, random.Random(f"{self._plan.seed} faults"), quick=self._plan.quick)
        began = time.monotonic()
        async with open_clients(stack, seed=self._plan.seed, ledgers=self._dir / "ledgers") as clients:
            load = Load(clients=clients, seed=self._plan.seed, factor=self._plan.factor)
            running = asyncio.create_task(load.run())
            await asyncio.sleep(WARM_UP_S)
            for fault in self._faults:
                await asyncio.to_thread(fault.prepare, site)
            injecting_since = time.monotonic()
            try:
                await self._inject(site, running)
            finally:
                load.stop()
            injected_s = time.monotonic() - injecting_since
            self._tell("waiting for the last calls", 0.9)
            await running
            self._close_windows(time.monotonic())
            await resolve.resolve(clients, tell=lambda text: self._tell(text, 0.92))
        self._tell("waiting for the archive", 0.94)
        await asyncio.to_thread(facts.wait_until_archived, site)
        self._tell("reading databases and archive", 0.95)
        found = await asyncio.to_thread(facts.gather, site)
        await facts.gather_archive(stack, site, found)
        self._tell("auditing", 0.97)
        audit = await asyncio.to_thread(_audit, stack)
        self._tell("comparing", 0.99)
        result = await asyncio.to_thread(self._compare, found)
        result.audit = audit
        result.left_out = self._left_out
        result.troubles = site.notes + [f"a call ended with {error!r}" for error in load.errors]
        result.figures |= {
            "kills": site.kills,
            "failovers": site.failovers,
            "releases": site.releases,
            "faults": len(self._windows),
            "injecting_s": round(injected_s, 1),
            "whole_s": round(time.monotonic() - began, 1),
            "invoices": len(found.rows),
            "calls_held_back": load.held_back,
            "disk_used_mib": {place.name: disks.used_mib(place) for place in self._disks},
        }
        return result

    # --- faults -----------------------------------------------------------------------------------------------------

    def _steps(self) -> Iterator[Step]:
        """The steps of this plan, endless for a full run."""
        if not self._plan.quick:
            yield from steps(self._faults, seed=self._plan.seed)
        endless = steps(self._faults, seed=self._plan.seed)
        yield from (next(endless) for _ in self._faults)
        yield from pairs(self._faults, seed=self._plan.seed, count=QUICK_PAIRS)

    async def _inject(self, site: Site, running: asyncio.Task[None]) -> None:
        """Injects faults until the plan is fulfilled."""
        began = time.monotonic()
        for place, step in enumerate(self._steps()):
            minutes = (time.monotonic() - began) / 60
            if not self._plan.quick and self._enough(site, minutes):
                return
            if self._passed_over(step, site, minutes):
                continue
            if running.done():
                await running  # the load has failed: say why
            part = place / (len(self._faults) + QUICK_PAIRS) if self._plan.quick else minutes / self._plan.minutes
            counts = f"{site.kills} kills, {site.failovers} failovers"
            self._tell(f"{' + '.join(step.names)}  ({counts})", min(0.9, 0.9 * part))
            await asyncio.to_thread(self._do, step, site)
            await asyncio.sleep(site.random.uniform(*SETTLE_S[self._plan.quick]))

    def _enough(self, site: Site, minutes: float) -> bool:
        """Whether a full run may end."""
        if minutes >= self._plan.minutes_max:
            return True
        kills, failovers = self._missing(site)
        return minutes >= self._plan.minutes and not kills and not failovers

    def _passed_over(self, step: Step, site: Site, minutes: float) -> bool:
        """Whether a full run whose minutes are over has enough of what a step brings."""
        if self._plan.quick or minutes < self._plan.minutes:
            return False
        kills, failovers = self._missing(site)
        return not any((fault.kills and kills) or (fault.failover and failovers) for fault in step.faults)

    def _missing(self, site: Site) -> tuple[bool, bool]:
        """Whether kills and failovers are missing that the faults of this run can bring."""
        kills = any(fault.kills for fault in self._faults) and site.kills < self._plan.kills
        failovers = any(fault.failover for fault in self._faults) and site.failovers < self._plan.failovers
        return kills, failovers

    def _do(self, step: Step, site: Site) -> None:
        """One step: its faults begin, are held, and end in reverse; then health is waited for. Blocks."""
        holds = [fault.hold(site) for fault in step.faults]
        main = max(step.faults, key=lambda fault: fault.target_s or 0.0)
        targets = [fault.target_s for fault in step.faults]
        window = Window(
            names=step.names,
            affects=main.affects,
            target_s=None if None in targets else max(target for target in targets if target is not None),
            stalls=any(fault.stalls for fault in step.faults),
            at_edge=any(fault.at_edge for fault in step.faults),
        )
        self._close_windows(time.monotonic())
        window.began = time.monotonic()
        self._windows.append(window)
        begun: list[Fault] = []
        with _noted(site, window.name):
            for fault in step.faults:
                if begun:
                    time.sleep(step.gap_s)
                begun.append(fault)
                fault.begin(site)
            time.sleep(max(holds))
        for fault in reversed(begun):
            with _noted(site, window.name):
                fault.end(site)
        window.ended = time.monotonic()
        for fault in begun:
            with _noted(site, window.name):
                fault.settle(site)
        site.wait_until_well()
        window.healed = time.monotonic()

    def _close_windows(self, at: float) -> None:
        """The last window ends where the next one begins."""
        if self._windows and not self._windows[-1].until:
            self._windows[-1].until = at

    # --- the comparison ---------------------------------------------------------------------------------------------

    def _compare(self, found: facts.Facts) -> Result:
        """Compares ledgers with facts."""
        items: list[Item] = []
        for path in sorted((self._dir / "ledgers").glob("*.jsonl")):
            items += read(path)
        logs = sorted((self._dir / "stack" / "logs").glob("server-*.log*"))
        self._away = away_times(logs, offset_s=time.time() - time.monotonic())
        judgement = checks.verify(items, disturbed=self._disturbed)
        breaches = [
            *compare.issued(items, found),
            *compare.ranges(found),
            *compare.nodes(found),
            *compare.archive(found),
            *compare.entries(items, found),
            *compare.reads(items),
            *judgement.breaches,
        ]
        made = windows.calls(items)
        rows = [windows.quiet(self._windows, made, breaches), *windows.table(self._windows, made, breaches)]
        result = Result(self._plan, rows, windows.total(rows), breaches)
        modes = sorted({item.intent.mode for item in items})
        result.figures = {
            "acknowledged_invoices": len({item.answer.number for item in items if _issued(item) and item.answer}),
            "replayed": sum(item.intent.mode == REPLAY and item.intent.op != "verify" for item in items),
            "checks_judged": judgement.checked,
            "checks_stale_within_a_second": judgement.stale,
            "items_by_mode": {mode: sum(item.intent.mode == mode for item in items) for mode in modes},
        }
        return result

    def _disturbed(self, since: float, until: float) -> bool:
        """Whether anything was broken between two moments, or a server counted Redis as away."""
        broken = [*((window.began, window.healed) for window in self._windows), *self._away]
        return any(began <= until and since <= ended for began, ended in broken)


@contextmanager
def _noted(site: Site, name: str) -> Iterator[None]:
    """Notes that a fault could not be injected or mended, and lets the run go on if the stack gets well."""
    try:
        yield
    except (StackError, pymysql.err.MySQLError, redis.RedisError, OSError) as error:
        site.notes.append(f"{name}: {error!r}"[:1_000])


def _issued(item: Item) -> bool:
    return item.acknowledged and item.intent.op in {"issue", "red"}


def _audit(stack: Stack) -> dict[str, Any]:
    """Runs `billow-admin audit`; its word counts as it stands."""
    command = [sys.executable, "-m", "admin", "audit", "--config", str(stack.config_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"findings": 1, "error": done.stdout[-2_000:] + done.stderr[-2_000:]}
    return found


def names(patterns: Sequence[str], *, quick: bool) -> list[Fault]:
    """The faults that a run would draw from."""
    return chosen(catalogue(), patterns, quick=quick)
