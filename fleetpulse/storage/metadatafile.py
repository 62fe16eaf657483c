"""Type, help and unit by metric name, beside a remote store that has no place for them.

One JSON file in the data folder, which the processes of a host share. A host that neither scrapes
nor takes pushes has none.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from fleetpulse.errors import StorageError
from fleetpulse.model import Metadata, MetricType
from fleetpulse.service import Stamp, stamp

log = logging.getLogger(__name__)

_TYPES = frozenset(get_args(MetricType))


class MetadataFile:
    """Safe from any thread and from several processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # guards the next two
        self._seen: Stamp = {}
        self._known: Mapping[str, Metadata] = {}

    def load(self) -> Mapping[str, Metadata]:
        """A file that cannot be read is told of, and is as none."""
        with self._lock:
            now = stamp([self._path])
            if now != self._seen:
                self._seen, self._known = now, self._read()
            return self._known

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """Adds to what is known, the last word counts; StorageError where it cannot be kept."""
        try:
            with self._path.with_name(self._path.name + ".lock").open("a") as guard:
                fcntl.flock(guard, fcntl.LOCK_EX)
                known = dict(self._read())
                merged = {**known, **metadata}
                if merged == known:
                    return
                self._write(merged)
        except OSError as err:
            told = f"{self._path}: {err.strerror}; metadata of metrics is not kept"
            raise StorageError(told, retriable=True) from err

    def _write(self, known: Mapping[str, Metadata]) -> None:
        document = {name: [one.type, one.help, one.unit] for name, one in sorted(known.items())}
        fresh = self._path.with_name(self._path.name + ".new")
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        fresh.write_text(text, encoding="utf-8", errors="replace")
        os.replace(fresh, self._path)

    def _read(self) -> Mapping[str, Metadata]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            return {name: _metadata(*told) for name, told in document.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as err:
            log.error("%s: cannot be read, and counts as empty: %s", self._path, err)
            return {}


def _metadata(kind: str, help_text: str, unit: str) -> Metadata:
    if not all(isinstance(one, str) for one in (kind, help_text, unit)):
        raise ValueError("type, help and unit are texts")
    known: Any = kind if kind in _TYPES else "untyped"
    return Metadata(known, help_text, unit)
