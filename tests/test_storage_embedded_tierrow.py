"""A tier's blob gives back the windows that were put into it."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetpulse.model import STALE_NAN
from fleetpulse.storage.embedded import tierrow
from fleetpulse.storage.embedded.codec import DAMAGE
from fleetpulse.storage.embedded.windows import DAY_MS, Windows, aggregate

VALUE = st.one_of(st.floats(), st.just(STALE_NAN), st.sampled_from([0.0, -0.0, 1.0]))
SAMPLES = st.dictionaries(st.integers(1, DAY_MS), VALUE, min_size=1, max_size=50)


def windows_of(samples: dict[int, float], day: int = 0) -> Windows:
    times = np.array(sorted(samples), np.int64)
    return aggregate(times + day * DAY_MS, np.array([samples[at] for at in sorted(samples)]), day)


def assert_equal(found: Windows, expected: Windows) -> None:
    for one in fields(Windows):
        left, right = getattr(found, one.name), getattr(expected, one.name)
        if one.name == "first":  # means nothing elsewhere
            left, right = left[found.started], right[expected.started]
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes(), one.name


@given(samples=SAMPLES, day=st.integers(-3, 20_000), key=st.integers(0, 2**32 - 1))
def test_it_comes_back_as_it_was(samples: dict[int, float], day: int, key: int) -> None:
    expected = windows_of(samples, day)
    assert_equal(tierrow.decode(tierrow.encode(expected, key), key), expected)


def test_a_constant_takes_little() -> None:
    day = windows_of(dict.fromkeys(range(7, DAY_MS, 10000), 1.5))
    assert len(day) == 288
    assert len(tierrow.encode(day, 1)) < 60


def test_columns_that_are_not_asked_for_are_not_decoded() -> None:
    blob = tierrow.encode(windows_of({1: 2.0, 2: 5.0}), 1)
    found = tierrow.decode(blob, 1, ("greatest",))
    assert (found.greatest.tolist(), found.least.tolist(), found.total.tolist()) == ([5], [0], [0])


def test_sums_that_are_infinite_are_kept_like_any_other() -> None:
    day = windows_of(dict.fromkeys((1, 2, 3), 1.7e308))
    found = tierrow.decode(tierrow.encode(day, 1), 1)
    assert (found.total.tolist(), found.last.tolist()) == ([float("inf")], [1.7e308])


@given(samples=SAMPLES, place=st.integers(0), change=st.integers(1, 255))
def test_a_changed_byte_is_noticed(samples: dict[int, float], place: int, change: int) -> None:
    blob = bytearray(tierrow.encode(windows_of(samples), 5))
    blob[place % len(blob)] ^= change
    # The highest bit of the first byte says whether there is a checksum at all.
    if place % len(blob) or not change & 0x80:
        with pytest.raises(DAMAGE):
            tierrow.decode(bytes(blob), 5)
