"""The first schema.

Sizes: an invoice row is about 260 bytes with its four index entries at 30 to 60 bytes each; the bodies lie
zstd-compressed in `batches`, one row a commit, until the archive has them (docs/adr/0006). Request ids are binary,
because other collations hold "a" and "a " to be equal.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE tenants (
        tenant_key INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        tenant_id VARCHAR(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
        display_name VARCHAR(100) NOT NULL,
        created_at_us BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
    """,
    """
    CREATE TABLE api_keys (
        key_id CHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        tenant_key INT UNSIGNED NOT NULL,
        secret_sha256 BINARY(32) NOT NULL UNIQUE,
        scopes VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        display_name VARCHAR(100) NOT NULL,
        created_at_us BIGINT UNSIGNED NOT NULL,
        revoked_at_us BIGINT UNSIGNED NULL,
        KEY by_tenant (tenant_key, key_id)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
    """,
    """
    CREATE TABLE sellers (
        seller_key INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        tenant_key INT UNSIGNED NOT NULL,
        seller_id VARCHAR(63) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        profile VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        name VARCHAR(100) NOT NULL,
        tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        address VARCHAR(100) NOT NULL,
        phone VARCHAR(40) NOT NULL,
        bank_name VARCHAR(100) NOT NULL,
        bank_account VARCHAR(50) NOT NULL,
        created_at_us BIGINT UNSIGNED NOT NULL,
        UNIQUE KEY by_tenant (tenant_key, seller_id)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
    """,
    """
    CREATE TABLE number_ranges (
        range_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        seller_key INT UNSIGNED NOT NULL,
        kind TINYINT UNSIGNED NOT NULL,
        first_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        last_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        size BIGINT UNSIGNED NOT NULL,
        used BIGINT UNSIGNED NOT NULL DEFAULT 0,
        created_at_us BIGINT UNSIGNED NOT NULL,
        KEY by_seller (seller_key, kind, range_id),
        UNIQUE KEY by_number (first_number)
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE invoices (
        number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        seller_key INT UNSIGNED NOT NULL,
        request_id VARBINARY(64) NOT NULL,
        request_sha256 BINARY(32) NOT NULL,
        kind TINYINT UNSIGNED NOT NULL,
        color TINYINT UNSIGNED NOT NULL,
        issued_at_us BIGINT UNSIGNED NOT NULL,
        net_total_minor BIGINT NOT NULL,
        tax_total_minor BIGINT NOT NULL,
        gross_total_minor BIGINT NOT NULL,
        buyer_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NULL,
        blue_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NULL,
        body_sha256 BINARY(32) NOT NULL,
        batch_id BIGINT UNSIGNED NOT NULL,
        batch_position SMALLINT UNSIGNED NOT NULL,
        UNIQUE KEY by_request (seller_key, request_id),
        KEY by_time (seller_key, issued_at_us),
        KEY by_buyer (buyer_tax_id, issued_at_us)
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE batches (
        batch_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        issued_at_us BIGINT UNSIGNED NOT NULL,
        items SMALLINT UNSIGNED NOT NULL,
        runs VARBINARY(32000) NOT NULL,
        block MEDIUMBLOB NULL,
        lease_owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
        lease_until_us BIGINT UNSIGNED NOT NULL DEFAULT 0,
        segment_id BIGINT UNSIGNED NULL,
        segment_row INT UNSIGNED NULL,
        KEY by_segment (segment_id, batch_id)
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE archive_segments (
        segment_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        object_key VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
        sha256 BINARY(32) NOT NULL,
        size_bytes BIGINT UNSIGNED NOT NULL,
        invoices INT UNSIGNED NOT NULL,
        created_at_us BIGINT UNSIGNED NOT NULL,
        retain_until_us BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE red_balances (
        blue_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        red_total_minor BIGINT NOT NULL
    ) ENGINE=InnoDB
    """,
)


def upgrade() -> None:
    """Creates the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Refused: an issued invoice is never deleted."""
    raise NotImplementedError("the first schema holds issued invoices and is not taken back")
