"""One writer that is several: what is written goes to each of them."""

import threading
from collections.abc import Mapping, Sequence

from fleetpulse.errors import StorageError
from fleetpulse.model import Metadata, Page
from fleetpulse.storage.base import SampleWriter

_REMEMBERED = 10_000  # pages; of node_exporter's size some 40 MB


class Tee:
    """SampleWriter in front of several. They are closed by whoever opened them.

    One that refuses keeps nothing from the others. When the same pages come again, those who had
    them are spared: else a store would grow at every attempt on the one that is away.
    """

    def __init__(self, *writers: SampleWriter) -> None:
        self._writers = writers
        self._lock = threading.Lock()  # guards _taken
        # By writer, what it has and another one has not; with the page, so that its id is its own.
        self._taken: list[dict[int, Page]] = [{} for _ in writers]

    def write(self, pages: Sequence[Page]) -> None:
        errors: list[StorageError] = []
        with self._lock:
            missing = [[p for p in pages if id(p) not in taken] for taken in self._taken]
        took = []
        for place, writer in enumerate(self._writers):
            try:
                if missing[place]:
                    writer.write(missing[place])
                took.append(place)
            except StorageError as err:
                errors.append(err)
        with self._lock:
            if not errors:
                self._forget(pages)
                return
            for place in took:
                self._remember(self._taken[place], pages)
        # Where any of them may take the pages later, they have to come again.
        raise max(errors, key=lambda err: err.retriable)

    def _forget(self, pages: Sequence[Page]) -> None:
        for taken in self._taken:
            for page in pages:
                taken.pop(id(page), None)

    @staticmethod
    def _remember(taken: dict[int, Page], pages: Sequence[Page]) -> None:
        taken.update((id(page), page) for page in pages)
        # Not all come again. What is forgotten too early is written twice, no more.
        for oldest in list(taken)[: max(0, len(taken) - _REMEMBERED)]:
            del taken[oldest]

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        for writer in self._writers:
            writer.describe(metadata)

    def close(self) -> None:
        """Nothing: see above."""
