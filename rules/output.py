"""Writes what rules give as pages, with staleness markers for series that are gone."""

from array import array
from collections.abc import Collection, Mapping

from fleetpulse.model import STALE_NAN, Labels, Layout, Page
from fleetpulse.storage.base import SampleWriter

# Rules' results have no target: all their labels are in the lines.
_NO_TARGET = Labels()


class RuleOutput:
    """The series that one rule wrote last. Used by one thread at a time."""

    def __init__(self) -> None:
        self._layout = Layout(())

    @property
    def series(self) -> tuple[Labels, ...]:
        """What stands in the store without a staleness marker, in the order of the labels."""
        return self._layout.lines

    def adopt(self, series: Collection[Labels]) -> None:
        """Takes over the series of a rule that this one replaces."""
        self._layout = Layout(tuple(sorted(series)))

    def write(
        self,
        writer: SampleWriter,
        samples: Mapping[Labels, float],
        at_ms: int,
        taken: Collection[Labels],
    ) -> None:
        """Stores the samples and marks the series that are no longer among them. StorageError.

        taken: series that another rule of the same turn has written, which are not stale then.
        """
        lines = tuple(sorted(samples))
        # The same lines keep the same Layout object, whose digest is reckoned only once.
        layout = self._layout if lines == self._layout.lines else Layout(lines)
        pages = []
        if lines:
            pages.append(
                Page(_NO_TARGET, layout, at_ms, array("d", [samples[line] for line in lines]))
            )
        gone = [line for line in self._layout.lines if line not in samples and line not in taken]
        # In a page of their own, so that the steady layout above stays the only one of its kind.
        if gone:
            pages.append(stale_page(gone, at_ms))
        if pages:
            writer.write(pages)
        self._layout = layout


def stale_page(series: Collection[Labels], at_ms: int) -> Page:
    """A page that ends these series."""
    return Page.of(_NO_TARGET, at_ms, dict.fromkeys(sorted(series), STALE_NAN))
