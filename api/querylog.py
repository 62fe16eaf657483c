"""The query log: a line of JSON for each query, in the shape of Prometheus' query_log_file."""

import json
import logging
import os
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter

from api.queryrecord import QueryRecord, stats_document

log = logging.getLogger(__name__)


def line_of(record: QueryRecord) -> dict[str, Any]:
    """What Prometheus logs under the same names, then what it does not."""
    client = record.client
    document: dict[str, Any] = {
        "params": {
            "query": record.query,
            "start": _rfc3339(record.start_ms / 1000),
            "end": _rfc3339(record.end_ms / 1000),
            "step": record.step_ms / 1000,
        },
        "stats": stats_document(replace(record.stats, per_step=())),  # there may be thousands
        "ts": _rfc3339(record.at),
        "status": record.status,
        "duration": round(record.seconds, 6),
        "queueTime": round(record.stats.queued, 6),
        "series": record.stats.series,
        "resultSeries": record.results,
    }
    if client.path:
        document["httpRequest"] = {
            "clientIP": client.address,
            "method": client.method,
            "path": client.path,
        }
    if client.key:
        document["key"] = client.key
    if record.error is not None:
        document["error"] = str(record.error)
    return document


def _rfc3339(seconds: float) -> str:
    """Of years that a calendar has; else the seconds."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.3f}"
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


class QueryLog:
    """Appends to a file, or to standard output for `-`. Safe from any thread.

    slower_than: seconds; only queries that took as long are logged, and those that failed for
    what they cost (timeout, canceled, too many samples). The file is opened anew when it is moved
    or deleted, as by logrotate. A line that cannot be written is counted, and no query fails by it.
    """

    def __init__(
        self, target: Path | Literal["-"], slower_than: float, registry: CollectorRegistry
    ) -> None:
        self._target, self._slower_than = target, slower_than
        self._lock = threading.Lock()  # guards _file, and keeps lines whole
        self._file: int | None = None
        self._broken = False
        self._failures = Counter(
            "fleetpulse_api_query_log_failures_total",
            "Lines of the query log that could not be written.",
            registry=registry,
        )

    def note(self, record: QueryRecord) -> None:
        costly = record.status in ("timeout", "canceled", "execution")
        if record.seconds < self._slower_than and not costly:
            return
        # Text of a query may hold lone surrogates.
        line = json.dumps(line_of(record), separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._write(line)
        except OSError as err:
            self._failures.inc()
            if not self._broken:
                log.error("query log %s: %s; lines are lost until it can be", self._target, err)
            self._broken = True
        else:
            self._broken = False

    def _write(self, line: bytes) -> None:
        if self._target == "-":
            sys.stdout.write(line.decode())
            sys.stdout.flush()
            return
        written = os.write(self._opened(Path(self._target)), line)
        if written < len(line):
            raise OSError("the disk is full: a line was cut short")

    def _opened(self, path: Path) -> int:
        """The file of that name as it is now."""
        if self._file is not None and not _is_at(self._file, path):
            self._drop()
        if self._file is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o640)
        return self._file

    def _drop(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                os.close(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
