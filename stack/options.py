"""What a stack consists of, and where its files lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent
DEFAULT_RUN_DIR: Final = CHECKOUT / "run"
RUN_DIR_CHARS_MAX: Final = 80  # a Unix socket's path ends at 107 bytes, and sockets lie up to 24 below the run folder
PROCESSES_MAX: Final = 64  # server or worker processes of one stack

DATA_STORES: Final = frozenset({"mysql", "redis", "s3"})
ALL_PARTS: Final = DATA_STORES | {"server", "worker", "envoy", "mail"}


class StackError(RuntimeError):
    """The stack cannot do what was asked; the text says what is missing or which process failed."""


def cores() -> int:
    """Returns the number of cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """Which parts run, how many of them, and how much memory the stores may use.

    None of these weakens durability: there is no unsafe mode.
    """

    servers: int = field(default_factory=cores)
    workers: int = 1
    webs: int = 1  # of downloads and pages; they run where Envoy does
    parts: frozenset[str] = ALL_PARTS
    replicas: int = 1  # of the database; with two, a commit is acknowledged although one of them is away
    primary_pool_mib: int = 512
    replica_pool_mib: int = 256
    redis_max_mib: int = 256
    envoy_threads: int = 1
    public_calls_s: int = 100  # a second, of one address without a key (envoy/README.md)
    tls_certificate: str = ""  # PEM file, its chain behind it; empty: Envoy speaks in plain text, on loopback only
    tls_key: str = ""  # PEM file
    tls_client_ca: str = ""  # PEM file; with it callers must show a certificate of this authority
    jwt_keys: str = ""  # file with the keys (JWKS) of those whose tokens Envoy believes; empty: API keys only
    jwt_issuer: str = ""
    jwt_audience: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # added to the settings file, by table
    # variables that single processes ("server-1", "redis") are started with besides: tests make clocks jump by them
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = self.parts - ALL_PARTS
        if unknown:
            raise StackError(
                f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(sorted(ALL_PARTS))}"
            )
        for name, least in (("servers", 0), ("workers", 0), ("webs", 0), ("envoy_threads", 1)):
            if not least <= getattr(self, name) <= PROCESSES_MAX:
                raise StackError(f"{name} must be {least} to {PROCESSES_MAX}")
        if self.public_calls_s < 1:
            raise StackError("public_calls_s must be at least 1")
        if self.replicas not in (1, 2):
            raise StackError("replicas must be 1 or 2")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise StackError("tls_certificate and tls_key must stand together")
        if self.tls_client_ca and not self.tls_certificate:
            raise StackError("tls_client_ca must stand together with tls_certificate")
        if len({bool(self.jwt_keys), bool(self.jwt_issuer), bool(self.jwt_audience)}) != 1:
            raise StackError("jwt_keys, jwt_issuer and jwt_audience must stand together")
        for name in ("primary_pool_mib", "replica_pool_mib", "redis_max_mib"):
            if getattr(self, name) < 16:
                raise StackError(f"{name} must be at least 16")

    @property
    def server_count(self) -> int:
        """Server processes that run: none when the part is left out."""
        return self.servers if "server" in self.parts else 0

    @property
    def worker_count(self) -> int:
        """Worker processes that run: none when the part is left out."""
        return self.workers if "worker" in self.parts else 0

    @property
    def web_count(self) -> int:
        """Web processes that run: none without Envoy, through which alone they are reached."""
        return self.webs if "envoy" in self.parts else 0


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The places inside one run folder."""

    root: Path

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise StackError(f"the run folder must be an absolute path, not {self.root}")
        if len(str(self.root)) > RUN_DIR_CHARS_MAX:
            raise StackError(
                f"the run folder's path has {len(str(self.root))} characters; Unix sockets allow {RUN_DIR_CHARS_MAX}: "
                "choose a shorter one with --run-dir"
            )

    @property
    def settings(self) -> Path:
        """The settings file of servers and workers; secret."""
        return self.root / "billow.toml"

    @property
    def state(self) -> Path:
        """Ports, passwords, options and roles; secret."""
        return self.root / "state.json"

    @property
    def ports(self) -> Path:
        """The ports in use, for people and scripts to read."""
        return self.root / "ports.json"

    @property
    def lock(self) -> Path:
        """Held while the stack is being changed."""
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.root / "logs"

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord listens."""
        return self.root / "supervisor.sock"

    @property
    def supervisor_config(self) -> Path:
        """What supervisord reads."""
        return self.root / "supervisord.conf"

    @property
    def redis(self) -> Path:
        """Redis's folder."""
        return self.root / "redis"

    @property
    def s3(self) -> Path:
        """SeaweedFS's folder."""
        return self.root / "s3"

    @property
    def mail(self) -> Path:
        """Where the mail sink keeps messages."""
        return self.root / "mail"

    @property
    def envoy(self) -> Path:
        """Envoy's folder."""
        return self.root / "envoy"

    def mysql(self, node: str) -> Path:
        """The folder of one database node."""
        return self.root / node

    def log(self, process: str) -> Path:
        """The log of one process."""
        return self.logs / f"{process}.log"
