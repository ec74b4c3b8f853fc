"""Red-letter: ranges of their own, what is left of every line, and confirmation forms (docs/adr/0014).

`line_sums` is what the red invoices of a blue one sum up to by line, packed as core/domain/red_letter.py says.
Code from before this migration goes on: its ranges are blue, and it writes no balances.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
    ALTER TABLE number_ranges ADD COLUMN color TINYINT UNSIGNED NOT NULL DEFAULT 1,
        DROP KEY by_seller, ADD KEY by_seller (seller_key, kind, color, range_id)
    """,
    """
    ALTER TABLE red_balances ADD COLUMN line_sums BLOB NULL,
        ADD COLUMN changed_at_us BIGINT UNSIGNED NOT NULL DEFAULT 0, ADD KEY by_change (changed_at_us)
    """,
    """
    CREATE TABLE red_confirmations (
        confirmation_id CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
        tenant_key INT UNSIGNED NOT NULL,
        request_id VARBINARY(64) NOT NULL,
        request_sha256 BINARY(32) NOT NULL,
        seller_key INT UNSIGNED NOT NULL,
        seller_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        buyer_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        blue_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
        selection BLOB NOT NULL,
        gross_total_minor BIGINT NOT NULL,
        made_by_buyer TINYINT UNSIGNED NOT NULL,
        state TINYINT UNSIGNED NOT NULL,
        red_number CHAR(20) CHARACTER SET ascii COLLATE ascii_bin NULL,
        created_at_us BIGINT UNSIGNED NOT NULL,
        expires_at_us BIGINT UNSIGNED NOT NULL,
        UNIQUE KEY by_request (tenant_key, request_id),
        KEY by_seller (seller_key, created_at_us, confirmation_id),
        KEY by_buyer (buyer_tax_id, created_at_us, confirmation_id),
        KEY by_expiry (state, expires_at_us)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
    """,
)


def upgrade() -> None:
    """Adds columns and the table of forms."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Refused: red invoices would be forgotten."""
    raise NotImplementedError("balances of issued red invoices are not taken back")
