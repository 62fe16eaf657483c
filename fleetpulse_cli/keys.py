"""`fleetpulse keys`: creates, lists and revokes the API's keys."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from api.keys import KeyStore, Scope
from fleetpulse.errors import StartError


def key_store(data_dir: Path) -> KeyStore:
    return KeyStore(data_dir / "keys" / "keys.json")


def create(
    store: KeyStore, scope: Scope, server: str | None, lifetime: float | None, note: str, now: float
) -> None:
    """Prints the new key on stdout, alone, so that it can be piped into a file."""
    expires = None if lifetime is None else now + lifetime
    try:
        info, secret = store.create(scope, server=server, expires=expires, note=note)
    except ValueError as err:
        raise StartError(str(err)) from err
    print(f"key {info.id}, scope {info.scope}; it is shown this once:", file=sys.stderr)
    print(secret)


def list_keys(store: KeyStore) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "scope", "server", "created", "expires", "revoked", "note"):
        table.add_column(heading)
    for info in store.list():
        days = (_day(info.created), _day(info.expires), _day(info.revoked))
        table.add_row(info.id, info.scope, info.server or "any", *days, info.note)
    # Into a pipe nothing is folded: a line is a key there.
    width = None if sys.stdout.isatty() else 1_000
    Console(highlight=False, markup=False, width=width).print(table)


def revoke(store: KeyStore, key_id: str) -> None:
    if not store.revoke(key_id):
        raise StartError(f"no key {key_id}; `fleetpulse keys list` shows what there is")
    print(f"key {key_id} revoked: it opens nothing any more", file=sys.stderr)


def ensure_admin(store: KeyStore, data_dir: Path) -> str | None:
    """At the first start, writes an admin key to DATA/keys/admin; its path, or None later on."""
    if store.list():
        return None
    _, secret = store.create("admin", note="made at the first start")
    path = data_dir / "keys" / "admin"
    path.unlink(missing_ok=True)  # a left-over would keep its own mode
    path.touch(mode=0o600)
    path.write_text(secret + "\n")
    return str(path)


def _day(at: float | None) -> str:
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
