"""The settings file: TOML, parsed once into frozen values; unknown keys and impossible values fail at start."""

from __future__ import annotations

import dataclasses
import ipaddress
import tomllib
import types
import typing
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import limits
from core.domain.download_link import KEY_ID_FORM, LinkKey
from core.domain.webhooks import SCHEDULE_MS


class SettingsError(ValueError):
    """A setting is unknown, missing or impossible; the text names it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads "host:port"; raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not (separator and host and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{text!r} is not host:port")
        return cls(host=host, port=int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class MySQLSettings:
    """Where the truth is. `primary` and `replicas` are first guesses; the topology probe finds out who is who."""

    primary: Address
    replicas: tuple[Address, ...] = ()
    user: str
    password: str
    database: str = "billow"
    admin_user: str = ""  # may change the schema; used by `billow-admin migrate` only, empty: `user`
    admin_password: str = ""
    pool_connections: int = 8  # per process and node
    connect_timeout_ms: int = 2_000
    read_timeout_ms: int = 2_000  # of one read; a slower node counts as away and the next one is asked
    probe_interval_ms: int = 500
    replica_lag_max_ms: int = 1_000  # P7: an older replica is not asked about states
    durability: str = "strict"  # P1: a primary that does not wait for a replica is not used; "primary_only": it is

    def __post_init__(self) -> None:
        require(1 <= self.pool_connections <= 256, "mysql.pool_connections", "must be 1 to 256")
        require(self.connect_timeout_ms > 0, "mysql.connect_timeout_ms", "must be positive")
        require(self.read_timeout_ms > 0, "mysql.read_timeout_ms", "must be positive")
        require(self.probe_interval_ms >= 50, "mysql.probe_interval_ms", "must be at least 50")
        known = ("strict", "primary_only")
        require(self.durability in known, "mysql.durability", f"must be one of {', '.join(known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Where the cache is, told in one of three ways: `url`, `sentinels` or `cluster`."""

    url: str = ""  # of one node, with its user, password and database; redis://, rediss:// (TLS) or unix://
    sentinels: tuple[Address, ...] = ()  # who know the master; one that sees most of the others is believed
    sentinel_master: str = ""  # the name they know it by
    sentinel_user: str = ""  # of the sentinels themselves
    sentinel_password: str = ""  # of the sentinels themselves; empty: they ask for none
    cluster: tuple[Address, ...] = ()  # some nodes of a Redis Cluster: first guesses, each of them tells all
    user: str = ""  # of the nodes of `sentinels` or `cluster`; empty: Redis's default user
    password: str = ""  # of the nodes of `sentinels` or `cluster`; empty: they ask for none
    database: int = 0  # of the master of `sentinels`; a cluster has only this one
    tls: bool = False  # to sentinels and nodes of `sentinels` or `cluster`; in a `url`: rediss://
    tls_ca: str = ""  # PEM file of who signed their certificates; empty: the system's list
    connections: int = 16  # per process; in a cluster per family of keys (core/storage/redis/keys.py)
    timeout_ms: int = 200  # a slower Redis counts as away: the cache is skipped
    verification_ttl_s: int = 3_600
    request_ttl_s: int = 3_600

    def __post_init__(self) -> None:
        ways = [name for name in ("url", "sentinels", "cluster") if getattr(self, name)]
        require(bool(ways), "redis.url", "is missing, and redis.sentinels and redis.cluster are too")
        require(len(ways) == 1, f"redis.{ways[-1]}", f"must not stand beside redis.{ways[0]}")
        known = ("redis://", "rediss://", "unix://")
        require(not self.url or self.url.startswith(known), "redis.url", "must be a redis:// URL")
        together = bool(self.sentinels) == bool(self.sentinel_master)
        require(together, "redis.sentinel_master", "must stand together with redis.sentinels")
        for name in ("sentinel_user", "sentinel_password", "database"):
            fits = bool(self.sentinels) or not getattr(self, name)
            require(fits, f"redis.{name}", "must stand together with redis.sentinels")
        for name in ("user", "password", "tls", "tls_ca"):
            fits = not (self.url and getattr(self, name))
            require(fits, f"redis.{name}", "must not stand beside redis.url, which says it itself")
        for user, password in (("user", "password"), ("sentinel_user", "sentinel_password")):
            fits = bool(getattr(self, password)) or not getattr(self, user)
            require(fits, f"redis.{user}", f"must stand together with redis.{password}")
        require(self.tls or not self.tls_ca, "redis.tls_ca", "must stand together with redis.tls")
        require(self.database >= 0, "redis.database", "must not be negative")
        require(self.connections >= 1, "redis.connections", "must be positive")
        require(self.timeout_ms > 0, "redis.timeout_ms", "must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreSettings:
    """Where the archive is: any S3."""

    endpoint: str
    region: str = "us-east-1"
    bucket: str = "billow-archive"
    access_key: str
    secret_key: str
    retention_days: int = 30 * 365  # DOMAIN.md: 30 years for vouchers
    retention_mode: str = "COMPLIANCE"  # nobody can delete before the time; GOVERNANCE: those with a special right can
    timeout_ms: int = 10_000

    def __post_init__(self) -> None:
        require(self.retention_days >= 1, "object_store.retention_days", "must be at least 1")
        modes = ("COMPLIANCE", "GOVERNANCE")
        require(self.retention_mode in modes, "object_store.retention_mode", f"must be one of {', '.join(modes)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How a server process behaves."""

    host: str = "127.0.0.1"
    drain_wait_ms: int = 1_000  # between NOT_SERVING and refusing: longer than Envoy's health check interval
    drain_grace_ms: int = 20_000  # for calls under way
    commit_wait_max_ms: int = 25_000  # an answer waits at most so long for its commit when the caller set no deadline
    # what one tenant may ask one process, beyond RATE_BURST_S at once; 0: as much as there is (docs/adr/0041)
    tenant_checks_a_second: int = 0  # of invoices, of batches and streams each one
    tenant_reads_a_second: int = 0  # calls that need the scope "read"
    edge_secret: str = ""  # what Envoy proves itself with when it names a caller by a token; empty: only keys count
    reflection: bool = True
    channelz_dir: str = ""  # where each process opens its channelz socket, channelz-SLOT.sock; empty: none

    def __post_init__(self) -> None:
        require(self.drain_wait_ms >= 0, "server.drain_wait_ms", "must not be negative")
        long = not self.edge_secret or len(self.edge_secret) >= limits.EDGE_SECRET_CHARS_MIN
        require(long, "server.edge_secret", f"must have at least {limits.EDGE_SECRET_CHARS_MIN} characters")
        require(self.tenant_checks_a_second >= 0, "server.tenant_checks_a_second", "must not be negative")
        require(self.tenant_reads_a_second >= 0, "server.tenant_reads_a_second", "must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker process behaves."""

    lease_ms: int = 60_000  # a claim not finished by then is free again
    segment_age_max_ms: int = 2_000  # pack what is there when its oldest batch is so old
    idle_wait_ms: int = 500  # between looks when nothing wakes the worker

    def __post_init__(self) -> None:
        require(self.lease_ms >= 1_000, "worker.lease_ms", "must be at least 1000")
        require(self.segment_age_max_ms < self.lease_ms, "worker.segment_age_max_ms", "must be below worker.lease_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings:
    """Where the keys are that sign documents: names of files and of things on a token, no secrets."""

    key: str = ""
    passphrase: str = ""
    certificate: str = ""
    token_module: str = ""
    token: str = ""
    token_key: str = ""
    token_pin: str = ""
    seller_keys: str = ""
    former_certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSettings:
    """How documents are rendered."""

    font: str = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"  # Debian's fonts-wqy-microhei; TrueType outlines
    processes: int = 1  # that render, per server process; started when the first document is asked for
    signing_key: str = ""  # PEM file of the platform's key, RSA or EC P-256; empty, and no token: it signs nothing
    signing_passphrase: str = ""  # file with the key's passphrase on its first line; empty: the key is not encrypted
    signing_certificate: str = ""  # PEM file of the key's certificate, the chain behind it
    token_module: str = ""  # in place of `signing_key`: the library that speaks PKCS#11 with the token
    token: str = ""  # the token's label
    token_key: str = ""  # the label of the RSA key on it
    token_pin: str = ""  # file with the PIN on its first line
    seller_keys: str = ""  # folder of sellers' own keys, {tax id}.pem and .crt, before the platform's; empty: none
    former_certificates: tuple[str, ...] = ()  # PEM files of the platform's earlier ones, which verify old documents

    def __post_init__(self) -> None:
        require(1 <= self.processes <= 64, "documents.processes", "must be 1 to 64")
        own = bool(self.signing_key or self.token_module)
        both = own == bool(self.signing_certificate)
        require(both, "documents.signing_key", "or a token must stand together with documents.signing_certificate")
        one = not (self.signing_key and self.token_module)
        require(one, "documents.token_module", "must not stand beside documents.signing_key")
        need = "must stand together with documents.signing_key"
        require(bool(self.signing_key) or not self.signing_passphrase, "documents.signing_passphrase", need)
        for name in ("token", "token_key", "token_pin"):
            need = "must stand together with documents.token_module"
            require(bool(getattr(self, name)) == bool(self.token_module), f"documents.{name}", need)

    @property
    def signing(self) -> SigningSettings:
        """What concerns signing alone."""
        return SigningSettings(
            key=self.signing_key,
            passphrase=self.signing_passphrase,
            certificate=self.signing_certificate,
            token_module=self.token_module,
            token=self.token,
            token_key=self.token_key,
            token_pin=self.token_pin,
            seller_keys=self.seller_keys,
            former_certificates=self.former_certificates,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How invoices are delivered. E-mail is on when `smtp_host`, a relay, is set, SMS when `sms_url` is."""

    timeout_ms: int = 20_000  # of one attempt; Standard Webhooks recommends 15 to 30 s
    schedule_ms: tuple[int, ...] = ()  # delays before the second, third, ... try; empty: the specification's
    pause_ms: int = 5_000  # the first one of an endpoint that keeps failing; doubles
    idle_wait_ms: int = 250  # between looks for what is new or due
    allow_http: bool = False  # webhooks without TLS
    allowed_networks: tuple[str, ...] = ()  # that webhooks may reach although they are not public, such as 10.0.0.0/8
    smtp_host: str = ""
    smtp_port: int = 25
    smtp_starttls: bool = False
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_sender: str = "billow@localhost"
    sms_url: str = ""  # of the gateway; text messages are on when it is set (docs/operations.md)
    sms_token: str = ""  # that it knows this platform by

    def __post_init__(self) -> None:
        require(1 <= self.timeout_ms <= 60_000, "delivery.timeout_ms", "must be 1 to 60000")
        require(self.pause_ms >= 1, "delivery.pause_ms", "must be positive")
        require(self.idle_wait_ms >= 1, "delivery.idle_wait_ms", "must be positive")
        require(all(delay >= 1 for delay in self.schedule_ms), "delivery.schedule_ms", "must all be positive")
        fits = sum(self.schedule_ms) <= sum(SCHEDULE_MS)  # the audit takes what waits for longer as forgotten
        require(fits, "delivery.schedule_ms", "must not be longer than the specification's, 75 h 35 min 5 s")
        require(self.smtp_sender.count("@") == 1, "delivery.smtp_sender", "must be an e-mail address")
        require(bool(self.sms_url) == bool(self.sms_token), "delivery.sms_url", "must stand with delivery.sms_token")
        secure = self.sms_url.startswith("https://") or (self.allow_http and self.sms_url.startswith("http://"))
        require(not self.sms_url or secure, "delivery.sms_url", "must begin with https://")
        for network in self.allowed_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise SettingsError(f"delivery.allowed_networks {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSettings:
    """Links to documents, and the web process that serves them. Off until there is a key."""

    keys: tuple[str, ...] = ()  # "id:secret"; the first signs, all verify: put a new one in front, drop old ones later
    base_url: str = ""  # what stands before /d/ in links, such as https://invoices.example.com; empty: links are paths
    step_s: int = 3_600  # ends of links are rounded up to it: links of one step are one URL, one entry of a cache
    lifetime_s: int = 86_400  # of a link whose caller names none
    drain_wait_ms: int = 1_000  # between an unwell answer to health checks and no more connections
    drain_grace_ms: int = 20_000  # for downloads under way

    def __post_init__(self) -> None:
        few = len(self.keys) <= limits.DOWNLOAD_KEYS_MAX
        require(few, "downloads.keys", f"must be at most {limits.DOWNLOAD_KEYS_MAX}")
        for text in self.keys:
            name, _, secret = text.partition(":")
            right = KEY_ID_FORM.fullmatch(name) and len(secret) >= limits.DOWNLOAD_SECRET_CHARS_MIN
            words = f"must each be an id of a-z, 0-9 and -, a colon and {limits.DOWNLOAD_SECRET_CHARS_MIN} characters"
            require(bool(right) and secret.isascii(), "downloads.keys", words)
        ids = {text.partition(":")[0] for text in self.keys}
        require(len(ids) == len(self.keys), "downloads.keys", "must have different ids")
        url = urllib.parse.urlsplit(self.base_url)
        plain = url.scheme in ("http", "https") and url.netloc and not url.query and not url.fragment
        fits = not self.base_url or (plain and not self.base_url.endswith("/"))
        require(bool(fits), "downloads.base_url", "must be an http or https URL without / at its end")
        require(1 <= self.step_s <= 86_400, "downloads.step_s", "must be 1 to 86400")
        most = limits.DOWNLOAD_LIFETIME_S_MAX
        require(1 <= self.lifetime_s <= most, "downloads.lifetime_s", f"must be 1 to {most}")
        require(self.drain_wait_ms >= 0, "downloads.drain_wait_ms", "must not be negative")

    @property
    def link_keys(self) -> tuple[LinkKey, ...]:
        """The keys, parsed."""
        return tuple(LinkKey(name, secret.encode()) for name, _, secret in (text.partition(":") for text in self.keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a process needs to know at start."""

    mysql: MySQLSettings
    redis: RedisSettings
    object_store: ObjectStoreSettings
    server: ServerSettings = field(default_factory=ServerSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    documents: DocumentSettings = field(default_factory=DocumentSettings)
    downloads: DownloadSettings = field(default_factory=DownloadSettings)


def require(condition: bool, name: str, rule: str) -> None:
    """Raises SettingsError naming the setting unless the condition holds."""
    if not condition:
        raise SettingsError(f"{name} {rule}")


def load(path: Path) -> Settings:
    """Reads a settings file; raises SettingsError naming the setting, or OSError when the file is not readable."""
    try:
        table = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from error
    return typing.cast(Settings, _build(Settings, table, ""))


def _build(cls: type[Any], table: Any, prefix: str) -> Any:
    """Builds the dataclass `cls` from a TOML table."""
    require(isinstance(table, dict), prefix.rstrip(".") or "file", "must be a table")
    fields = {item.name: item for item in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(table) - set(fields))
    require(not unknown, prefix + (unknown[0] if unknown else ""), "is not a setting")
    for name, item in fields.items():
        optional = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
        require(name in table or optional, prefix + name, "is missing")
    return cls(**{name: _value(hints[name], value, prefix + name) for name, value in table.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    """Checks one value against the type of its field."""
    if dataclasses.is_dataclass(hint) and hint is not Address:
        return _build(typing.cast(type[Any], hint), value, name + ".")
    if typing.get_origin(hint) is tuple:
        require(isinstance(value, list), name, "must be a list")
        return tuple(_value(typing.get_args(hint)[0], item, name) for item in value)
    if hint is Address:
        require(isinstance(value, str), name, 'must be "host:port"')
        try:
            return Address.parse(value)
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from error
    wanted = hint if not isinstance(hint, types.UnionType) else hint.__args__[0]
    require(type(value) is wanted, name, f"must be of type {wanted.__name__}")
    return value
