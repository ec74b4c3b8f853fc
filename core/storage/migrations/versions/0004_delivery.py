"""Delivery: a feed of committed batches for any number of consumers, endpoints, deliveries and their attempts.

Issuing writes nothing of this (docs/adr/0019). `due_at_us` is NULL for a delivery that is finished, so the index `due`
holds the unfinished ones only; a lease is a due time in the future with an owner.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = (
    """
    CREATE TABLE batch_feeds (
        consumer VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        through_batch_id BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE batch_feed_done (
        consumer VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        batch_id BIGINT UNSIGNED NOT NULL,
        done_at_us BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (consumer, batch_id)
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE delivery_endpoints (
        endpoint_key INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        endpoint_id CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
        seller_key INT UNSIGNED NOT NULL,
        kind TINYINT UNSIGNED NOT NULL,
        target VARBINARY(2000) NOT NULL,
        every_invoice BOOLEAN NOT NULL,
        state TINYINT UNSIGNED NOT NULL,
        state_reason VARBINARY(200) NOT NULL,
        secret VARBINARY(64) NOT NULL,
        old_secret VARBINARY(64) NOT NULL,
        old_secret_until_us BIGINT UNSIGNED NOT NULL,
        failures INT UNSIGNED NOT NULL DEFAULT 0,
        open_until_us BIGINT UNSIGNED NOT NULL DEFAULT 0,
        since_us BIGINT UNSIGNED NOT NULL,
        created_at_us BIGINT UNSIGNED NOT NULL,
        KEY by_seller (seller_key, endpoint_id)
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE deliveries (
        delivery_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        seller_key INT UNSIGNED NOT NULL,
        endpoint_key INT UNSIGNED NOT NULL,
        number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        state TINYINT UNSIGNED NOT NULL,
        attempts INT UNSIGNED NOT NULL DEFAULT 0,
        tries INT UNSIGNED NOT NULL DEFAULT 0,
        due_at_us BIGINT UNSIGNED NULL,
        lease_owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
        created_at_us BIGINT UNSIGNED NOT NULL,
        finished_at_us BIGINT UNSIGNED NULL,
        UNIQUE KEY once (endpoint_key, number),
        KEY due (endpoint_key, due_at_us),
        KEY by_seller (seller_key, delivery_id),
        KEY by_number (seller_key, number, delivery_id)
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE delivery_attempts (
        delivery_id BIGINT UNSIGNED NOT NULL,
        attempt INT UNSIGNED NOT NULL,
        at_us BIGINT UNSIGNED NOT NULL,
        duration_us BIGINT UNSIGNED NOT NULL,
        delivered BOOLEAN NOT NULL,
        code SMALLINT UNSIGNED NOT NULL,
        detail VARBINARY(200) NOT NULL,
        PRIMARY KEY (delivery_id, attempt)
    ) ENGINE=InnoDB
    """,
)


def upgrade() -> None:
    """Creates the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Refused: it would forget what was delivered."""
    raise NotImplementedError("what was delivered to whom is not forgotten")
