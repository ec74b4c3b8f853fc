"""What a client can be told: frozen values, checked when made. Nothing is read from the environment."""

from dataclasses import dataclass, field


def _require(condition: bool, name: str, rule: str) -> None:
    if not condition:
        raise ValueError(f"{name} {rule}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """Encrypt the connection. All parts are PEM bytes.

    ``root_certificates``: who is trusted; None means the roots that grpc brings along.
    ``client_certificate`` and ``client_key``: who we are, both or neither.
    ``server_name``: the name the server's certificate must carry when it differs from the address.
    """

    root_certificates: bytes | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        both = (self.client_certificate is None) == (self.client_key is None)
        _require(both, "TLS.client_certificate and TLS.client_key", "must be given together")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a call may take, all its attempts and the waits between them together. Seconds.

    ``call_s``: a single call. ``batch_s``: a batch of up to 1,000.
    ``answer_s``: of a stream: the longest silence while an answer is due; then the stream counts as broken and is
    opened anew. ``None`` is not offered: a call without a deadline can hang for ever.
    """

    call_s: float = 30.0
    batch_s: float = 60.0
    answer_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("call_s", "batch_s", "answer_s"):
            _require(getattr(self, name) > 0, f"Timeouts.{name}", "must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When and how often a call is made again; only calls whose repetition is safe are (see AsyncClient).

    ``attempts_max``: attempts of one call, the first included; 1 switches retries off.
    ``stream_attempts_max``: attempts in a row of a stream, or of a refused batch of it, without any progress.
    ``backoff_first_ms``, ``backoff_max_ms``: the wait before attempt n is drawn evenly from 0 to
    ``min(backoff_max_ms, backoff_first_ms * 2 ** (n - 2))`` (full jitter). A RetryInfo of the server is waited for in
    full, and the jitter comes on top.
    ``budget_tokens``: tokens of the client's retry budget: a failed attempt takes one, a successful call gives
    ``budget_refill`` back, and nothing is retried while half of them are gone: in the long run at most
    ``budget_refill`` retries (10 %) of the calls that succeed, so that retries cannot multiply an overload. The error
    raised then has ``not_retried == "budget"``. Streams have a budget of their own: once it is used up they go on,
    but wait ``backoff_max_ms`` at least before they send anything again.
    """

    attempts_max: int = 6
    stream_attempts_max: int = 20
    backoff_first_ms: int = 100
    backoff_max_ms: int = 5_000
    budget_tokens: int = 100
    budget_refill: float = 0.1

    def __post_init__(self) -> None:
        _require(1 <= self.attempts_max <= 100, "RetryPolicy.attempts_max", "must be 1 to 100")
        _require(1 <= self.stream_attempts_max <= 1_000, "RetryPolicy.stream_attempts_max", "must be 1 to 1,000")
        _require(0 < self.backoff_first_ms <= self.backoff_max_ms, "RetryPolicy.backoff_first_ms", "is impossible")
        _require(self.budget_tokens >= 2, "RetryPolicy.budget_tokens", "must be at least 2")
        _require(0 <= self.budget_refill <= 1, "RetryPolicy.budget_refill", "must be 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """Pings that notice a dead connection. Sent only while calls are under way, so that idle clients cost nothing.

    ``interval_ms`` must not be below what the edge tolerates (Envoy: see envoy/README.md).
    """

    interval_ms: int = 10_000  # a call of 30 s can be repeated when the first connection was lost
    timeout_ms: int = 5_000

    def __post_init__(self) -> None:
        _require(self.interval_ms >= 1_000, "Keepalive.interval_ms", "must be at least 1,000")
        _require(self.timeout_ms >= 100, "Keepalive.timeout_ms", "must be at least 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where Billow is and who asks.

    ``address``: "host:port", or any name grpc resolves ("dns:///billow.example:443").
    ``api_key``: sent as ``authorization: Bearer <api_key>``; None for the public form of verification.
    ``tls``: None means a plaintext connection.
    """

    address: str
    api_key: str | None = field(default=None, repr=False)
    tls: TLS | None = None

    def __post_init__(self) -> None:
        _require(bool(self.address), "Target.address", "must not be empty")
        if self.api_key is not None:
            fit = self.api_key.isascii() and self.api_key.isprintable() and self.api_key.strip() == self.api_key
            _require(fit and bool(self.api_key), "Target.api_key", "must be printable ASCII without blanks around it")
