"""The whole system on one machine: started, watched, scaled, broken and stopped."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stack import cache, edge, health, mail, mariadb, platform_processes, ports, processes, seaweed, settings, state
from stack.addresses import Addresses
from stack.backup import Backup, Backups
from stack.failover import Failover
from stack.health import HEALTHY_S, Together, Waiter
from stack.options import DEFAULT_RUN_DIR, RunFolder, StackError, StackOptions
from stack.progress import Progress, Silent
from stack.replication import ReplicationStatus, join, release, replication
from stack.restore import Restored, Restorer, require_whole
from stack.state import NODES, State
from stack.supervision import ProcessState, Program, Supervisor

STOP_S: Final = 40.0
DRAIN_SEEN_S: Final = 0.1  # Envoy reads a changed endpoint file within this time; 1 ms was measured


class Stack(Addresses):
    """A stack in one run folder. All methods block; those that start or wait raise StackError with what failed.

    As a context manager it is up inside the block and down after it, and ends with the calling thread should that be
    killed: enter it from the main thread. The object holds no connection; several of them, and the command line, may
    look at one run folder.
    """

    def __init__(
        self, *, run_dir: Path = DEFAULT_RUN_DIR, options: StackOptions | None = None, progress: Progress | None = None
    ) -> None:
        """`options`: default those of the last start in this folder, or else the usual ones."""
        super().__init__(RunFolder(run_dir.resolve()))
        self._options = options
        self._progress = progress or Silent()
        self._supervisor = Supervisor(self.folder)
        self._together = Together()
        self._waiter = Waiter(
            folder=self.folder, supervisor=self._supervisor, progress=self._progress, together=self._together
        )

    def __enter__(self) -> Self:
        self.up(with_owner=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.down()

    def with_options(self, options: StackOptions) -> Stack:
        """Returns the same stack, to be brought to other options by `up`."""
        return Stack(run_dir=self.folder.root, options=options, progress=self._progress)

    # --- the whole ----------------------------------------------------------------------------------------------

    def up(self, *, with_owner: bool = False) -> bool:
        """Starts what does not run, waits until all is healthy, and tells whether anything had to be started.

        `with_owner`: the stack ends when the calling process does. A first start takes about 5 s, a later one 3 s.
        If it fails, whatever this call started from nothing is stopped again; the logs stay.
        """
        with self._lock():
            require_whole(self.folder)
            self._together.failed.clear()
            current = self._prepare()
            if self._supervisor.alive():
                return self._complete(current)
            with self._progress.step("what an earlier run left behind"):
                processes.end(processes.find(self.folder.root), run_dir=self.folder.root, grace_s=STOP_S)
            try:
                current = self._allot_ports(current)
                self._write_configs(current)
                self._supervisor.write_config(self._programs(current))
                self._supervisor.launch(with_owner=with_owner)
                self._start_all(current)
            except BaseException:
                self._stop_all()
                raise
            return True

    def down(self) -> bool:
        """Stops everything this folder's stack started and tells whether anything ran. Data and logs stay."""
        if not self.folder.root.exists():
            return False
        with self._lock():
            return self._stop_all()

    def _prepare(self) -> State:
        """Reads or begins the state, with this object's options."""
        before = state.load(self.folder)
        if before is None:
            return State(options=self._options or StackOptions(), secrets=state.new_secrets())
        return replace(before, options=self._options or before.options)

    def _allot_ports(self, current: State) -> State:
        """Gives every name a port and notes them."""
        chosen = ports.reserve(
            [*ports.USUAL, *platform_processes.port_names(current.options)],
            owner=str(self.folder.root),
            remembered=current.ports,
            book_path=ports.shared_book(),
        )
        current = replace(current, ports=chosen)
        state.save(self.folder, current)
        return current

    def _programs(self, current: State) -> list[Program]:
        """Every process of the stack, in the order of their start."""
        programs = []
        if "mysql" in current.options.parts:
            programs += [mariadb.program(self.folder, node) for node in current.nodes]
        if "redis" in current.options.parts:
            programs.append(cache.program(self.folder))
        if "s3" in current.options.parts:
            programs.append(seaweed.program(self.folder, current))
        if "mail" in current.options.parts:
            programs.append(mail.program(self.folder, current))
        programs += platform_processes.programs(self.folder, current)
        if "envoy" in current.options.parts:
            programs.append(edge.program(self.folder, current))
        return [program.with_more(current.options.environment) for program in programs]

    def _write_configs(self, current: State) -> None:
        """Writes every configuration file."""
        for node in current.nodes:
            mariadb.write_config(self.folder, current, node)
        cache.write_config(self.folder, current)
        seaweed.write_config(self.folder, current)
        settings.write_settings(self.folder, current)
        if "envoy" in current.options.parts:
            edge.write_config(self.folder, current)

    def _complete(self, current: State) -> bool:
        """Brings a running stack to its options: starts what stands still, adds and removes what changed."""
        known = self._supervisor.states()
        wanted = [program.name for program in self._programs(current)]
        still = [name for name in wanted if name not in known or not known[name].pid]
        surplus = [name for name in known if name not in wanted]
        if not still and not surplus:
            self._together.run([partial(self._waiter.wait, current, name) for name in wanted])
            return False
        self._reshape(current)
        return True

    def _start_all(self, current: State) -> None:
        """Starts everything: the stores side by side, the schema, then servers, workers and Envoy together."""
        parts = current.options.parts
        stores: list[Callable[[], None]] = []
        if "mysql" in parts:
            stores.append(lambda: self._start_mysql(current))
        if "redis" in parts:
            stores.append(lambda: self._start_and_wait(current, "redis"))
        names = platform_processes.names(current.options) + (["envoy"] if "envoy" in parts else [])
        names += [mail.NAME] if "mail" in parts else []

        def platform() -> None:
            self._together.run(stores)
            self._together.run([partial(self._start_and_wait, current, name) for name in names])

        # servers do without the object store (P6): it may take its time
        steps = [platform] + ([lambda: self._start_s3(current)] if "s3" in parts else [])
        self._together.run(steps)

    def _start_mysql(self, current: State) -> None:
        """Starts the nodes, joins them, those outside too, and brings the schema up to date."""
        if not all((self.folder.mysql(node) / "data").exists() for node in current.nodes):
            with self._progress.step("new databases"):
                mariadb.create_data(self.folder, current.nodes)
        inside = [node for node in current.nodes if node not in current.outside]
        self._supervisor.start(inside)
        for node in inside:
            self._waiter.wait(current, node)
        with self._progress.step("replication"):
            join(self.folder, current)
        for node in current.outside:
            current = self._failover().rejoin(current, node)
        applied = self.folder.mysql(current.primary) / "schema.sha256"
        digest = platform_processes.migrations_digest()
        known = applied.exists() and applied.read_text() == digest and mariadb.has_schema(self.folder, current)
        if not known:
            with self._progress.step("schema"):
                platform_processes.migrate(self.folder)
            state.write(applied, digest)

    def _start_s3(self, current: State) -> None:
        """Starts the object store and makes the archive's bucket."""
        self._start_and_wait(current, "s3")
        created = self.folder.s3 / "data" / "bucket-created"  # goes when the data goes
        if not created.exists():
            with self._progress.step("bucket"):
                seaweed.create_bucket(current)
            created.touch()

    def _start_and_wait(self, current: State, name: str) -> None:
        self._supervisor.start([name])
        self._waiter.wait(current, name)

    def _stop_all(self) -> bool:
        """Stops the edge and the platform first, the stores after them, then whatever carries this stack's mark."""
        found = processes.find(self.folder.root)
        for pid in found:
            self._signal(pid, signal.SIGCONT)  # a paused process could not stop by itself
        if self._supervisor.alive():
            names = [name for name, known in self._supervisor.states().items() if known.pid]
            stores = [name for name in names if name in (*NODES, "redis", "s3")]
            platform = [name for name in names if name not in stores and name != "envoy"]
            for group in (["envoy"] if "envoy" in names else [], platform, stores):
                if group:
                    with self._progress.step(f"stop {', '.join(group)}"):
                        self._supervisor.stop(group)
            self._supervisor.shutdown()
        deadline = time.monotonic() + STOP_S
        while self._supervisor.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        processes.end(processes.find(self.folder.root), run_dir=self.folder.root, grace_s=STOP_S)
        self._supervisor.reap()
        remembered = state.load(self.folder)
        if remembered is not None and found:
            seaweed.remove_sockets(remembered)
        return bool(found)

    # --- single processes ---------------------------------------------------------------------------------------

    def scale(self, *, servers: int | None = None, workers: int | None = None) -> None:
        """Adds or drains server and worker processes; the others, and Envoy, run on undisturbed."""
        with self._lock():
            self._together.failed.clear()
            before = self.state
            options = replace(
                before.options,
                servers=before.options.servers if servers is None else servers,
                workers=before.options.workers if workers is None else workers,
            )
            self._require_running()
            self._reshape(replace(before, options=options))

    def _reshape(self, wanted: State) -> None:
        """Brings the running processes to the wanted ones, draining what goes and admitting what comes when healthy."""
        missing = [name for name in platform_processes.port_names(wanted.options) if name not in wanted.ports]
        if missing:
            more = ports.reserve(
                missing,
                owner=str(self.folder.root),
                remembered={},
                own=wanted.ports.values(),
                book_path=ports.shared_book(),
            )
            wanted = replace(wanted, ports={**wanted.ports, **more})
        before = set(self._supervisor.states())
        programs = self._programs(wanted)
        names = [program.name for program in programs]
        going = sorted(before - set(names))
        if going:
            with self._progress.step(f"drain {', '.join(going)}"):
                edge.write_endpoints(self.folder, wanted, draining=going)
                time.sleep(DRAIN_SEEN_S)
                self._supervisor.stop(going)
        state.save(self.folder, wanted)
        settings.write_settings(self.folder, wanted)
        self._supervisor.update(programs)
        edge.write_endpoints(self.folder, wanted)
        known = self._supervisor.states()
        still = [name for name in names if not known[name].pid]
        if any(name in (*NODES, "redis", "s3") for name in still):
            self._start_all(wanted)
        else:
            self._together.run([partial(self._start_and_wait, wanted, name) for name in still])
            if "envoy" in names:
                self._waiter.wait(wanted, "envoy")  # until it sees the new servers well

    def status(self) -> dict[str, ProcessState]:
        """What the supervisor knows of each process; empty when the stack is down."""
        return self._supervisor.states() if self._supervisor.alive() else {}

    def pid(self, name: str) -> int:
        """The process id of a running process; raises StackError when it does not run."""
        known = self._supervisor.states().get(name)
        if known is None or not known.pid:
            raise StackError(f"{name} does not run")
        return known.pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends a process a signal and returns its pid; the supervisor starts it again if that ends it."""
        pid = self.pid(name)
        self._signal(pid, number)
        return pid

    def pause(self, name: str) -> None:
        """Freezes a process: it keeps its connections and answers nothing. Returns when it stands still."""
        processes.wait_frozen(self.kill(name, signal.SIGSTOP))

    def resume(self, name: str) -> None:
        """Lets a frozen process go on."""
        self.kill(name, signal.SIGCONT)

    def stop(self, name: str) -> None:
        """Stops a process in an orderly way, a server after Envoy was told; it stays away until `start`."""
        if edge.routed(name):
            edge.write_endpoints(self.folder, self.state, draining=[name])
            time.sleep(DRAIN_SEEN_S)
        self._supervisor.stop([name])

    def start(self, name: str) -> None:
        """Starts a stopped process and waits until it is healthy."""
        self._start_and_wait(self.state, name)
        if edge.routed(name):
            edge.write_endpoints(self.folder, self.state)

    def restart(self, name: str) -> None:
        """Stops a process in an orderly way, starts it again and waits until it is healthy."""
        self.stop(name)
        self.start(name)

    def healthy(self, name: str) -> bool:
        """Asks a process whether it is well, in its own protocol; blocks for at most some seconds."""
        return health.answers(self.folder, self.state, name)

    def wait_healthy(self, name: str, *, timeout_s: float = HEALTHY_S) -> None:
        """Waits until a process is well, restarts included; raises StackError after the timeout."""
        self._waiter.wait(self.state, name, timeout_s=timeout_s, patient=True)

    # --- the database -------------------------------------------------------------------------------------------

    def replication(self) -> ReplicationStatus:
        """How the databases stand to each other."""
        return replication(self.folder, self.state)

    def release(self) -> str | None:
        """Releases commits whose receipt was lost; see stack/replication.py. Returns the replica that gave it anew."""
        with self._lock():
            return release(self.folder, self.state)

    def failover(self, *, kill: bool = True, reachable: bool = True) -> str:
        """Fences the primary, promotes the most advanced replica and returns its name; see stack/failover.py.

        `kill`: the primary ends by SIGKILL and stays away; otherwise it is told to take no more writes. Not
        `reachable`: it is left alone, alive, as one that is cut off; its replicas leave it first.
        """
        with self._lock():
            self._together.failed.clear()
            return self._failover().failover(self.state, kill=kill, reachable=reachable).primary

    def rejoin(self, name: str) -> None:
        """Brings a node back as a replica, without what it had committed and nobody else has received."""
        with self._lock():
            self._together.failed.clear()
            self._failover().rejoin(self.state, name)

    def backup(self, target: Path, *, node: str | None = None) -> Backup:
        """Takes a backup of the running database into an empty folder; see stack/backup.py."""
        return Backups(folder=self.folder, progress=self._progress).take(self.state, target, node=node)

    def copy_logs(self, target: Path) -> list[str]:
        """Brings the binary logs beside a backup up to this moment."""
        return Backups(folder=self.folder, progress=self._progress).copy_logs(self.state, target)

    def restore(self, source: Path, *, number: str | None = None, margin: int | None = None) -> Restored:
        """Makes the database what it was after the commit of an invoice; the stack must be down (stack/restore.py).

        In a new run folder too, where only the database is then what it was.
        """
        with self._lock():
            if self._supervisor.alive() or processes.find(self.folder.root):
                raise StackError("the stack runs; stop it with `python -m stack down` first")
            restorer = Restorer(folder=self.folder, progress=self._progress)
            current = self._allot_ports(self._prepare())
            return restorer.restore(current, source, number=number, margin=margin)

    def _failover(self) -> Failover:
        return Failover(folder=self.folder, supervisor=self._supervisor, waiter=self._waiter, progress=self._progress)

    def _require_running(self) -> None:
        if not self._supervisor.alive():
            raise StackError(f"no stack runs in {self.folder.root}; start it with `python -m stack up`")

    def _signal(self, pid: int, number: signal.Signals) -> None:
        """Sends a signal if the pid is still one of this stack's."""
        if processes.belongs(pid, self.folder.root):
            os.kill(pid, number)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Lets one start, stop or scale of this folder happen at a time."""
        self.folder.root.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            file = held.enter_context(self.folder.lock.open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
