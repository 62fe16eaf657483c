"""How an import gathers samples into pages."""

import gc
import weakref

from fleetpulse.model import Labels
from fleetpulse_cli.backfill import PageBuilder


def sample(name: str) -> Labels:
    return Labels.of(__name__=name, job="j", instance="i")


def test_pages_of_one_shape_share_a_layout_from_one_take_to_the_next() -> None:
    builder = PageBuilder()
    layouts = []
    for at_ms in (1, 2):
        builder.add(sample("a"), at_ms, 1.0)
        builder.add(sample("b"), at_ms, 2.0)
        (page,) = builder.take()
        layouts.append(page.layout)
    assert layouts[0] is layouts[1]


def test_a_file_of_gaps_leaves_nothing_behind() -> None:
    builder = PageBuilder()
    for at_ms in range(1500):
        builder.add(sample(f"own_{at_ms}"), at_ms, 1.0)
    alive = weakref.WeakSet(page.layout for page in builder.take())
    gc.collect()
    assert not alive
