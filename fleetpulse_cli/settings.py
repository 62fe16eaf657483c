"""The configuration in force: read from a file, read anew when it changes. Knows no section."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from fleetpulse.errors import ConfigError, FleetPulseError, StartError
from fleetpulse.service import FileWatch, Stamp

log = logging.getLogger(__name__)

DEFAULT_FILE = Path("fleetpulse.yml")

T = TypeVar("T")


class Settings(Generic[T]):
    """The configuration in force. A reload that fails keeps it, and says so.

    read makes it of the file, or of nothing where there is none; what the command line says is
    its to put over that. It raises ConfigError.
    """

    def __init__(
        self,
        path: Path | None,
        read: Callable[[Path | None], T],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._read, self._now = read, now
        self._reloading = threading.Lock()  # a signal and the watch may want it at the same time
        self.current: T = read(path)
        self.successful, self.succeeded_at = True, now()

    @property
    def base(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent if self.path is not None else Path()

    def reload(self, apply: Callable[[T], None] = lambda _root: None) -> bool:
        """Reads the file anew and applies it. On any fault the old version stays in force."""
        with self._reloading:
            self.successful = self._take_over(apply)
            return self.successful

    def _take_over(self, apply: Callable[[T], None]) -> bool:
        try:
            fresh = self._read(self.path)
            apply(fresh)
        except FleetPulseError as err:
            faults = err.faults if isinstance(err, ConfigError) else (str(err),)
            for fault in faults:
                log.error("reload refused, the old configuration stays: %s", fault)
            return False
        except Exception:  # what serves well must go on; the traceback says what happened
            log.exception("reload failed, the old configuration stays")
            return False
        self.current, self.succeeded_at = fresh, self._now()
        log.info("configuration reloaded")
        return True


def watch(
    settings: Settings[Any],
    reload: Callable[[], object],
    more: Callable[[], Iterable[Path | None]] = tuple,
    seen: Stamp | None = None,
) -> FileWatch:
    """A watch over the configuration file and over more, the files that it names."""

    def paths() -> list[Path]:
        return present((settings.path, *more()))

    def changed() -> None:
        reload()

    return FileWatch("configuration watch", paths, changed, seen=seen)


def present(paths: Iterable[Path | None]) -> list[Path]:
    return [path for path in paths if path is not None]


def find_file(given: Path | None) -> Path | None:
    """The file named on the command line, else fleetpulse.yml here, else none (all defaults)."""
    try:
        if given is None:
            return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
        if given.is_file():
            return given
    except OSError as err:  # a folder on the way that this user may not enter
        if given is None:
            return None  # nor is it then meant for this user
        raise StartError(f"{given}: cannot be read: {err.strerror}") from err
    raise StartError(f"{given}: no such configuration file; leave --config out for defaults")


def prepare_data_dir(path: Path) -> Path:
    """The data folder, made if need be; StartError where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
        # A name of its own: roles that start together look at the same folder.
        probe = path / f".writable-{os.urandom(8).hex()}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink()
    except OSError as err:
        raise StartError(
            f"{path}: cannot write to the data folder: {err.strerror}; "
            f"make it writable for this user, or choose another with --data-dir"
        ) from err
    return path
