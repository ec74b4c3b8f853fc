"""supervisord: its configuration, its start, and talking to it over its socket.

supervisord keeps the processes running; this module only tells it which ones. See docs/adr and stack/README.md for why
supervisord was chosen.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shlex
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from stack import processes
from stack.options import CHECKOUT, RunFolder, StackError
from stack.state import write

START_S: Final = 10.0
CALL_S: Final = 60.0
LOG_BYTES_MAX: Final = 32 * 1024 * 1024
LOG_BACKUPS: Final = 2
RESTARTS_MAX: Final = 30  # failed starts in a row, with growing pauses, before supervisord gives up on a process

NOT_RUNNING: Final = 70  # faults of supervisord's API
ALREADY_STARTED: Final = 60
STILL: Final = ("STOPPED", "FATAL")  # supervisord starts nothing again that is in one of these states


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A process to keep running."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_grace_s: int = 10  # from SIGTERM to SIGKILL

    def with_more(self, environment: Mapping[str, Mapping[str, str]]) -> Program:
        """Returns it with the variables that are meant for a process of its name."""
        return replace(self, environment={**self.environment, **environment.get(self.name, {})})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """What supervisord says of a process. `pid` is 0 when it does not run."""

    name: str
    state: str
    pid: int
    detail: str


def render(folder: RunFolder, programs: Iterable[Program]) -> str:
    """Returns supervisord's configuration. Every process carries the mark by which `down` knows its own."""
    mark = f'{processes.MARK}="{folder.root}"'
    sections = [
        "[unix_http_server]",
        f"file={_text(folder.supervisor_socket)}",
        "chmod=0600",
        "[supervisord]",
        f"logfile={_text(folder.log('supervisord'))}",
        "logfile_maxbytes=4MB",
        "logfile_backups=1",
        f"pidfile={_text(folder.root / 'supervisord.pid')}",
        f"childlogdir={_text(folder.logs)}",
        f"directory={_text(CHECKOUT)}",
        "minfds=65536" if _may_open(65536) else "minfds=1024",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        values = ",".join([mark, *(f'{name}="{value}"' for name, value in program.environment.items())])
        sections += [
            f"[program:{program.name}]",
            f"command={_text(shlex.join(program.command))}",
            f"environment={_text(values)}",
            "autostart=false",  # `up` starts them in their order
            "autorestart=true",
            "startsecs=1",
            f"startretries={RESTARTS_MAX}",
            "stopsignal=TERM",
            f"stopwaitsecs={program.stop_grace_s}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_text(folder.log(program.name))}",
            f"stdout_logfile_maxbytes={LOG_BYTES_MAX}",
            f"stdout_logfile_backups={LOG_BACKUPS}",
        ]
    return "\n".join(sections) + "\n"


class Supervisor:
    """The supervisord of one run folder. Calls block for at most CALL_S and raise StackError without an answer."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._launched = 0
        self._calling = threading.Lock()  # one call at a time: the proxy is not made for several threads
        self._proxy = xmlrpc.client.ServerProxy(
            "http://supervisor", transport=_UnixTransport(folder.supervisor_socket), allow_none=True
        )

    def alive(self) -> bool:
        """Tells whether this folder's supervisord answers."""
        try:
            self._call("getState")
        except StackError:
            return False
        return True

    def launch(self, *, with_owner: bool) -> None:
        """Starts supervisord and waits until it answers.

        `with_owner`: it ends, and everything with it, when the calling process does, however that ends.
        """
        self._folder.logs.mkdir(parents=True, exist_ok=True)
        self._folder.supervisor_socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "stack.supervise", "-n", "-c", str(self._folder.supervisor_config)]
        if with_owner:
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with self._folder.log("supervisord.out").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=_environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self.alive():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"supervisord did not start; see {self._folder.log('supervisord.out')}")
            time.sleep(0.02)
        process.returncode = 0  # it may outlive this process: Popen shall not warn of that
        self._launched = process.pid

    def write_config(self, programs: Iterable[Program]) -> None:
        """Writes the configuration, without telling a running supervisord."""
        write(self._folder.supervisor_config, render(self._folder, programs), mode=0o600)

    def update(self, programs: Iterable[Program]) -> tuple[list[str], list[str]]:
        """Adopts a new list of programs without touching those that stay; returns the names added and removed.

        Those removed are stopped; those added are not yet started.
        """
        self.write_config(programs)
        added, _, removed = cast(list[list[list[str]]], self._call("reloadConfig"))[0]
        for name in removed:
            self.stop([name])
            self._call("removeProcessGroup", name)
        for name in added:
            self._call("addProcessGroup", name)
        return added, removed

    def start(self, names: Iterable[str]) -> None:
        """Starts processes without waiting until they are healthy; those running stay as they are."""
        for name in names:
            self._call("startProcess", name, False, ignore=ALREADY_STARTED)

    def stop(self, names: Iterable[str]) -> None:
        """Stops processes together and waits until they are gone: SIGTERM, then SIGKILL after their grace.

        One that has just ended by itself is about to be started again, and cannot be told to stop before: it is told
        until it stands still.
        """
        waiting = list(names)
        while waiting:
            self.tell_to_stop(waiting)
            states = self.states()
            waiting = [name for name in waiting if states[name].state not in STILL]
            if waiting:
                time.sleep(0.02)

    def tell_to_stop(self, names: Iterable[str]) -> None:
        """Sends processes SIGTERM, and does not start them again; does not wait."""
        for name in names:
            self._call("stopProcess", name, False, ignore=NOT_RUNNING)

    def states(self) -> dict[str, ProcessState]:
        """Returns what supervisord knows of each process, by name."""
        infos = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        return {
            info["name"]: ProcessState(
                name=info["name"], state=info["statename"], pid=info["pid"], detail=info["description"]
            )
            for info in infos
        }

    def reap(self) -> None:
        """Takes note of the end of a supervisord that this object launched, so that no zombie stays."""
        if self._launched:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._launched, 0)
            self._launched = 0

    def shutdown(self) -> None:
        """Tells supervisord to stop what still runs and to end; does not wait."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: Any, ignore: int | None = None) -> Any:
        try:
            with self._calling:
                try:
                    return getattr(self._proxy.supervisor, method)(*arguments)
                finally:
                    self._proxy("close")()
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == ignore:
                return None
            raise StackError(f"supervisord: {method}{arguments}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException) as error:
            raise StackError(f"supervisord of {self._folder.root} does not answer: {error}") from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_S)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """A new connection for every call: calls are rare, and supervisord may have been restarted in between."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: tuple[str, dict[str, str]] | str) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = (host, connection)  # so that closing the transport closes it
        return connection


def _environment(folder: RunFolder) -> dict[str, str]:
    """The environment of supervisord: the caller's, and the mark."""
    return {**os.environ, processes.MARK: str(folder.root), "PYTHONUNBUFFERED": "1"}


def _may_open(files: int) -> bool:
    """Tells whether processes of this user may have so many files open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= files


def _text(value: object) -> str:
    """Escapes what supervisord's configuration would expand."""
    return str(value).replace("%", "%%")
