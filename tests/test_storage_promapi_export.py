import numpy as np
import pytest

from fleetpulse.errors import StorageError
from fleetpulse.model import STALE_NAN, Labels
from fleetpulse.storage.promapi.export import ExportDecoder, lines_of, rising, values_of
from tests.store_fakes import bits

LISTS = [
    pytest.param(b"1,2.5,-3e-7", [1.0, 2.5, -3e-7], id="numbers"),
    pytest.param(b"1,null", [1.0, STALE_NAN], id="null is the staleness marker"),
    pytest.param(b"NaN,1", [STALE_NAN, 1.0], id="and so is NaN, as Debian's begins a line"),
    pytest.param(b"1,+Inf,-Inf", [1.0, np.inf, -np.inf], id="infinities stand bare"),
    pytest.param(b'"Infinity","-Infinity",1', [np.inf, -np.inf, 1.0], id="or in quotes"),
    pytest.param(b'"NaN",null', [STALE_NAN, STALE_NAN], id="nothing but markers"),
    pytest.param(b"0.1,123456.789012345", [0.1, 123456.789012345], id="to the last bit"),
]


@pytest.mark.parametrize(("text", "wanted"), LISTS)
def test_a_list_of_values_is_read(text: bytes, wanted: list[float]) -> None:
    assert bits(values_of(text)) == bits(wanted)


def test_a_line_is_a_series() -> None:
    line = (
        b'{"metric":{"__name__":"m","values":"\\",\\"values\\":[","e":""},'
        b'"values":[1,2],"timestamps":[5,6]}'
    )
    part = ExportDecoder("vm").decode(line)
    assert part.labels == Labels.of({"__name__": "m", "values": '","values":['})
    assert part.times_ms.tolist() == [5, 6]
    assert part.values.tolist() == [1.0, 2.0]


def test_times_that_come_again_are_the_same_array() -> None:
    decoder = ExportDecoder("vm")
    line = b'{"metric":{"a":"%d"},"values":[1],"timestamps":[5]}'
    first, second = (decoder.decode(line % one).times_ms for one in (1, 2))
    assert first is second


BROKEN = [
    pytest.param(b'{"metric":{"a":"b"},"values":[1,2],"timest', id="cut in the middle"),
    pytest.param(b'{"metric":{"a":"b"},"values":[1],"timestamps":[5', id="cut at its end"),
    pytest.param(b'{"metric":{"a":"b"},"values":[1,2],"timestamps":[5]}', id="a time is missing"),
    pytest.param(b'{"metric":{"a":"b"},"values":[x],"timestamps":[5]}', id="a word for a value"),
    pytest.param(b'{"metric":3,"values":[1],"timestamps":[5]}', id="no labels"),
    pytest.param(b'remoteAddr: "1.2.3.4"; error when exporting', id="a failure half-way"),
    pytest.param(b"<html>", id="a web page"),
]


@pytest.mark.parametrize("line", BROKEN)
def test_what_is_no_series_is_an_error_that_names_the_store(line: bytes) -> None:
    with pytest.raises(StorageError, match=r"^vm: ") as caught:
        ExportDecoder("vm").decode(line)
    assert caught.value.retriable


def test_lines_are_put_together_of_pieces() -> None:
    assert list(lines_of([b"ab", b"c\nd", b"\n\nef"])) == [b"abc", b"d", b"", b"ef"]


TWICE = [
    pytest.param([1, 2, 3], [5.0, 6.0, 7.0], [1, 2, 3], [5.0, 6.0, 7.0], id="nothing twice"),
    pytest.param([1, 1, 2], [5.0, 3.0, 7.0], [1, 2], [5.0, 7.0], id="the greatest stays"),
    pytest.param([2, 1, 2], [5.0, 3.0, 7.0], [1, 2], [3.0, 7.0], id="parts that overlap"),
    pytest.param([1, 1], [STALE_NAN, -np.inf], [1], [-np.inf], id="a number before a marker"),
    pytest.param([1, 1], [-1.0, STALE_NAN], [1], [-1.0], id="in either order"),
    pytest.param([1, 1], [STALE_NAN, STALE_NAN], [1], [STALE_NAN], id="two markers are one"),
    pytest.param([], [], [], [], id="nothing"),
]


@pytest.mark.parametrize(("times", "values", "wanted_times", "wanted"), TWICE)
def test_each_time_is_there_once(
    times: list[int], values: list[float], wanted_times: list[int], wanted: list[float]
) -> None:
    found = rising(np.array(times, np.int64), np.array(values, np.float64))
    assert found[0].tolist() == wanted_times
    assert bits(found[1]) == bits(wanted)
