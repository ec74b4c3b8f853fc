"""The command `python -m stack`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from stack import doctor, progress, state, status
from stack.options import ALL_PARTS, DATA_STORES, DEFAULT_RUN_DIR, StackError, StackOptions
from stack.system import Stack

PEM = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)


class _Command(click.Group):
    """Shows a StackError as one message, without a traceback, and exits 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the chosen command."""
        try:
            return super().invoke(ctx)
        except StackError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_RUN_DIR,
    envvar="BILLOW_RUN_DIR",
    help="Folder of data, logs and configuration (default: run/ in the checkout).",
)
@click.pass_context
def main(context: click.Context, run_dir: Path) -> None:
    """The whole of Billow on this machine, as private processes on loopback."""
    console = Console(stderr=True)
    context.obj = Stack(run_dir=run_dir, progress=progress.for_console(console))


@main.command()
@click.option("--servers", type=int, help="Server processes (default: one a core).")
@click.option("--workers", type=int, help="Worker processes (default: 1).")
@click.option("--tls", nargs=2, type=PEM, metavar="CERTIFICATE KEY", help="PEM files: Envoy speaks TLS.")
@click.option("--tls-client-ca", type=PEM, help="PEM file: callers must show a certificate of this authority.")
@click.option(
    "--jwt", nargs=3, metavar="JWKS ISSUER AUDIENCE", help="Envoy takes tokens of this issuer, with keys of this file."
)
@click.option("--only", type=click.Choice(["all", "stores"]), help="Start everything, or only the data stores.")
@click.pass_obj
def up(
    stack: Stack,
    *,
    servers: int | None,
    workers: int | None,
    tls: tuple[Path, Path] | None,
    tls_client_ca: Path | None,
    jwt: tuple[str, str, str] | None,
    only: str | None,
) -> None:
    """Start what does not run and wait until all is healthy. Data of earlier starts is kept.

    Options are remembered for the next start. Envoy takes those of TLS and of tokens when it starts.
    """
    doctor.require_all(stack.folder.root)
    remembered = state.load(stack.folder)
    options = remembered.options if remembered else StackOptions()
    if servers is not None:
        options = replace(options, servers=servers)
    if workers is not None:
        options = replace(options, workers=workers)
    if tls:
        options = replace(options, tls_certificate=str(tls[0]), tls_key=str(tls[1]))
    if tls_client_ca:
        options = replace(options, tls_client_ca=str(tls_client_ca))
    if jwt:
        keys = Path(jwt[0]).resolve()
        if not keys.is_file():
            raise StackError(f"{keys} is no file")
        options = replace(options, jwt_keys=str(keys), jwt_issuer=jwt[1], jwt_audience=jwt[2])
    if only is not None:
        options = replace(options, parts=DATA_STORES if only == "stores" else ALL_PARTS)
    began = time.monotonic()
    started = stack.with_options(options).up()
    took_s = time.monotonic() - began
    click.echo(f"up after {took_s:.1f} s" if started else "already running, and healthy")
    if "envoy" in options.parts:
        address = stack.envoy
        click.echo(f"gRPC, gRPC-Web and JSON: {address.host}:{address.port}    settings: {stack.config_path}")


@main.command()
@click.pass_obj
def down(stack: Stack) -> None:
    """Stop everything that `up` started. Data and logs are kept."""
    click.echo("down" if stack.down() else "nothing was running")


@main.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def show_status(stack: Stack, as_json: bool) -> None:
    """Show processes, replication and rates. Exits 1 unless all is well."""
    report = status.collect(stack)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    elif report.processes:
        Console().print(status.render(report))
    else:
        click.echo(f"no stack runs in {report.run_dir}")
    sys.exit(0 if report.healthy else 1)


@main.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added.")
@click.option("-n", "--lines", type=int, default=40, show_default=True, help="How many of the last lines.")
@click.pass_obj
def logs(stack: Stack, name: str | None, follow: bool, lines: int) -> None:
    """Show the log of process NAME, or of all."""
    files = [stack.folder.log(name)] if name else sorted(stack.folder.logs.glob("*.log"))
    if not files or not files[0].exists():
        known = ", ".join(sorted(path.stem for path in stack.folder.logs.glob("*.log"))) or "none yet"
        raise StackError(f"no log of {name or 'anything'}; there are: {known}")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
    sys.exit(subprocess.run(command, check=False).returncode)


@main.command()
@click.argument("sizes", nargs=-1, required=True, metavar="server=N | worker=N …")
@click.pass_obj
def scale(stack: Stack, sizes: tuple[str, ...]) -> None:
    """Run more or fewer servers or workers. The others, and Envoy, are not disturbed."""
    wanted: dict[str, int] = {}
    for size in sizes:
        kind, _, number = size.partition("=")
        if kind not in ("server", "worker") or not number.isdigit():
            raise StackError(f"{size!r} is neither server=N nor worker=N")
        wanted[kind] = int(number)
    stack.scale(servers=wanted.get("server"), workers=wanted.get("worker"))
    options = stack.state.options
    click.echo(f"{options.server_count} servers, {options.worker_count} workers")


@main.command()
@click.option("--kill/--ask", default=True, show_default=True, help="SIGKILL the primary, or tell it to stop writing.")
@click.option("--unreachable", is_flag=True, help="Leave the primary alone, as if it could not be reached.")
@click.pass_obj
def failover(stack: Stack, kill: bool, unreachable: bool) -> None:
    """Make the most advanced replica the primary. The old one stays outside until it rejoins."""
    click.echo(f"{stack.failover(kill=kill, reachable=not unreachable)} is the primary")


@main.command()
@click.pass_obj
def release(stack: Stack) -> None:
    """Release commits that wait for a receipt a replica gave and the primary never got (docs/adr/0044)."""
    node = stack.release()
    click.echo(f"{node} has given its receipt again" if node else "no commit waits for a receipt")


@main.command()
@click.argument("name")
@click.pass_obj
def rejoin(stack: Stack, name: str) -> None:
    """Bring database node NAME back as a replica."""
    stack.rejoin(name)
    click.echo(f"{name} follows {stack.state.primary}")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, resolve_path=True, path_type=Path))
@click.option("--node", help="Database node to copy (default: the first replica).")
@click.option("--logs", "only_logs", is_flag=True, help="Only bring the logs of an earlier backup up to now.")
@click.pass_obj
def backup(stack: Stack, folder: Path, node: str | None, only_logs: bool) -> None:
    """Copy the database, and its binary logs, into FOLDER (docs/backup.md)."""
    if only_logs:
        click.echo(f"copied {', '.join(stack.copy_logs(folder))}")
        return
    made = stack.backup(folder, node=node)
    click.echo(f"{made.node} up to {made.gtid} in {folder}")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, exists=True, resolve_path=True, path_type=Path))
@click.option("--to-invoice", metavar="NUMBER", help="The last invoice to have (default: the last one in the logs).")
@click.option("--margin", type=click.IntRange(min=0), help="Numbers to set aside in every range beyond those known.")
@click.pass_obj
def restore(stack: Stack, folder: Path, to_invoice: str | None, margin: int | None) -> None:
    """Restore the database from the backup in FOLDER; the stack must be down (docs/backup.md).

    What is there is moved aside, not deleted. Numbers of invoices issued after the point are never issued again.
    """
    done = stack.restore(folder, number=to_invoice, margin=margin)
    click.echo(f"restored up to {done.gtid}, epoch {done.epoch}; what was there before is in {done.before}")
    click.echo(f"{done.issued_after} invoices were issued after that: {done.list}")
    click.echo(f"{done.withdrawn} numbers are set aside; start with `python -m stack up`, then `billow-admin audit`")


@main.command("doctor")
@click.pass_obj
def show_doctor(stack: Stack) -> None:
    """Look whether this machine has what a stack needs. Exits 1 if something is missing."""
    findings = doctor.examine(stack.folder.root)
    for finding in findings:
        click.echo(f"{'missing' if finding.remedy else 'ok':8}{finding.name:20}{finding.remedy or finding.found}")
    sys.exit(1 if any(finding.remedy for finding in findings) else 0)
