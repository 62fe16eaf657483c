"""API keys: made once, shown once, kept only as a hash.

The file is JSON, replaced as a whole, under a lock of its own; every process that uses it sees a
change at the next request. A key is `fp_ID_SECRET` with 256 random bits of secret, so a plain
SHA-256 of it cannot be guessed back.
"""

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from fleetpulse.errors import StartError

Scope = Literal["read", "push", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "push", "admin")

_SHAPE = re.compile(r"fp_([0-9a-f]{8})_([0-9a-f]{64})")
_MAX_FILE = 16 << 20


class KeyInfo(BaseModel):
    """A key as it is told to people and logs: without anything that opens a door."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str
    scope: Scope
    server: str | None = None  # the only server that this key may push for
    created: float  # Unix seconds, as the other times
    expires: float | None = None
    revoked: float | None = None
    note: str = ""

    def allows(self, scope: Scope) -> bool:
        """admin may do all; the others what their name says."""
        return self.scope in (scope, "admin")

    def active(self, now: float) -> bool:
        return self.revoked is None and (self.expires is None or now < self.expires)


class _Entry(KeyInfo):
    """A key as the file holds it."""

    sha256: str

    def info(self) -> KeyInfo:
        return KeyInfo.model_validate(self.model_dump(exclude={"sha256"}))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    version: Literal[1] = 1
    keys: list[_Entry] = []


_Stamp = tuple[int, int, int] | None


class KeyStore:
    """The keys of one data folder. Safe from any thread and several processes.

    Every method raises StartError where the file is there but damaged or unreadable: then no key
    is good, and nobody is let in.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._lock = threading.Lock()  # guards the two below
        self._stamp: _Stamp = None
        self._entries: dict[str, _Entry] = {}

    def create(
        self,
        scope: Scope,
        server: str | None = None,
        expires: float | None = None,
        note: str = "",
    ) -> tuple[KeyInfo, str]:
        """A new key and its plaintext, which is nowhere kept. expires is in Unix seconds."""
        if scope not in SCOPES:
            raise ValueError(f"{scope!r} is no scope; choose one of {', '.join(SCOPES)}")
        if server is not None and scope != "push":
            raise ValueError("only a key of scope push is bound to a server")
        if expires is not None and expires <= self._now():
            raise ValueError("the key would expire before it is used; choose a later time")
        with self._changing() as entries:
            key_id = _free_id(entries)
            plaintext = f"fp_{key_id}_{secrets.token_hex(32)}"
            entries[key_id] = _Entry(
                id=key_id,
                scope=scope,
                server=server,
                created=self._now(),
                expires=expires,
                note=note,
                sha256=_digest(plaintext),
            )
        return entries[key_id].info(), plaintext

    def list(self) -> "Sequence[KeyInfo]":
        """All keys, revoked and expired ones too, oldest first."""
        entries = sorted(self._current().values(), key=lambda entry: (entry.created, entry.id))
        return [entry.info() for entry in entries]

    def revoke(self, key_id: str) -> KeyInfo | None:
        """Ends a key now, in every process; the key, or None where there is none of that id."""
        with self._changing() as entries:
            entry = entries.get(key_id)
            if entry is None:
                return None
            if entry.revoked is None:
                entry = entries[key_id] = entry.model_copy(update={"revoked": self._now()})
        return entry.info()

    def authenticate(self, plaintext: str) -> KeyInfo | None:
        """The key, if it is known, not revoked and not expired."""
        match = _SHAPE.fullmatch(plaintext)
        entry = self._current().get(match[1]) if match else None
        # Compared even where there is no such id, so that time does not tell which ids exist.
        right = hmac.compare_digest(_digest(plaintext), entry.sha256 if entry else "0" * 64)
        if entry is None or not right or not entry.active(self._now()):
            return None
        return entry.info()

    def any_active(self) -> bool:
        return any(entry.active(self._now()) for entry in self._current().values())

    def _current(self) -> "dict[str, _Entry]":
        with self._lock:
            stamp = self._stat()
            if stamp != self._stamp:
                self._entries = self._read()
                self._stamp = stamp
            return self._entries

    def _stat(self) -> _Stamp:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as err:
            self._fail(str(err.strerror), err)
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> "dict[str, _Entry]":
        try:
            with self._path.open("rb") as stream:
                file = _File.model_validate_json(stream.read(_MAX_FILE))
        except FileNotFoundError:
            return {}
        except OSError as err:
            self._fail(str(err.strerror), err)
        except ValidationError as err:
            first = err.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self._fail(f"{where + ': ' if where else ''}{first['msg']}", None)
        return {entry.id: entry for entry in file.keys}

    def _fail(self, reason: str, cause: OSError | None) -> NoReturn:
        raise StartError(
            f"{self._path}: the keys cannot be read: {reason}; restore the file from a backup, "
            f"or move it away and make new keys with `fleetpulse keys create`"
        ) from cause

    @contextlib.contextmanager
    def _changing(self) -> "Iterator[dict[str, _Entry]]":
        """The entries to change; written when the block ends well. One process at a time."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                entries = self._read()
                yield entries
                self._replace(_File(keys=list(entries.values())))
        except OSError as err:
            raise StartError(f"{self._path}: the keys cannot be saved: {err.strerror}") from err

    def _replace(self, file: _File) -> None:
        handle, temporary = tempfile.mkstemp(prefix=".keys-", dir=self._path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "w") as stream:
                json.dump(file.model_dump(mode="json"), stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, self._path)
            _sync_folder(self._path.parent)  # a revoked key must not come back with the power
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(plaintext: str) -> str:
    return hashlib.sha256(plaintext.encode()).hexdigest()


def _free_id(entries: "dict[str, _Entry]") -> str:
    while True:
        key_id = secrets.token_hex(4)
        if key_id not in entries:
            return key_id
