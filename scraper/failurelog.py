"""scrape_failure_log_file: a line of JSON for each scrape that failed, as from Prometheus."""

import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

log = logging.getLogger(__name__)


class FailureLogs:
    """The files of all jobs. Of one thread.

    A file that was moved or deleted is opened anew at the next line, as logrotate wants it. One
    that cannot be written is told of once, until it can be again. on_error counts lines lost.
    """

    def __init__(self, on_error: Callable[[], None]) -> None:
        self._on_error = on_error
        self._files: dict[Path, TextIO] = {}
        self._broken: set[Path] = set()

    def write(self, path: Path, at_ms: int, job: str, target: str, error: str) -> None:
        line = {
            "time": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "level": "ERROR",
            "msg": error,
            "job_name": job,
            "target": target,
        }
        try:
            file = self._current(path)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
        except (OSError, ValueError) as err:
            self._failed(path, err)
            return
        self._broken.discard(path)

    def close(self) -> None:
        while self._files:
            self._drop(next(iter(self._files)))

    def _current(self, path: Path) -> TextIO:
        file = self._files.get(path)
        if file is not None:
            try:
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
            except FileNotFoundError:
                pass
            self._drop(path)
        file = path.open("a", encoding="utf-8", errors="replace")
        self._files[path] = file
        return file

    def _failed(self, path: Path, err: Exception) -> None:
        self._on_error()
        self._drop(path)
        if path not in self._broken:
            self._broken.add(path)
            log.error("%s: failed scrapes cannot be written there: %s", path, err)

    def _drop(self, path: Path) -> None:
        file = self._files.pop(path, None)
        try:
            if file is not None:
                file.close()
        except OSError as err:  # what it still held could not be written
            log.debug("%s: %s", path, err)
