"""/api/v1/status/…: what there is to know of this process, its settings and its store."""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Request, Response, request

from api import params
from api.about import About
from api.respond import Refusal, bad_data, plain, success
from fleetpulse import __version__
from fleetpulse.storage.base import Counts, CountsSeries, SeriesReader

# Grafana chooses what it asks by this version: the API is that of Prometheus 3.
BUILD_INFO = {
    "version": f"3.0.0+fleetpulse.{__version__}",
    "revision": "",
    "branch": "",
    "buildUser": "",
    "buildDate": "",
    "goVersion": "",
}
# Of an empty store, as Prometheus has it.
_NO_TIMES = (2**63 - 1, -(2**63))
_MOST = 10_000


def blueprint(about: About, reader: SeriesReader, now: Callable[[], float]) -> Blueprint:
    bp = Blueprint("status", __name__)

    @bp.get("/status/buildinfo")
    def build_info() -> Response:
        return success(BUILD_INFO)

    @bp.get("/status/runtimeinfo")
    def runtime_info() -> Response:
        return success(_runtime(about, now()))

    @bp.get("/status/config")
    def config() -> Response:
        return success({"yaml": about.yaml()})

    @bp.get("/status/flags")
    def flags() -> Response:
        return success(about.flags)

    @bp.get("/status/tsdb")
    def tsdb() -> Response:
        limit = _positive(request)
        if not isinstance(reader, CountsSeries):
            raise Refusal(503, "the store behind this API does not tell how many series it has")
        return success(_tsdb(reader, limit))

    @bp.get("/status/walreplay")
    def wal_replay() -> Response:
        """SQLite replays its own log when it opens the file; nobody has to wait for it."""
        return success({"min": 0, "max": 0, "current": 0})

    return bp


def version_blueprint() -> Blueprint:
    """/version, outside of the API proper."""
    bp = Blueprint("version", __name__)

    @bp.get("/version")
    def version() -> Response:
        return plain(BUILD_INFO, 200)

    return bp


def _runtime(about: About, at: float) -> dict[str, Any]:
    succeeded, reloaded_at = about.reloaded()
    return {
        "startTime": _rfc3339(about.started),
        "CWD": str(Path.cwd()),
        "hostname": socket.gethostname(),
        "serverTime": _rfc3339(at),
        "reloadConfigSuccess": succeeded,
        "lastConfigTime": _rfc3339(reloaded_at),
        "corruptionCount": about.damaged(),
        # The nearest there is to what the names say: threads, processors.
        "goroutineCount": threading.active_count(),
        "GOMAXPROCS": os.cpu_count() or 1,
        "GOMEMLIMIT": 2**63 - 1,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": about.retention,
    }


def _rfc3339(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _positive(req: Request) -> int:
    text = params.value(req, "limit") or "10"
    if not text.isdecimal() or not int(text[:9]) > 0:
        raise bad_data("limit must be a positive number")
    if int(text[:9]) > _MOST:
        raise bad_data(f"limit must not exceed {_MOST}")
    return int(text)


def _tsdb(store: CountsSeries, limit: int) -> dict[str, Any]:
    found = store.cardinality(limit)
    oldest, newest = _NO_TIMES
    if found.oldest_ms is not None and found.newest_ms is not None:
        oldest, newest = found.oldest_ms, found.newest_ms
    return {
        "headStats": {
            "numSeries": found.series,
            "numLabelPairs": found.label_pairs,
            "chunkCount": found.recent,
            "minTime": oldest,
            "maxTime": newest,
        },
        "seriesCountByMetricName": _counts(found.series_by_name),
        "labelValueCountByLabelName": _counts(found.values_by_label),
        "memoryInBytesByLabelName": _counts(found.bytes_by_label),
        "seriesCountByLabelValuePair": _counts(found.series_by_pair),
    }


def _counts(counts: Counts) -> Sequence[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in counts]
