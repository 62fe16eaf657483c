import pytest

from api.params import MAX_MS, MIN_MS, parse_seconds, parse_time

TIMES = [
    pytest.param("1700000000", 1_700_000_000_000, id="seconds"),
    pytest.param("1700000000.1234", 1_700_000_000_123, id="rounded to the millisecond"),
    pytest.param("1.7e9", 1_700_000_000_000, id="with an exponent"),
    pytest.param("-1.5", -1_500, id="before 1970"),
    pytest.param("0", 0, id="zero"),
    pytest.param("2023-11-14T22:13:20Z", 1_700_000_000_000, id="RFC 3339"),
    pytest.param("2023-11-14T23:13:20+01:00", 1_700_000_000_000, id="with an offset"),
    pytest.param("2023-11-14t22:13:20.123z", 1_700_000_000_123, id="in small letters"),
    pytest.param("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123, id="nanoseconds"),
    pytest.param("-292273086-05-16T16:47:06Z", MIN_MS, id="the least that Go clients send"),
    pytest.param("292277025-08-18T07:12:54.999999999Z", MAX_MS, id="and the most"),
]


@pytest.mark.parametrize(("text", "expected"), TIMES)
def test_times(text: str, expected: int) -> None:
    assert parse_time(text) == expected


NO_TIMES = ["", "now", "nan", "inf", "1_000", " 1", "1e30", "2023-11-14", "2023-11-14T22:13:20"]


@pytest.mark.parametrize("text", [*NO_TIMES, "2023-13-14T22:13:20Z", "0x10", "١"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="2026-01-02T15:04:05Z"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("15", 15.0), ("0.5", 0.5), ("5m", 300.0), ("1h30m", 5400.0), ("0", 0)]
)
def test_durations(text: str, expected: float) -> None:
    assert parse_seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5 m", "nan", "inf", "m", "1e300", "--5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="valid duration"):
        parse_seconds(text)
