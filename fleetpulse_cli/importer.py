"""`fleetpulse import`: OpenMetrics text with timestamps, of any size, into the store."""

import gzip
import sys
import zlib
from array import array
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
from fleetpulse.exposition import iter_samples
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.base import SampleWriter

_GATHERED = 200_000  # samples, some 50 MB
_LAYOUTS = 1000  # remembered for the pages to come
_LAST_MS = 253_402_300_799_999
_TARGET_LABELS = ("job", "instance")


class PageBuilder:
    """Gathers samples in any order and gives them back as pages: one a target and a time.

    Backfill files go series by series, pages time by time. The more is gathered before take(),
    the more lines share a page.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[Labels, int], dict[Labels, float]] = {}
        self._layouts: dict[tuple[Labels, ...], Layout] = {}
        self.size = 0

    def add(self, labels: Labels, at_ms: int, value: float) -> None:
        target = labels.only(*_TARGET_LABELS)
        line = labels.without(*_TARGET_LABELS)
        self._pages.setdefault((target, at_ms), {})[line] = value
        self.size += 1

    def take(self) -> list[Page]:
        pages = []
        for (target, at_ms), values in self._pages.items():
            lines = tuple(values)
            layout = self._layouts.setdefault(lines, Layout(lines))
            pages.append(Page(target, layout, at_ms, array("d", values.values())))
        self._pages, self.size = {}, 0
        if len(self._layouts) > _LAYOUTS:  # a file of gaps has one for nearly each page
            self._layouts = {}
        return pages


def import_file(path: Path, writer: SampleWriter, *, quiet: bool = False) -> tuple[int, int]:
    """Writes all samples; (samples, distinct metric names).

    StartError names the line that cannot be read; what came before it is stored, and a second
    run of the mended file stores nothing twice.
    """
    builder, count, names = PageBuilder(), 0, set[str]()
    with _open(path) as stream, _progress(quiet) as progress:
        total = path.stat().st_size if path.suffix != ".gz" else None
        task = progress.add_task(path.name, total=total)
        try:
            for line, labels, value, at_ms in iter_samples(
                _counted(stream, progress, task), openmetrics=True
            ):
                if at_ms is None:
                    raise ExpositionError(line, "no timestamp; an import needs one on each sample")
                if abs(at_ms) > _LAST_MS:
                    raise ExpositionError(
                        line, "the timestamp is beyond the year 9999; OpenMetrics has seconds"
                    )
                builder.add(labels, at_ms, value)
                names.add(labels.name)
                count += 1
                if builder.size >= _GATHERED:
                    writer.write(builder.take())
        except (ExpositionError, EOFError, gzip.BadGzipFile, zlib.error) as err:
            writer.write(builder.take())
            raise StartError(f"{path}: {err}; {count} samples before it are stored") from err
        writer.write(builder.take())
    return count, len(names)


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    except OSError as err:
        raise StartError(f"{path}: cannot be read: {err.strerror}") from err


def _counted(stream: BinaryIO | gzip.GzipFile, progress: Progress, task: TaskID) -> Iterator[bytes]:
    for line in stream:
        progress.advance(task, len(line))
        yield line


def _progress(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())

    console = Console(file=sys.stderr)
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet)
