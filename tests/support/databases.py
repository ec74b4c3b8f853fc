"""A database of a test's own on the session's servers: what claims or audits everything must be alone with its data."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import redis

from admin.nodes import patient
from core.settings import Settings, load
from core.storage.migrations.run import upgrade
from core.storage.mysql.issuing import MySQLIssuingStore
from core.storage.mysql.outbox import MySQLOutboxStore
from core.storage.mysql.pool import Node, Primary
from core.storage.objects.s3 import S3ObjectStore, open_s3
from stack import Stack, seaweed
from stack.mariadb import root
from tests.support.issuing import TestIssuer

SERIALS: Final = count(1)
AWAY_WAIT_MS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStores:
    """The stores as a process sees them, with a new and empty database."""

    stack: Stack
    config: Path  # the settings file of that database
    settings: Settings
    primary: Primary  # as the platform's user
    admin: Primary  # as one who may change the schema and anything else
    issuer: TestIssuer
    outbox: MySQLOutboxStore
    objects: S3ObjectStore


@asynccontextmanager
async def own_stores(
    stack: Stack, folder: Path, *, own_bucket: bool = False, **worker: int
) -> AsyncIterator[OwnStores]:
    """Creates a database and opens everything; `worker` are settings of that table. Drops the database at the end.

    The bucket is everybody's, with what the tests before have left there, unless `own_bucket` is wanted.
    """
    with _database(stack) as name:
        config = folder / f"{name}.toml"
        text = stack.config_path.read_text().replace('database = "billow"', f'database = "{name}"')
        text = text.replace(f'{stack.redis_url}"', f'{_own_redis(stack)}"')
        if own_bucket:
            text = _with_bucket(stack, text, name.replace("_", "-"))
        lines = "\n".join(f"{key} = {value}" for key, value in worker.items())
        config.write_text(text.replace("[worker]", f"[worker]\n{lines}"))
        settings = load(config)
        mysql = patient(settings.mysql)
        upgrade(mysql, user=mysql.admin_user, password=mysql.admin_password)
        as_admin = dataclasses.replace(mysql, user=mysql.admin_user, password=mysql.admin_password)
        async with AsyncExitStack() as opened:
            nodes = [Node(mysql, mysql.primary), Node(mysql, mysql.primary)]
            nodes.append(Node(as_admin, mysql.primary))
            for node in nodes:
                opened.callback(node.drop)
            primary, issuing, admin = map(Primary, nodes)
            store = MySQLIssuingStore(
                primary=lambda: issuing, now_us=lambda: time.time_ns() // 1_000, away_wait_ms=AWAY_WAIT_MS
            )
            yield OwnStores(
                stack=stack,
                config=config,
                settings=settings,
                primary=primary,
                admin=admin,
                issuer=TestIssuer(primary=primary, store=store),
                outbox=MySQLOutboxStore(primary=lambda: primary),
                objects=await opened.enter_async_context(open_s3(settings.object_store)),
            )


def _with_bucket(stack: Stack, text: str, name: str) -> str:
    """Creates a bucket, and returns the settings with it: only the administrator may use it."""
    seaweed.admin_client(stack.state).create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    secrets = stack.state.secrets
    for setting, before, after in (
        ("bucket", seaweed.BUCKET, name),
        ("access_key", seaweed.ACCESS_KEY, seaweed.ADMIN_ACCESS_KEY),
        ("secret_key", secrets["s3_app"], secrets["s3_admin"]),
    ):
        text = text.replace(f'{setting} = "{before}"', f'{setting} = "{after}"')
    return text


def _own_redis(stack: Stack) -> str:
    """Returns the URL of one of Redis' sixteen databases, emptied: numbers of different tests may be the same."""
    url = stack.redis_url.removesuffix("/0") + f"/{1 + next(SERIALS) % 15}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@contextmanager
def _database(stack: Stack) -> Iterator[str]:
    """Creates an empty database that the stack's users may use as theirs."""
    name = f"billow_{next(SERIALS)}"
    with root(stack.folder, stack.state, stack.state.primary) as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO 'billow'@'127.0.0.1'")
        cursor.execute(f"GRANT ALL ON {name}.* TO 'billow_admin'@'127.0.0.1'")
    try:
        yield name
    finally:
        with root(stack.folder, stack.state, stack.state.primary) as cursor:
            cursor.execute(f"DROP DATABASE {name}")
