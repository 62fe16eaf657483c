"""One writer that is two: what is written goes to both stores."""

from collections.abc import Mapping, Sequence

from fleetpulse.model import Metadata, Page
from fleetpulse.storage.base import SampleWriter


class Tee:
    """SampleWriter in front of several. They are closed by whoever opened them.

    Where one refuses, those before it have the pages already; writing them again is no harm to a
    store, as the same series and time is one sample.
    """

    def __init__(self, *writers: SampleWriter) -> None:
        self._writers = writers

    def write(self, pages: Sequence[Page]) -> None:
        for writer in self._writers:
            writer.write(pages)

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        for writer in self._writers:
            writer.describe(metadata)

    def close(self) -> None:
        """Nothing: see above."""
