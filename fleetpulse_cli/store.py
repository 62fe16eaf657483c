"""`fleetpulse store …`: what a person does to the embedded store by hand."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fleetpulse.errors import StartError, StorageError
from fleetpulse.storage.embedded import EmbeddedStore, backup, restore, verify
from fleetpulse_cli.asked import read_matchers, read_range

FINE, FINDINGS = 0, 1

_ATTEMPTS = 60  # a second each, for another process' compaction to end


def run_store(options: argparse.Namespace, path: Path) -> int:
    """The exit code of options.action on the store at path."""
    return _RUN[options.action](options, path)


def _stats(options: argparse.Namespace, path: Path) -> int:
    with _opened(path, read_only=True) as store:
        stats, census = store.stats(), store.census()
    told: dict[str, Any] = {
        **asdict(stats),
        "series": sum(census.series_of.values()),
        "samples": census.samples,
        "bytes_per_sample": (stats.bytes - stats.free_bytes) / max(1, census.samples),
        "series_by_metric": dict(census.series_of),
        "values_by_label": dict(census.values_of),
    }
    if options.style == "json":
        print(json.dumps(told))
        return FINE
    console = Console()
    for title, names in (("", told), ("series by metric", told["series_by_metric"]),
                         ("values by label", told["values_by_label"])):  # fmt: skip
        console.print(_table(title, names, options.limit if title else len(names)))
    return FINE


def _table(title: str, names: dict[str, Any], limit: int) -> Table:
    table = Table(title=title or None, show_header=False, title_justify="left", box=None)
    shown = [(name, value) for name, value in names.items() if not isinstance(value, dict)]
    for name, value in shown[:limit]:
        table.add_row(name, _text(name, value))
    if len(shown) > limit:
        table.add_row(f"and {len(shown) - limit} more", "")
    return table


def _text(name: str, value: Any) -> str:
    if name.endswith("_ms"):
        if value is None:
            return "-"
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="seconds")
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _compact(_options: argparse.Namespace, path: Path) -> int:
    with _opened(path) as store:
        before = store.stats().bytes
        done = _patiently(lambda: _not_busy(store))
        store.vacuum()
    with _opened(path, read_only=True) as store:  # the last to close it empties the log
        after = store.stats().bytes
    print(f"{done.pages} pages became {done.chunks} chunks; {before} bytes, now {after}")
    return FINE


def _not_busy(store: EmbeddedStore) -> Any:
    done = store.compact()
    if done.busy:
        raise StorageError(f"{store.path}: being compacted by another process", retriable=True)
    return done


def _patiently(work: Callable[[], Any]) -> Any:
    for _ in range(_ATTEMPTS):
        try:
            return work()
        except StorageError as err:
            if not err.retriable:
                raise
            print(err, file=sys.stderr)
            time.sleep(1.0)
    return work()


def _verify(_options: argparse.Namespace, path: Path) -> int:
    try:
        found = verify(path)
    except StorageError as err:
        if err.retriable:
            raise
        print(err)
        return FINDINGS
    for finding in found.findings:
        print(finding)
    waiting = f", {found.unsealed} of them without a checksum yet" if found.unsealed else ""
    print(f"{found.blobs} blobs read{waiting}; {len(found.findings)} findings", file=sys.stderr)
    return FINDINGS if found.findings else FINE


def _backup(options: argparse.Namespace, path: Path) -> int:
    with _progress("backup") as told:
        size = backup(path, options.path, told)
    print(f"{options.path}: {size} bytes", file=sys.stderr)
    return FINE


def _restore(options: argparse.Namespace, path: Path) -> int:
    with _progress("restore") as told:
        kept = restore(options.path, path, told)
    was = f"; what was there is {kept}" if kept is not None else ""
    print(f"{path} is now what {options.path} holds{was}", file=sys.stderr)
    return FINE


def _delete(options: argparse.Namespace, path: Path) -> int:
    matchers = read_matchers(options.matcher)
    bounds = read_range(options.start, options.end, time.time())
    with _opened(path) as store:
        count = len(store.series([matchers], *bounds))
        if not options.yes and not _agreed(f"Delete samples of {count} series for good? [y/N] "):
            print("nothing is deleted", file=sys.stderr)
            return FINDINGS
        deleted = _patiently(lambda: store.delete(matchers, *bounds))
    print(f"{deleted} samples deleted", file=sys.stderr)
    return FINE


def _agreed(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextlib.contextmanager
def _opened(path: Path, *, read_only: bool = False) -> Iterator[EmbeddedStore]:
    if not path.exists():
        raise StartError(f"{path}: no store there; name its folder with --data-dir")
    store = EmbeddedStore(path, read_only=read_only)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


_RUN: dict[str, Callable[[argparse.Namespace, Path], int]] = {
    "stats": _stats,
    "compact": _compact,
    "verify": _verify,
    "backup": _backup,
    "restore": _restore,
    "delete": _delete,
}
