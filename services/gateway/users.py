"""Users: the people of a tenant who may log in."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert

from common import ids
from common.database import Transaction
from gateway import tables


async def put_user(
    tx: Transaction, email: str, password_hash: str, permissions: Sequence[str]
) -> None:
    """Make a user of the tenant, or give the one with this mail address a new password."""
    user = {
        "id": ids.new(),
        "email": email.lower(),
        "password_hash": password_hash,
        "permissions": list(permissions),
    }
    change = insert(tables.users).on_conflict_do_update(
        constraint="users_email",
        set_={"password_hash": password_hash, "updated_at": func.now()},
    )
    await tx.execute(change, user)
