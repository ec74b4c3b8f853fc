"""The connection: its options and credentials."""

import grpc
from grpc import aio

from ._config import Keepalive, Target

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of one message in either direction; the server takes as many."""

_RECONNECT_FIRST_MS = 100
_RECONNECT_MAX_MS = 2_000  # grpc's own default of 120 s would outlast every deadline


def open_channel(target: Target, keepalive: Keepalive) -> aio.Channel:
    """A channel to ``target``; connects at its first call. Must be made inside the loop that uses it."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.keepalive_time_ms", keepalive.interval_ms),
        ("grpc.keepalive_timeout_ms", keepalive.timeout_ms),
        ("grpc.http2.ping_timeout_ms", keepalive.timeout_ms),  # without it: a minute
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_FIRST_MS),
        ("grpc.min_reconnect_backoff_ms", _RECONNECT_FIRST_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MAX_MS),
        ("grpc.service_config_disable_resolution", 1),
        # a channel has connections of its own, so that two clients of one process are two for the edge's balancing
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.primary_user_agent", "billow-python/0.1"),
    ]
    if target.tls is None:
        return aio.insecure_channel(target.address, options=options)
    if target.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", target.tls.server_name))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=target.tls.root_certificates,
        private_key=target.tls.client_key,
        certificate_chain=target.tls.client_certificate,
    )
    return aio.secure_channel(target.address, credentials, options=options)
