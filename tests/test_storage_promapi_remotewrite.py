from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetpulse.errors import StorageError
from fleetpulse.model import STALE_BITS, STALE_NAN, Labels, Layout, Page, lines_of
from fleetpulse.storage.promapi.remotewrite import RemoteWriteEncoder, split, varint
from tests.protobuf_reader import read_write_request, samples_by_series
from tests.store_fakes import bits

NOW_MS = 1_700_000_000_000


def page(lines: list[dict[str, str]], target: dict[str, str], *values: float) -> Page:
    return Page(Labels.of(target), Layout(lines_of(lines)), NOW_MS, array("d", values))


def test_a_series_is_its_labels_in_order_and_a_sample() -> None:
    given_page = page([{"__name__": "m", "k": "1", "x": ""}], {"instance": "h:1", "job": "j"}, 1.5)
    (frame,) = RemoteWriteEncoder().encode(given_page).frames
    ((labels, samples),) = read_write_request(frame)
    assert labels == [("__name__", "m"), ("instance", "h:1"), ("job", "j"), ("k", "1")]
    assert samples == [(NOW_MS, bits([1.5])[0])]


def test_a_line_overrides_and_takes_away_labels_of_the_target() -> None:
    lines = [{"__name__": "m", "job": "other"}, {"__name__": "n", "job": ""}]
    encoded = RemoteWriteEncoder().encode(page(lines, {"instance": "i", "job": "j"}, 1.0, 2.0))
    assert set(samples_by_series(b"".join(encoded.frames))) == {
        Labels.of({"__name__": "m", "job": "other", "instance": "i"}),
        Labels.of({"__name__": "n", "instance": "i"}),
    }


def test_every_bit_of_a_value_is_kept_and_plain_nan_counted() -> None:
    values = [STALE_NAN, float("nan"), float("inf"), -0.0, 0.1 + 0.2, 5e-324]
    lines = [{"__name__": "m", "n": str(one)} for one in range(len(values))]
    encoded = RemoteWriteEncoder().encode(page(lines, {}, *values))
    found = [samples[0][1] for _, samples in read_write_request(b"".join(encoded.frames))]
    assert found == bits(values)
    assert found[0] == STALE_BITS
    assert encoded.nan == 1


def test_times_of_their_own_and_before_1970() -> None:
    lines = lines_of([{"__name__": "a"}, {"__name__": "b"}])
    own = Page(Labels(), Layout(lines), 0, array("d", [1.0, 2.0]), array("q", [-5, 1 << 45]))
    encoded = RemoteWriteEncoder().encode(own)
    times = [samples[0][0] for _, samples in read_write_request(b"".join(encoded.frames))]
    assert times == [-5, 1 << 45]


def test_text_that_is_no_utf8_is_replaced() -> None:
    encoded = RemoteWriteEncoder().encode(page([{"__name__": "m"}], {"a": "\udce9%"}, 1.0))
    assert read_write_request(encoded.frames[0])[0][0][1] == ("a", "?%")


TEXT = st.text(min_size=1, max_size=300)
LABELS = st.dictionaries(st.text(min_size=1, max_size=8), TEXT, max_size=5)


@given(LABELS, st.lists(LABELS, min_size=1, max_size=5), st.floats(allow_nan=True))
def test_any_labels_come_back(
    target: dict[str, str], lines: list[dict[str, str]], value: float
) -> None:
    encoder = RemoteWriteEncoder()
    layout = Layout(lines_of([{**line, "__name__": f"m{at}"} for at, line in enumerate(lines)]))
    given_page = Page(Labels.of(target), layout, NOW_MS, array("d", [value] * len(lines)))
    for _ in range(2):  # what is remembered is as good as what is made anew
        frames = encoder.encode(given_page).frames
        found = [Labels(labels) for labels, _ in read_write_request(b"".join(frames))]
        assert found == [given_page.target.merged(line) for line in layout.lines]
        assert split(b"".join(frames)) == frames


BROKEN = [
    pytest.param(b"\x0a\x05abc", id="too short"),
    pytest.param(b"\x12\x01a", id="another field"),
    pytest.param(b"\x0a", id="no length"),
    pytest.param(b"\x0a\x80", id="half a length"),
]


@pytest.mark.parametrize("payload", BROKEN)
def test_what_is_no_payload_of_frames_is_refused(payload: bytes) -> None:
    with pytest.raises(StorageError, match="frame"):
        split(payload)


def test_varints() -> None:
    assert varint(0) == b"\x00"
    assert varint(300) == b"\xac\x02"
    assert varint(-1) == b"\xff" * 9 + b"\x01"
