"""How far a long piece of work has come, on disk, so that it can go on after whatever ended it."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleetpulse.errors import StartError


class Bookmark:
    """One JSON file. work: what the work is; a bookmark of other work is as good as none."""

    def __init__(self, path: Path, work: Mapping[str, Any]) -> None:
        self.path, self._work = path, dict(work)

    def read(self) -> Mapping[str, Any] | None:
        """What write() was given last; None where it was never called, or for other work."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or found.get("work") != self._work:
            return None
        place = found.get("place")
        return place if isinstance(place, dict) else None

    def write(self, place: Mapping[str, Any]) -> None:
        """StartError where it cannot be written: the work would begin anew at the next start."""
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8") as file:
                json.dump({"work": self._work, "place": dict(place)}, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as err:
            raise StartError(f"{self.path}: cannot be written: {err.strerror}") from err

    def clear(self) -> None:
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
