"""`fleetpulse import`: OpenMetrics text with timestamps, of any size, into the store."""

import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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
from fleetpulse.storage.base import SampleWriter
from fleetpulse_cli.backfill import Backfill

_TOLD = 1 << 20  # bytes between two moves of the progress bar


def import_file(path: Path, writer: SampleWriter, *, quiet: bool = False) -> tuple[int, int]:
    """Writes all samples; (samples, distinct metric names).

    StartError names the line that cannot be read; what came before it is stored, and a second
    run of the mended file stores nothing twice.
    """
    backfill = Backfill(writer.write)
    with _open(path) as stream, _progress(quiet) as progress:
        total = path.stat().st_size if path.suffix != ".gz" else None
        task = progress.add_task(path.name, total=total)
        try:
            backfill.read(_counted(stream, progress, task))
        except (ExpositionError, EOFError, gzip.BadGzipFile, zlib.error) as err:
            told = f"{path}: {err}; {backfill.count} samples before it are stored"
            raise StartError(told) from err
    return backfill.count, len(backfill.names)


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
