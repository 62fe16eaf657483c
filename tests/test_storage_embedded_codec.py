"""Bytes in which series are kept: exact, small, and refused when damaged."""

import struct

import numpy as np
import pytest

from fleetpulse.model import STALE_NAN
from fleetpulse.storage.embedded.checksums import mix, mixes
from fleetpulse.storage.embedded.codec import (
    DAMAGE,
    decode_times,
    decode_values,
    encode_times,
    encode_values,
)
from tests.store_fakes import bits

RNG = np.random.default_rng(7)
QUIET = float("nan")
OTHER_NAN: float = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_DEAD_BEEF))[0]

# The series and the most bytes it may take.
VALUES = [
    pytest.param([5.0] * 720, 13, id="constant"),
    pytest.param([STALE_NAN] * 3, 13, id="nothing but stale"),
    pytest.param([1.0], 13, id="one sample"),
    pytest.param(np.cumsum(RNG.integers(0, 1000, 720)), 1100, id="counter"),
    pytest.param(np.round(RNG.normal(50, 9, 720), 2), 1500, id="decimals"),
    pytest.param(RNG.random(720), 720 * 8 + 5, id="noise"),
    pytest.param([1.0, STALE_NAN, STALE_NAN, 2.0], 60, id="stale inside"),
    pytest.param([STALE_NAN, 1.0, 2.0, STALE_NAN], 60, id="stale at both ends"),
    pytest.param([STALE_NAN, 1.0, 1.0], 24, id="stale, then constant"),
    pytest.param([QUIET, OTHER_NAN, -QUIET, STALE_NAN, 0.0, -0.0], 80, id="kinds of nothing"),
    pytest.param([1e308, -1e308, 5e-324, float("inf"), float("-inf")], 80, id="extremes"),
]


@pytest.mark.parametrize(("values", "most"), VALUES)
def test_values_come_back_bit_for_bit(values: list[float], most: int) -> None:
    given = np.array(values, np.float64)

    blob = encode_values(given)

    assert bits(decode_values(blob, len(given))) == bits(given)
    assert len(blob) <= most


def test_a_last_stale_marker_costs_little() -> None:
    counter = np.cumsum(RNG.integers(0, 1000, 720)).astype(np.float64)
    ended = counter.copy()
    ended[-1] = STALE_NAN

    assert len(encode_values(ended)) <= len(encode_values(counter)) + 20


TIMES = [
    pytest.param([0], 21, id="one"),
    pytest.param(range(0, 7_200_000, 10_000), 21, id="regular"),
    pytest.param([-5, 7, 8], 60, id="irregular and below zero"),
    pytest.param(1_700_000_000_000 + np.cumsum(RNG.integers(9_990, 10_010, 720)), 900, id="jitter"),
    pytest.param([-(1 << 52), 0, 1 << 52], 60, id="far apart"),
]


@pytest.mark.parametrize(("times", "most"), TIMES)
def test_times_come_back(times: list[int], most: int) -> None:
    given = np.array(times, np.int64)

    blob = encode_times(given)

    assert decode_times(blob, len(given)).tolist() == given.tolist()
    assert len(blob) <= most


DAMAGED = [
    pytest.param(b"", id="empty"),
    pytest.param(b"?abc", id="unknown kind"),
    pytest.param(b"pabc", id="no pcodec"),
    pytest.param(b"r" + bytes(7), id="raw, too short"),
    pytest.param(b"c" + bytes(7), id="constant, too short"),
    pytest.param(b"s\x01", id="stale, cut off"),
    pytest.param(encode_values(RNG.random(9) * np.arange(9))[:-3], id="cut off"),
    pytest.param(encode_values(np.cumsum(RNG.integers(0, 9, 500)).astype(float)), id="too many"),
]


@pytest.mark.parametrize("blob", DAMAGED)
def test_damaged_values_are_an_error(blob: bytes) -> None:
    with pytest.raises(DAMAGE):
        decode_values(blob, 9)


def test_each_damaged_bit_shows() -> None:
    for blob in (encode_values(np.full(9, 5.0)), encode_values(RNG.random(9))):
        for bit in range(8 * len(blob)):
            broken = bytearray(blob)
            broken[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DAMAGE):
                decode_values(bytes(broken), 9)


def test_a_blob_belongs_to_its_row() -> None:
    blob = encode_values(np.arange(9.0), mix(1, 2, 3, 4))

    assert decode_values(blob, 9, mix(1, 2, 3, 4)).tolist() == list(range(9))
    for other in (mix(0, 2, 3, 4), mix(1, 3, 3, 4), mix(1, 2, 4, 4), mix(1, 2, 3, 5)):
        with pytest.raises(DAMAGE):
            decode_values(blob, 9, other)


def test_many_keys_mix_as_one_does() -> None:
    keys = [(1, 2, 3), (-5, 7, 1 << 40), (0, 0, 0)]
    at_once = mixes(*np.array(keys).T)

    assert at_once.tolist() == [mix(*key) for key in keys]
