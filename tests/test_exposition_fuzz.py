"""A few of the pages that benchmarks/fuzz_reader.py makes by the million."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzz_reader import Fuzz
from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import PageReader, read_page


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_readers_and_prometheus_clients_parsers_agree(seed: int) -> None:
    fuzz = Fuzz(seed, ask=0)
    fuzz.run(500)
    assert not fuzz.finds.pages
    assert fuzz.finds.counts["taken"] > 100
    assert fuzz.finds.counts["refused"] > 100


@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_is_a_page_or_an_exposition_error(body: bytes, openmetrics: bool) -> None:
    reader = PageReader()
    try:
        page = read_page(body, at_ms=0, openmetrics=openmetrics)
    except ExpositionError:
        with pytest.raises(ExpositionError):
            reader.read(body, openmetrics=openmetrics)
        return
    first = reader.read(body, openmetrics=openmetrics)
    again = reader.read(body, first, openmetrics=openmetrics)
    assert len(first.values) + len(first.again) >= len(page.values)
    assert first.values.tobytes() == again.values.tobytes()
