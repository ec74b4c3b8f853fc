"""The options that every command has: where Billow is, who asks, and how to answer."""

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from billow import TLS, AsyncClient, BillowError, RetryPolicy, Target, Timeouts

from .exits import Exit, exit_of
from .show import say, show_error
from .sources import UnusableFile

_OPTIONS = (
    click.option(
        "--target", envvar="BILLOW_TARGET", show_envvar=True, metavar="HOST:PORT", help="Where it is.", required=True
    ),
    click.option(
        "--api-key",
        envvar="BILLOW_API_KEY",
        show_envvar=True,
        metavar="KEY",
        help="Who asks. Prefer the variable or the file: other users can see the options of a command.",
    ),
    click.option(
        "--api-key-file",
        envvar="BILLOW_API_KEY_FILE",
        show_envvar=True,
        type=click.Path(dir_okay=False, path_type=Path),
        help="File with the API key in its first line.",
    ),
    click.option("--tls", is_flag=True, help="Encrypt the connection."),
    click.option("--tls-ca", type=click.Path(dir_okay=False, path_type=Path), help="PEM file: whom to trust."),
    click.option("--tls-cert", type=click.Path(dir_okay=False, path_type=Path), help="PEM file: our certificate."),
    click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="PEM file: its key."),
    click.option("--tls-server-name", metavar="NAME", help="Name in the server's certificate, if not the host."),
    click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
                 metavar="SECONDS", help="Longest wait for an answer, all attempts together."),
    click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs."),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where to, as whom, and how to answer."""

    target: Target
    timeout_s: float
    as_json: bool

    def client(self) -> AsyncClient:
        """A client; must be made inside the loop."""
        timeouts = Timeouts(call_s=self.timeout_s, batch_s=self.timeout_s, answer_s=self.timeout_s)
        return AsyncClient(self.target, timeouts=timeouts, retry=RetryPolicy())


def connected(command: Callable[..., Coroutine[Any, Any, Exit]]) -> Callable[..., None]:
    """Makes a click callback of a coroutine that takes a Connection: options, loop, signals, errors, exit code."""

    @functools.wraps(command)
    def callback(**given: Any) -> None:
        connection = _connection(given)
        sys.exit(_run(connection, lambda: command(connection, **given)))

    for option in reversed(_OPTIONS):
        callback = option(callback)
    return callback


def _run(connection: Connection, work: Callable[[], Awaitable[Exit]]) -> Exit:
    try:
        return asyncio.run(_with_signals(work))
    except BillowError as error:
        show_error(error, as_json=connection.as_json)
        return exit_of(error)
    except UnusableFile as error:
        say(f"billow: {error}")
        return Exit.USAGE
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("billow: interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


async def _with_signals(work: Callable[[], Awaitable[Exit]]) -> Exit:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work()


def _connection(given: dict[str, Any]) -> Connection:
    """Takes the options of the connection out of ``given``."""
    key: str | None = given.pop("api_key")
    key_file: Path | None = given.pop("api_key_file")
    if key is None and key_file is not None:
        key = _read(key_file, "--api-key-file").decode("ascii", "replace").partition("\n")[0].strip()
    parts = {name: given.pop(f"tls_{name}") for name in ("ca", "cert", "key", "server_name")}
    tls = None
    if given.pop("tls") or any(parts.values()):
        contents = {
            name: _read(parts[name], f"--tls-{name}") if parts[name] else None for name in ("ca", "cert", "key")
        }
        try:
            tls = TLS(
                root_certificates=contents["ca"],
                client_certificate=contents["cert"],
                client_key=contents["key"],
                server_name=parts["server_name"],
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    try:
        target = Target(address=given.pop("target"), api_key=key or None, tls=tls)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return Connection(target=target, timeout_s=given.pop("timeout_s"), as_json=given.pop("as_json"))


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{option} {path}: {error.strerror}") from error
