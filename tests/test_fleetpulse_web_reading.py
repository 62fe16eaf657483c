"""Cutting bytes into requests: any bytes, in any pieces."""

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetpulse.web.reading import HEAD_LIMIT, Read, RefusedError, RequestReader

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"GET /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"

LIKELY = st.lists(
    st.sampled_from([GET, POST, CHUNKED, b"GET / HTTP/1.0\r\n\r\n", b"\r\n", b"x", b"\x00"])
).map(b"".join)


def read(pieces: Iterable[bytes]) -> list[Read | int]:
    """The requests, and the status of what ended them."""
    reader, found = RequestReader(), list[Read | int]()
    try:
        for piece in pieces:
            reader.feed(piece)
            while (one := reader.next()) is not None:
                found.append(one)
    except RefusedError as err:
        found.append(err.status)
    return found


def test_requests_follow_each_other() -> None:
    found = read([GET + POST + CHUNKED + GET])
    assert [one.request.path for one in found if isinstance(one, Read)] == ["/a", "/c", "/d", "/a"]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([GET, GET, POST, POST, GET], id="each in one piece"),
        pytest.param([POST, POST[:-1], POST[-1:], POST], id="some in pieces"),
        pytest.param([GET, GET + POST, GET], id="some together"),
        pytest.param([POST, POST[:-3], b"GET", GET], id="one within another's body"),
    ],
)
def test_a_request_that_comes_again_is_read_as_if_it_were_the_first(pieces: list[bytes]) -> None:
    assert read(pieces) == read([b"".join(pieces)])


@given(st.one_of(st.binary(), LIKELY), st.integers(1, 7))
@example(GET * 3, 1)
@example(CHUNKED * 2, 3)
def test_any_bytes_are_requests_or_refused_however_they_are_cut(data: bytes, size: int) -> None:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert read(pieces) == read([data])


@pytest.mark.parametrize("size", [1, 100, HEAD_LIMIT, 10 * HEAD_LIMIT])
def test_a_head_has_its_limit_however_it_is_cut(size: int) -> None:
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
    longest = start + b"y" * (HEAD_LIMIT - len(start) - 4) + b"\r\n\r\n"
    longer = longest.replace(b"X: ", b"X: " + b"y" * 10)
    for data, expected in ((longest, True), (longer, False)):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert isinstance(read(pieces)[0], Read) is expected
