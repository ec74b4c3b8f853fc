"""Collection and account entry (docs/adr/0018).

Issuing writes nothing of this. `invoice_entries` has one row for each invoice that was ever entered, so that whether
invoices stand in the books is one lookup for many; `entry_events` is only ever added to. `received_invoices` numbers
the invoices of each buyer without gaps; `received_heads` holds the last number given.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = (
    """
    CREATE TABLE tenant_tax_ids (
        tenant_key INT UNSIGNED NOT NULL,
        tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        claimed_at_us BIGINT UNSIGNED NOT NULL,
        confirmed_at_us BIGINT UNSIGNED NULL,
        PRIMARY KEY (tenant_key, tax_id)
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE invoice_entries (
        number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        state TINYINT UNSIGNED NOT NULL,
        period MEDIUMINT UNSIGNED NOT NULL,
        ledger_reference VARCHAR(100) NOT NULL,
        version INT UNSIGNED NOT NULL,
        changed_at_us BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
    """,
    """
    CREATE TABLE entry_events (
        number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        version INT UNSIGNED NOT NULL,
        state TINYINT UNSIGNED NOT NULL,
        period MEDIUMINT UNSIGNED NOT NULL,
        ledger_reference VARCHAR(100) NOT NULL,
        tenant_key INT UNSIGNED NOT NULL,
        request_id VARBINARY(64) NOT NULL,
        request_sha256 BINARY(32) NOT NULL,
        changed_at_us BIGINT UNSIGNED NOT NULL,
        PRIMARY KEY (number, version),
        UNIQUE KEY by_request (tenant_key, request_id)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
    """,
    """
    CREATE TABLE received_heads (
        buyer_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        last_position BIGINT UNSIGNED NOT NULL
    ) ENGINE=InnoDB
    """,
    """
    CREATE TABLE received_invoices (
        buyer_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        position BIGINT UNSIGNED NOT NULL,
        number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        PRIMARY KEY (buyer_tax_id, position),
        UNIQUE KEY by_number (number)
    ) ENGINE=InnoDB
    """,
)


def upgrade() -> None:
    """Creates the tables."""
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    """Refused: it would forget what stands in the books."""
    raise NotImplementedError("what stands in the books is not forgotten")
