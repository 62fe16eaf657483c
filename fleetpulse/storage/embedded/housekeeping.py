"""The lock that lets one process at a time compact and expire."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetpulse.storage.embedded.database import fault


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether nobody else holds the lock file at path; the kernel frees it with its process."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as err:
        raise fault(path, err) from err
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
