"""Imported invoices (docs/adr/0025).

One row a tenant and invoice, added and never changed; the document itself is an object, named by the row. An invoice is
known by its code and number: no two kinds share one, so a document that only says another kind is no second invoice.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Creates the table."""
    op.execute(
        """
        CREATE TABLE imported_invoices (
            import_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            tenant_key INT UNSIGNED NOT NULL,
            code VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            number VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            kind TINYINT UNSIGNED NOT NULL,
            color TINYINT UNSIGNED NOT NULL,
            blue_number VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            issued_at_us BIGINT UNSIGNED NOT NULL,
            seller_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            seller_name VARCHAR(100) NOT NULL,
            buyer_tax_id VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            net_total_minor BIGINT NOT NULL,
            tax_total_minor BIGINT NOT NULL,
            gross_total_minor BIGINT NOT NULL,
            verified TINYINT UNSIGNED NOT NULL,
            signature TINYINT UNSIGNED NOT NULL,
            document_kind TINYINT UNSIGNED NOT NULL,
            sha256 BINARY(32) NOT NULL,
            size_bytes INT UNSIGNED NOT NULL,
            object_key VARCHAR(120) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            imported_at_us BIGINT UNSIGNED NOT NULL,
            UNIQUE KEY by_number (tenant_key, code, number),
            KEY by_tenant (tenant_key, import_id)
        ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
        """
    )


def downgrade() -> None:
    """Drops it; the objects stay."""
    op.execute("DROP TABLE imported_invoices")
