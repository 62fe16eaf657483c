"""Basic authentication: users with bcrypt hashes."""

import base64
import binascii
import hmac
import os
import threading
from collections.abc import Callable, Mapping

from fleetpulse.web.workers import Workers
from fleetpulse.yamldoc import Secret

_REMEMBERED = 100  # answers of each kind
_QUEUE = 32  # logins that wait for bcrypt: at its usual cost, two seconds of them
# bcrypt's algorithm sees no more. Go and htpasswd cut longer ones off, so that a hash of theirs
# is one of the beginning; the Python library refuses them.
_PASSWORD_BYTES = 72

Compare = Callable[[bytes, bytes], bool]  # password, hash


def credentials(header: str) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization header; None where it has none (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon else None


def bcrypt_compare(password: bytes, stored: bytes) -> bool:
    """Takes some 70 ms at the usual cost of 10, without holding up other threads."""
    import bcrypt  # a library that only those with users need

    try:
        return bcrypt.checkpw(password[:_PASSWORD_BYTES], stored)
    except ValueError:
        return False


class Logins:
    """Checks logins, one at a time, and remembers how they ended.

    Remembered is a keyed hash, under a key that never leaves this process, of user, password and
    stored hash: no password is kept, and a changed hash in the file is checked anew. A wrong
    password pushes out no right one.
    """

    def __init__(self, compare: Compare = bcrypt_compare) -> None:
        self._compare = compare
        self._users: tuple[tuple[bytes, bytes], ...] = ()
        self._secret = os.urandom(32)
        self._right: dict[bytes, bool] = {}
        self._wrong: dict[bytes, bool] = {}
        self._lock = threading.Lock()  # guards both
        # One: as many as would take the processors away from what the host is there for.
        self._workers = Workers("login", 1)

    def set_users(self, users: Mapping[str, Secret]) -> None:
        self._users = tuple(
            (name.encode(), stored.get_secret_value().encode()) for name, stored in users.items()
        )

    @property
    def needed(self) -> bool:
        return bool(self._users)

    @property
    def busy(self) -> bool:
        """Whether so many logins wait that another one had better come later."""
        return self._workers.unfinished >= _QUEUE

    def remembered(self, header: str) -> bool | None:
        """Whether the header lets in; None where only check() can tell."""
        found = credentials(header)
        if found is None:
            return False
        mark = self._mark(*found, self._stored(found[0])[0])
        return self._right.get(mark, self._wrong.get(mark))

    def check(self, header: str, done: Callable[[bool], None]) -> None:
        """Calls done from another thread."""
        self._workers.submit(lambda: self._run(header, done))

    def close(self) -> None:
        self._workers.close()

    def _run(self, header: str, done: Callable[[bool], None]) -> None:
        right = False
        try:
            right = self._check(header)
        finally:  # whatever happens, the client gets its answer
            done(right)

    def _check(self, header: str) -> bool:
        known = self.remembered(header)  # by now another request may have brought the same
        found = credentials(header)
        if known is not None or found is None:
            return known is True
        user, password = found
        stored, is_user = self._stored(user)
        right = self._compare(password, stored) and is_user
        self._remember(self._mark(user, password, stored), right)
        return right

    def _stored(self, user: bytes) -> tuple[bytes, bool]:
        """The user's hash. An unknown one gets somebody else's: the answer takes as long."""
        found, is_user = self._users[0][1], False
        for name, stored in self._users:
            if hmac.compare_digest(name, user):
                found, is_user = stored, True
        return found, is_user

    def _mark(self, *parts: bytes) -> bytes:
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._secret, framed, "sha256")

    def _remember(self, mark: bytes, right: bool) -> None:
        memory = self._right if right else self._wrong
        with self._lock:
            if len(memory) >= _REMEMBERED:
                del memory[next(iter(memory))]
            memory[mark] = right
