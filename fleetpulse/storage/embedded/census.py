"""What a store holds, counted in full: for a person who asks, not for each scrape."""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.database import Database

# One chunk has as many samples as its clock has times.
_SAMPLES = """
    SELECT
        (SELECT coalesce(sum(samples), 0) FROM chunk JOIN clock
            ON clock.span = chunk.span AND clock.target = chunk.target AND clock.n = chunk.clock),
        (SELECT coalesce(sum(length(vals)) / 8, 0) FROM page)
"""


@dataclass(frozen=True, slots=True)
class Census:
    """samples: of chunks and pages. series_of: by metric name. values_of: by label name."""

    samples: int
    series_of: Mapping[str, int]
    values_of: Mapping[str, int]


def take(database: Database, catalogue: Catalogue) -> Census:
    """Reads every key of the store, which takes a second or so a gigabyte."""
    with database.reading() as db:
        catalogue.refresh(db)
        in_chunks, in_pages = db.execute(_SAMPLES).fetchone()
    return Census(in_chunks + in_pages, catalogue.series_of_names(), catalogue.cardinality())
