"""An export into a file: told how far it is, and gone on with where an earlier run was ended."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from fleetpulse.errors import StartError
from fleetpulse.matchers import Matcher
from fleetpulse.storage.base import SeriesReader
from fleetpulse_cli.bookmark import Bookmark
from fleetpulse_cli.export import END, Place, names_of, parts

_MARKED_EVERY = 1.0  # seconds

# How many metrics are done, and of how many.
Told = Callable[[int, int], None]


class FileExport:
    """Writes FILE.part, and at the end of it FILE: half an export is never taken for a whole one.

    FILE.part.place says how far it came. asked: what was typed, by which a later run knows that
    it is the same export. clock: monotonic seconds.
    """

    def __init__(
        self, path: Path, asked: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._clock = path, clock
        self._part = path.with_name(f"{path.name}.part")
        self._mark = Bookmark(path.with_name(f"{path.name}.part.place"), asked)
        self._marked = clock()

    def run(
        self,
        reader: SeriesReader,
        matchers: Sequence[Matcher],
        bounds: tuple[int, int],
        told: Told = lambda _done, _of: None,
    ) -> bool:
        """Whether it went on with an earlier run, whose bounds are then taken."""
        found = self._mark.read() if self._part.exists() else None
        try:
            with self._part.open("r+b" if found else "wb") as file:
                place, (start_ms, end_ms) = self._begin(file, found, bounds)
                names = names_of(reader, matchers, start_ms, end_ms, place)
                for done, name in enumerate(names):
                    told(done, len(names))
                    for reached, text in parts(reader, matchers, name, start_ms, end_ms, place):
                        file.writelines(one.encode() for one in text)
                        self._reach(file, reached, (start_ms, end_ms))
                told(len(names), len(names))
                file.write(END.encode())
            self._part.replace(self._path)
        except OSError as err:
            raise StartError(f"{self._path}: cannot be written: {err.strerror}") from err
        self._mark.clear()
        return found is not None

    def _begin(
        self, file: IO[bytes], found: Mapping[str, Any] | None, bounds: tuple[int, int]
    ) -> tuple[Place | None, tuple[int, int]]:
        if found is None:
            self._mark.clear()
            return None, bounds
        # What was written after the last mark is written again.
        file.truncate(found["bytes"])
        file.seek(0, os.SEEK_END)
        return Place(found["name"], found["until_ms"]), (found["start_ms"], found["end_ms"])

    def _reach(self, file: IO[bytes], place: Place, bounds: tuple[int, int]) -> None:
        if self._clock() - self._marked < _MARKED_EVERY:
            return
        file.flush()
        os.fsync(file.fileno())
        self._mark.write(
            {
                "name": place.name,
                "until_ms": place.until_ms,
                "bytes": file.tell(),
                "start_ms": bounds[0],
                "end_ms": bounds[1],
            }
        )
        self._marked = self._clock()
