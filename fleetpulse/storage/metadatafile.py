"""Type, help and unit of metrics beside a store that has no place for them: one JSON file."""

import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fleetpulse.model import Metadata

log = logging.getLogger(__name__)

_MOST = 64 << 20  # bytes that are read


class MetadataFile:
    """Shared by the processes of a host. Safe from any thread.

    Two that write at the same moment lose what one of them had new, until it is told again.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def read(self) -> dict[str, Metadata]:
        """What is known; nothing where there is no such file, or no whole one."""
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(_MOST))
            return {str(name): Metadata(**told) for name, told in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def add(self, metadata: Mapping[str, Metadata]) -> None:
        """Remembers; the last word on a metric counts. A disk that is full costs no samples."""
        with self._lock:
            known = self.read()
            if all(known.get(name) == one for name, one in metadata.items()):
                return
            known.update(metadata)
            fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
            whole: dict[str, Any] = {name: asdict(known[name]) for name in sorted(known)}
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                fresh.write_text(json.dumps(whole), encoding="utf-8")
                fresh.replace(self._path)
            except OSError as err:
                log.error("%s: cannot be written: %s", self._path, err.strerror)
