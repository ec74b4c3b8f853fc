# ruff: noqa: S608 -- what is put into SQL text here is constants and placeholders
"""Confirmation forms on MySQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pymysql

from core.storage.mysql.batch_feed import NOW_US
from core.storage.mysql.pool import DUPLICATE_KEY, Primary, unavailable
from core.storage.red_letter_port import WAITING, Form, FormFilter, FormState

FORM_COLUMNS: Final = (
    "confirmation_id, tenant_key, request_id, request_sha256, seller_key, seller_tax_id, buyer_tax_id, blue_number,"
    " selection, gross_total_minor, made_by_buyer, state, red_number, created_at_us, expires_at_us"
)


class MySQLFormStore:
    """The FormStore of core/storage/red_letter_port.py; `primary` is asked for the present one before every use."""

    def __init__(self, *, primary: Callable[[], Primary]) -> None:
        self._primary = primary

    async def create(self, form: Form) -> Form:
        """Stores a form; see the port."""
        values = (
            *(form.confirmation_id, form.tenant_key, form.request_id.encode(), form.request_sha256, form.seller_key),
            *(form.seller_tax_id, form.buyer_tax_id, form.blue_number, form.selection, form.gross_total_minor),
            *(int(form.made_by_buyer), form.state, form.red_number or None, form.created_at_us, form.expires_at_us),
        )
        sql = f"INSERT INTO red_confirmations ({FORM_COLUMNS}) VALUES ({','.join(['%s'] * len(values))})"
        primary = self._primary()
        try:
            await primary.write(sql, values)
        except pymysql.err.IntegrityError as error:
            if error.args[0] != DUPLICATE_KEY:
                raise
        else:
            return form
        known = await self._made(primary, form.tenant_key, form.request_id)
        if known is None:
            raise unavailable("a form collides and is not found")
        return known

    async def made(self, tenant_key: int, request_id: str) -> Form | None:
        """Reads a form by request id; see the port."""
        return await self._made(self._primary(), tenant_key, request_id)

    async def _made(self, primary: Primary, tenant_key: int, request_id: str) -> Form | None:
        """Reads a form that a replica has received, too: a call is answered by it (docs/adr/0029)."""
        sql = f"SELECT {FORM_COLUMNS} FROM red_confirmations WHERE tenant_key = %s AND request_id = %s"
        found = await primary.rows(sql, (tenant_key, request_id.encode()))
        if not found:
            return None
        await primary.confirm()
        return form_from(found[0])

    async def get(self, confirmation_id: str) -> Form | None:
        """Reads a form; see the port."""
        sql = f"SELECT {FORM_COLUMNS} FROM red_confirmations WHERE confirmation_id = %s"
        found = await self._primary().rows(sql, (confirmation_id,))
        return form_from(found[0]) if found else None

    async def move(self, confirmation_id: str, *, state: int, to_state: int) -> bool:
        """Moves a form; see the port."""
        sql = "UPDATE red_confirmations SET state = %s WHERE confirmation_id = %s AND state = %s AND red_number IS NULL"
        primary = self._primary()
        if (await primary.write(sql, (to_state, confirmation_id, state))).rows:
            return True
        await primary.confirm()  # what was found instead may be answered with (docs/adr/0029)
        return False

    async def list(self, wanted: FormFilter) -> list[Form]:
        """Lists forms; see the port."""
        tests, values = ["created_at_us >= %s"], [wanted.after[0] if wanted.after else 0]
        for column, value in (
            ("seller_key", wanted.seller_key),
            ("buyer_tax_id", wanted.buyer_tax_id),
            ("state", wanted.state or None),
        ):
            if value is not None:
                tests.append(f"{column} = %s")
                values.append(value)  # type: ignore[arg-type]
        if wanted.after is not None:
            tests.append("(created_at_us > %s OR confirmation_id > %s)")
            values += wanted.after  # type: ignore[arg-type]
        index = "by_seller" if wanted.seller_key is not None else "by_buyer"
        sql = (
            f"SELECT {FORM_COLUMNS} FROM red_confirmations FORCE INDEX ({index}) WHERE {' AND '.join(tests)}"
            " ORDER BY created_at_us, confirmation_id LIMIT %s"
        )
        return [form_from(row) for row in await self._primary().rows(sql, (*values, wanted.items_max))]

    async def expire(self, *, now_us: int, items_max: int) -> int:
        """Voids overdue forms; see the port."""
        sql = (
            f"UPDATE red_confirmations SET state = {int(FormState.EXPIRED)}"
            f" WHERE state = %s AND expires_at_us <= LEAST(%s, {NOW_US}) ORDER BY expires_at_us LIMIT %s"
        )
        expired = 0
        for state in sorted(WAITING):
            expired += (await self._primary().write(sql, (int(state), now_us, items_max))).rows
        return expired


def form_from(row: Sequence[Any]) -> Form:
    """Builds a form from the columns FORM_COLUMNS."""
    values = list(row)
    values[2] = values[2].decode("ascii")
    values[10] = bool(values[10])
    values[12] = values[12] or ""
    return Form(*values)
