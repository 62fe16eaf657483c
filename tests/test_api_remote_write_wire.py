"""Remote write: messages that are written oddly, or broken."""

from pathlib import Path

import pytest

from tests.api_fakes import NOW_MS
from tests.remote_write_fakes import (
    LOAD,
    STALE,
    UP,
    UP_TEXT,
    V1,
    V2,
    Request2,
    Writer,
    block,
    hosts,
    integer,
    label,
    metadata,
    number,
    request,
    sample,
    series,
    snap,
)


def test_unknown_fields_are_skipped(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    odd = block(9, b"x") + integer(8, 7) + number(7 << 3 | 5) + bytes(4)
    body = odd + block(1, series(UP, (NOW_MS, 1.0), more=odd)) + odd
    assert writer.raw(snap(body)).status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


def test_fields_may_come_in_any_order(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    named = [block(1, label(*pair)) for pair in UP]
    for turn in range(3):
        points = [block(2, sample(NOW_MS + 2 * turn + n, 1.0)) for n in range(2)]
        body = named[0] + points[0] + b"".join(named[1:]) + points[1]
        assert writer.send(body, series(UP, (NOW_MS + 100, 1.0))).status_code == 204
    assert [at for at, _ in writer.stored()[UP_TEXT]] == [0, 1, 2, 3, 4, 5, 100]


def test_what_looks_like_a_sample_and_is_none_is_no_sample(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.send(series(UP, (NOW_MS, 1.0)))
    # 18 bytes after known labels, whose second is a sample's length: an unknown field of 16 bytes.
    odd = number(15 << 3 | 2) + number(16) + bytes(16)
    assert writer.send(series(UP, more=odd)).status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x0a", id="a tag alone"),
        pytest.param(b"\x0a\x7f" + bytes(10), id="a series beyond the end"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="a length of 64 bits"),
        pytest.param(b"\xff" * 12, id="a number without an end"),
        pytest.param(block(1, b"\x0a\x20x"), id="a label beyond its series"),
        pytest.param(block(1, b"\x13\x00"), id="a group"),
        pytest.param(block(1, b"\x10\x01"), id="a sample that is a number"),
        pytest.param(b"\x08\x01", id="a series that is a number"),
        pytest.param(b"\x00\x00", id="field 0"),
        pytest.param(block(1, block(2, b"\x09\x01")), id="a value of too few bytes"),
    ],
)
@pytest.mark.parametrize("tail", [b"", block(1, series(UP, (NOW_MS, 1.0)))], ids=["alone", "more"])
def test_a_broken_message_is_refused_whole(tmp_path: Path, body: bytes, tail: bytes) -> None:
    writer = Writer(tmp_path)
    answer = writer.raw(snap(tail + body))
    assert answer.status_code == 400
    assert "no message of remote write 1.0" in answer.text
    assert writer.stored() == {}


def _messages() -> dict[str, bytes]:
    usual = [*hosts(NOW_MS, 0.0, count=2), series(UP, (NOW_MS, 1.0), (NOW_MS + 1, STALE))]
    first = request(*usual, metadata=[metadata(1, "m1", "Help.")])
    second = Request2().add(UP, (NOW_MS, 1.0), kind=1, help_text="Help.")
    second.add(LOAD, (NOW_MS, 0.0)).add(LOAD, (NOW_MS + 1, 2.0, 5), (NOW_MS + 2, 3.0))
    return {"1.0": first, "2.0": second.bytes()}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_whatever_comes_is_answered(tmp_path: Path, version: str) -> None:
    """Each byte of a message once as it must not be: refused, or taken for what it then says."""
    writer = Writer(tmp_path)
    message, headers = _messages()[version], V1 if version == "1.0" else V2
    assert writer.raw(snap(message), headers).status_code == 204
    for place in range(len(message)):
        for octet in (0x00, 0x0A, 0x12, 0x7F, 0x80, 0xFF):
            broken = message[:place] + bytes([octet]) + message[place + 1 :]
            assert writer.raw(snap(broken), headers).status_code in (204, 400), (place, octet)
        assert writer.raw(snap(message[:place]), headers).status_code in (204, 400), place
