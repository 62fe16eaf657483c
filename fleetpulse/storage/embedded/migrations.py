"""Brings a file of an older format to the present one, in place.

Each step is one transaction, so that a kill in its middle leaves the older format, which the next
start takes up again. What would take long, the checksums of chunks, follows while the store is in
use (sealing.py): a chunk of format 1 is read as it is.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from fleetpulse.storage.embedded.checksums import checksum, mix
from fleetpulse.storage.embedded.schema import SPAN_MS, TIER, VERSION, version_of

log = logging.getLogger(__name__)

_SPANS = 86_400_000 // SPAN_MS  # in a day

# Another process may be at it.
_WAIT_SECONDS = 120.0


def upgrade(path: Path) -> None:
    """Leaves the store at path in the present format. StorageError and sqlite3.Error rise."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)) as db:
        while (version := version_of(db, path)) < VERSION:
            db.execute("BEGIN IMMEDIATE")
            try:
                if version_of(db, path) == version:  # nobody else was faster
                    _STEPS[version](db)
                    db.execute(f"PRAGMA user_version = {version + 1}")
                    log.warning("%s: format %d is now format %d", path, version, version + 1)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise


def _add_checksums(db: sqlite3.Connection) -> None:
    """1 to 2. Pages of format 1 stay without: within the hour compaction has folded them."""
    for table in ("target", "line", "layout"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN sum INTEGER")
    db.execute("ALTER TABLE page ADD COLUMN sums BLOB")
    db.create_function("checksum", -1, _checksum, deterministic=True)
    db.execute("UPDATE target SET sum = checksum(id, CAST(labels AS BLOB))")
    db.execute("UPDATE line SET sum = checksum(id, CAST(labels AS BLOB))")
    db.execute("UPDATE layout SET sum = checksum(id, digest, lines)")
    # It was never written.
    db.execute("DROP TABLE tier")
    for statement in filter(str.strip, TIER.split(";")):
        db.execute(statement)
    days = f"(span - (span % {_SPANS} + {_SPANS}) % {_SPANS}) / {_SPANS}"
    db.execute(f"INSERT INTO untiered SELECT DISTINCT {days}, target FROM clock")  # noqa: S608
    db.execute(
        "INSERT OR REPLACE INTO counter SELECT 'unsealed', min(span) FROM chunk HAVING count(*)"
    )


def _checksum(entry: int, *blobs: bytes) -> int:
    return checksum(*blobs, key=mix(entry))


_STEPS = {1: _add_checksums}
