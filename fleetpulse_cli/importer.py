"""`fleetpulse import`: OpenMetrics text with timestamps, of any size, into the store."""

import gzip
import hashlib
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fleetpulse.errors import ExpositionError, StartError
from fleetpulse.model import Page
from fleetpulse_cli.backfill import Backfill
from fleetpulse_cli.bookmark import Bookmark

_TOLD = 1 << 20  # bytes between two moves of the progress bar


class Writes(Protocol):
    def write(self, pages: Sequence[Page]) -> None: ...


def import_file(
    path: Path,
    writer: Writes,
    *,
    quiet: bool = False,
    bookmark: Bookmark | None = None,
) -> tuple[int, int]:
    """Writes all samples; (samples, distinct metric names).

    StartError names the line that cannot be read; what came before it is stored, and a second
    run of the mended file stores nothing twice. bookmark: remembers the last line that is stored,
    and what it says of an earlier run is read without being stored again.
    """
    found = bookmark.read() if bookmark is not None else None
    done = int(found["line"]) if found else 0
    if done:
        print(f"{path}: goes on after line {done}", file=sys.stderr)

    def stored(line: int) -> None:
        if bookmark is not None:
            bookmark.write({"line": line})

    backfill = Backfill(writer.write, done=done, stored=stored)
    with _open(path) as stream, _progress(quiet) as progress:
        total = path.stat().st_size if path.suffix != ".gz" else None
        task = progress.add_task(path.name, total=total)
        try:
            backfill.read(_counted(stream, progress, task))
        except (ExpositionError, EOFError, gzip.BadGzipFile, zlib.error) as err:
            told = f"{path}: {err}; {backfill.count} samples before it are stored"
            raise StartError(told) from err
    return backfill.count, len(backfill.names)


def bookmark_of(path: Path, data_dir: Path, store: str) -> Bookmark:
    """Where the import of this version of a file into a store is remembered."""
    try:
        stat = path.stat()
    except OSError as err:
        raise StartError(f"{path}: cannot be read: {err.strerror}") from err
    work = {
        "file": str(path.resolve()),
        "bytes": stat.st_size,
        "changed_ns": stat.st_mtime_ns,
        "store": store,
    }
    name = hashlib.blake2b(f"{work['file']}\n{store}".encode(), digest_size=8).hexdigest()
    return Bookmark(data_dir / "import" / f"{name}.json", work)


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    except OSError as err:
        raise StartError(f"{path}: cannot be read: {err.strerror}") from err


def _counted(stream: BinaryIO | gzip.GzipFile, progress: Progress, task: TaskID) -> Iterator[bytes]:
    size = 0
    for line in stream:
        size += len(line)
        if size >= _TOLD:
            progress.advance(task, size)
            size = 0
        yield line
    progress.advance(task, size)


def _progress(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())

    console = Console(file=sys.stderr)
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet)
