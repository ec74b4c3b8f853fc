"""What a stack remembers between its starts: options, ports, passwords and which database node is the primary."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stack.options import RunFolder, StackError, StackOptions

SECRET_BYTES = 24
SECRETS = ("mysql_root", "mysql_app", "mysql_admin", "mysql_replication", "redis", "s3_app", "s3_admin")
NODES = ("mysql-1", "mysql-2", "mysql-3")  # the last one runs with two replicas only


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One moment of a stack's memory."""

    options: StackOptions
    ports: Mapping[str, int] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    primary: str = NODES[0]
    outside: tuple[str, ...] = ()  # nodes that a failover left behind, until they rejoin

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every database node of the stack."""
        return NODES[: 1 + self.options.replicas]

    @property
    def others(self) -> tuple[str, ...]:
        """Every database node but the primary."""
        return tuple(node for node in self.nodes if node != self.primary)

    @property
    def replicas(self) -> tuple[str, ...]:
        """The nodes that follow the primary."""
        return tuple(node for node in self.others if node not in self.outside)

    @property
    def replica(self) -> str:
        """The first node that is not the primary."""
        return self.others[0]


def load(folder: RunFolder) -> State | None:
    """Reads the state, or returns None where no stack has been started yet. Raises StackError on a damaged file."""
    try:
        table: dict[str, Any] = json.loads(folder.state.read_text())
        options = table["options"] | {"parts": frozenset(table["options"]["parts"])}
        return State(
            options=StackOptions(**options),
            ports=table["ports"],
            secrets=table["secrets"],
            primary=table["primary"],
            outside=tuple(table.get("outside", ())),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(f"{folder.state} is damaged ({error}); remove {folder.root} to begin anew") from error


def save(folder: RunFolder, state: State) -> None:
    """Writes the state and the ports file."""
    options = asdict(state.options) | {"parts": sorted(state.options.parts)}
    table = {
        "options": options,
        "ports": dict(state.ports),
        "secrets": dict(state.secrets),
        "primary": state.primary,
        "outside": list(state.outside),
    }
    write(folder.state, json.dumps(table, indent=2), mode=0o600)
    write(folder.ports, json.dumps(dict(state.ports), indent=2) + "\n")


def new_secrets() -> dict[str, str]:
    """Makes a password for every user of the stack."""
    return {name: secrets.token_urlsafe(SECRET_BYTES) for name in SECRETS}


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Writes a file whole: a reader sees the old one or the new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
