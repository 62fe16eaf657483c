"""InfluxDB's answers in MessagePack and in JSON: the same, and nothing but an error for garbage."""

import itertools
import json
import math
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetpulse.storage.influx.answer import AnswerError, Part
from fleetpulse.storage.influx.jsonanswer import read_json
from fleetpulse.storage.influx.msgpack import read_answer
from fleetpulse.storage.influx.series import code_of
from tests.msgpack_fakes import Answered, Wide, answer, packed

Row = tuple[object, ...]


def read(*pieces: bytes) -> list[Part | str]:
    return list(read_answer(pieces, code_of))


def told(parts: Sequence[Part | str]) -> list[object]:
    """Bits and texts, which can be compared."""
    return [
        part
        if isinstance(part, str)
        else (
            part.name,
            dict(part.tags),
            part.times_ms.tolist(),
            {name: bits(column.tolist()) for name, column in part.columns.items()},
        )
        for part in parts
    ]


def bits(values: Sequence[float]) -> list[str]:
    return ["nan" if math.isnan(value) else float(value).hex() for value in values]


def number(cell: object) -> float:
    """What a cell is in a column."""
    if isinstance(cell, Wide):
        return float(cell.value)
    if isinstance(cell, str):
        return code_of(cell)
    return math.nan if cell is None else float(cell)  # type: ignore[arg-type]


def expected(*series: Answered) -> list[object]:
    found: list[object] = []
    for one in series:
        times = [row[0].value if isinstance(row[0], Wide) else row[0] for row in one.rows]
        columns = {
            name: bits([number(row[place]) for row in one.rows])
            for place, name in enumerate(one.columns)
            if place and one.rows
        }
        found.append((one.name, dict(one.tags), times, columns))
    return found


WIDTHS = [
    (0xCC, ">B", 0, 2**8 - 1), (0xCD, ">H", 0, 2**16 - 1), (0xCE, ">I", 0, 2**32 - 1),
    (0xCF, ">Q", 0, 2**63 - 1), (0xD0, ">b", -(2**7), 2**7 - 1), (0xD1, ">h", -(2**15), 2**15 - 1),
    (0xD2, ">i", -(2**31), 2**31 - 1), (0xD3, ">q", -(2**63), 2**63 - 1),
]  # fmt: skip
WHOLE = st.one_of(
    st.integers(0, 127).map(lambda n: Wide(n, n)),
    st.integers(-32, -1).map(lambda n: Wide(n, n & 0xFF)),
    *(
        st.builds(Wide, st.integers(least, most), st.just(first), st.just(how))
        for first, how, least, most in WIDTHS
    ),
)
FLOAT = st.one_of(
    st.floats(), st.floats(width=32).map(lambda value: Wide(value, 0xCA, ">f"))
)  # fmt: skip
CELL = st.one_of(
    st.none(), st.booleans(), WHOLE, FLOAT, st.sampled_from(["NaN", "+Inf", "-Inf", "x" * 40, ""])
)
TEXT = st.text(max_size=40)


@st.composite
def series(draw: st.DrawFn) -> Answered:
    others = draw(st.integers(0, 4))
    few = draw(st.lists(st.tuples(*[CELL] * others), min_size=1, max_size=3))
    # Rows of few shapes again and again, as they are, and as they are not.
    rows = draw(st.lists(st.tuples(WHOLE, st.sampled_from(few)), max_size=60))
    names = draw(st.lists(TEXT, min_size=others, max_size=others, unique=True))
    tags = draw(st.dictionaries(TEXT, TEXT, max_size=3))
    return Answered([(at, *cells) for at, cells in rows], ["time", *names], tags, draw(TEXT))


@given(st.lists(st.lists(series(), max_size=3), min_size=1, max_size=3), st.data())
def test_what_was_written_is_read_wherever_it_is_cut(
    documents: list[list[Answered]], data: st.DataObject
) -> None:
    body = b"".join(packed(answer(*document)) for document in documents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    edges = sorted({0, *cuts, len(body)})
    pieces = [body[begin:end] for begin, end in itertools.pairwise(edges)]
    wanted = expected(*(one for document in documents for one in document))
    assert told(read(*pieces)) == wanted
    assert told(read(*(bytes([byte]) for byte in body))) == wanted


@pytest.mark.parametrize("rows", [1, 15, 16, 255, 65_535, 65_536, 150_000])
def test_lists_of_any_length(rows: int) -> None:
    one = Answered([(n, float(n % 9), None, None) for n in range(rows)])
    (part,) = read(packed(answer(one)))
    assert isinstance(part, Part)
    assert part.times_ms.tolist() == list(range(rows))
    assert np.array_equal(part.columns["value"], np.arange(rows) % 9)


def test_rows_whose_shape_changes_each_time() -> None:
    rows: list[Row] = [
        (n, None, True, None) if n % 2 else (n, n / 2, None, None) for n in range(20_000)
    ]
    rows[7] = (7, None, None, "+Inf")
    assert told(read(packed(answer(Answered(rows))))) == expected(Answered(rows))


def test_a_row_longer_than_most() -> None:
    rows = [(1, "x" * 5000, 1.0), (2, "+Inf", 2.0)]
    one = Answered(rows, ("time", "special", "value"))
    assert told(read(packed(answer(one)))) == expected(one)


def test_errors_come_among_the_series_in_their_order() -> None:
    first, last = Answered([(1, 1.0, None, None)]), Answered([(2, 2.0, None, None)])
    body = packed(answer(first, error="stopped")) + packed({"error": "gone"}) + packed(answer(last))
    assert told(read(body)) == [*expected(first), "stopped", "gone", *expected(last)]


def test_what_is_not_known_is_passed_over() -> None:
    message = {"level": "warning", "text": ["x", {"y": None}]}
    result = {"messages": [message], "series": [], "partial": True}
    assert read(packed({"version": 2, "results": [result, {}]})) == []


LONG = 2**32 - 1
SERIES = b"\x81\xa7results\x91\x81\xa6series"
GARBAGE = [
    pytest.param(b"", "empty", id="nothing at all"),
    pytest.param(b"\xc1", "no map", id="a byte that is not used"),
    pytest.param(b"<html>", "no map", id="a page"),
    pytest.param(packed([1, 2]), "no map", id="a list as a document"),
    pytest.param(b"\x81\xa7results\xdd\xff\xff\xff\xff", "cut off", id="a long list of nothing"),
    pytest.param(SERIES + b"\xdd\xff\xff\xff\xff", "cut off", id="many series, none there"),
    pytest.param(
        SERIES + b"\x91\x81\xa6values\xdd\xff\xff\xff\xff", "cut off", id="many rows, none there"
    ),
    pytest.param(
        SERIES + b"\x91\x81\xa6values\x91\xdd\xff\xff\xff\xff", "cut off", id="a long row, cut off"
    ),
    pytest.param(b"\xdf\xff\xff\xff\xff", "cut off", id="a long mapping of nothing"),
    pytest.param(b"\x81\xdb\xff\xff\xff\xff", "too long", id="a long text, not there"),
    pytest.param(b"\x81\xa1x" + b"\x91" * 1000, "too deeply", id="lists in lists"),
    pytest.param(b"\x81\xa1x\xc7\x01\x05\x00", "not known", id="an extension"),
    pytest.param(packed(answer(Answered([()]))), "without a time", id="an empty row"),
    pytest.param(packed(answer(Answered([(None, 1.0)]))), "without a time", id="no time"),
    pytest.param(packed(answer(Answered([(1.5, 1.0)]))), "without a time", id="half a time"),
    pytest.param(packed(answer(Answered([(1, 2.0)]))), "as long as", id="too short a row"),
    pytest.param(
        packed(answer(Answered([(1, 2.0), (2,)], ("time", "value")))), "differ", id="uneven rows"
    ),
    pytest.param(
        packed(answer(Answered([(1, [])], ("time", "v")))), "no number", id="a list in it"
    ),
    pytest.param(packed(answer(Answered([], tags={"a": 1}))), "a text", id="a tag that is no text"),  # type: ignore[dict-item]
    pytest.param(
        packed({"results": [{"series": [{"tags": "x"}]}]}), "mapping", id="tags that are none"
    ),
    pytest.param(
        packed({"results": [{"series": [{"columns": [["x"]]}]}]}), "a text", id="columns of lists"
    ),
    pytest.param(
        packed({"results": [{"series": [{"columns": []}]}]}), "names of columns", id="no columns"
    ),
]


@pytest.mark.parametrize(("body", "said"), GARBAGE)
def test_garbage_is_an_error_and_takes_no_memory(body: bytes, said: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(AnswerError, match=said):
            read(body)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@given(series(), st.data())
def test_a_cut_answer_is_an_error(one: Answered, data: st.DataObject) -> None:
    body = packed(answer(one))
    kept = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(AnswerError):
        read(body[:kept])


def attempt(pieces: Iterator[Part | str]) -> None:
    """Reads on: an error of the one kind is fine."""
    try:
        for _ in pieces:
            pass
    except AnswerError:
        pass


@given(series(), st.data())
def test_changed_bytes_are_read_or_are_an_error(one: Answered, data: st.DataObject) -> None:
    body = bytearray(packed(answer(one)))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    attempt(read_answer([bytes(body)], code_of))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_are_an_error(body: bytes) -> None:
    attempt(read_answer([body], code_of))
    attempt(read_json([body], code_of))


# --------------------------------------------------------------------------- JSON

JSON_VALUE = st.one_of(
    st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 9),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1.5", ""]),
)  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(-(2**60), 2**60), *[JSON_VALUE] * 3), max_size=20),
    st.dictionaries(TEXT, TEXT, max_size=3),
    TEXT,
)
def test_json_gives_the_same(rows: list[Row], tags: dict[str, str], name: str) -> None:
    one = Answered(rows, tags=tags, name=name)
    documents = [answer(one), answer(Answered([(1, 1.0, None, None)]), error="stopped")]
    body = "\n".join(map(json.dumps, documents)).encode() + b"\n"
    found = told(list(read_json([body[:10], body[10:]], code_of)))
    assert found == told(read(b"".join(map(packed, documents))))


NO_JSON = [
    pytest.param(b"", "empty", id="nothing at all"),
    pytest.param(b"OK\n", "no answer", id="a word"),
    pytest.param(b"[]", "no answer", id="a list"),
    pytest.param(b"{}", "no answer", id="no results"),
    pytest.param(b'{"results":[{"series":[{"columns":["time"],"values":[[1]]', "no", id="cut off"),
    pytest.param(json.dumps(answer(Answered([(2**70, 1, 1, 1)]))).encode(), "time", id="far times"),
    pytest.param(json.dumps(answer(Answered([(1.5, 1, 1, 1)]))).encode(), "time", id="half a time"),
    pytest.param(json.dumps(answer(Answered([(1, [], 1, 1)]))).encode(), "no", id="a list in it"),
    pytest.param(json.dumps(answer(Answered([(1, 2)]))).encode(), "no", id="too short a row"),
    pytest.param(b"[" * 5000, "no answer", id="lists in lists"),
]


@pytest.mark.parametrize(("body", "said"), NO_JSON)
def test_what_is_no_answer_in_json(body: bytes, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        list(read_json([body], code_of))


EXACT = [-0.0, 0.0, 2.0**53 + 2, 1e20, 123456789012345680000.0, 2.0**64, 5e-324, 0.1 + 0.2, -1e-300]


@pytest.mark.parametrize("value", EXACT)
def test_numbers_in_json_are_exact(value: float) -> None:
    """As Go writes them: no fraction where there is none, even where that is a minus and a zero."""
    text = f"{value:.0f}" if value == int(value) else repr(value)
    series = f'{{"name":"a,-0,b","columns":["time","value"],"values":[[1,{text}]]}}'
    body = f'{{"results":[{{"series":[{series}]}}]}}'
    (part,) = read_json([body.encode()], code_of)
    assert isinstance(part, Part)
    assert part.name == "a,-0,b"
    assert bits(part.columns["value"].tolist()) == bits([value])


CUT_SHORT = [
    pytest.param([True], False, id="rows were left out"),
    pytest.param([True, False], True, id="the rest came in a part of its own"),
]


@pytest.mark.parametrize(("parts", "whole"), CUT_SHORT)
def test_an_answer_is_whole_only_once_its_last_series_is(parts: list[bool], whole: bool) -> None:
    documents: list[dict[str, Any]] = [answer(Answered([(1, 2.0, None, None)])) for _ in parts]
    for document, more in zip(documents, parts, strict=True):
        document["results"][0]["series"][0]["partial"] = more
    as_json = "\n".join(map(json.dumps, documents)).encode()
    for found in (
        read_answer([packed(one) for one in documents], code_of),
        read_json([as_json], code_of),
    ):
        if whole:
            assert len(list(found)) == 2
        else:
            with pytest.raises(AnswerError, match="max-row-limit"):
                list(found)
