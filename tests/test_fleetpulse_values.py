"""Durations, sizes, addresses and values, as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetpulse.values import (
    ListenAddress,
    format_duration,
    is_label_name,
    is_metric_name,
    parse_duration,
    parse_listen_address,
    parse_size,
)

DURATIONS = [
    pytest.param("0", 0.0, id="zero needs no unit"),
    pytest.param("250ms", 0.25, id="milliseconds"),
    pytest.param("10s", 10.0, id="seconds"),
    pytest.param("5m", 300.0, id="m is minutes, not the start of ms"),
    pytest.param("1h30m", 5400.0, id="units in falling order"),
    pytest.param("1d12h", 129_600.0, id="days"),
    pytest.param("1w", 604_800.0, id="a week"),
    pytest.param("1y", 31_536_000.0, id="a year has 365 days"),
    pytest.param(" 15s ", 15.0, id="white space around it"),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_duration_is_read_as_prometheus_reads_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "1.5h", "5 m", "30m1h", "-5m", "1h1h", "tens"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 10s"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_printed_duration_reads_back_as_itself(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5400, "1h30m"), (864_000, "10d"), (604_800, "1w"), (0, "0s"), (0.25, "250ms"), (90, "1m30s")],
)
def test_duration_is_printed_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("64KiB", 65536),
        ("50MB", 52_428_800),
        ("1.5GB", 1_610_612_736),
        ("2k", 2048),
    ],
)
def test_size_is_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1EB", "10 percent"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        pytest.param("127.0.0.1:9100", "127.0.0.1", 9100, id="IPv4"),
        pytest.param("[::1]:9100", "::1", 9100, id="IPv6 in brackets"),
        pytest.param(":9100", "0.0.0.0", 9100, id="no host means all"),
        pytest.param("localhost:0", "localhost", 0, id="port 0 asks for a free one"),
    ],
)
def test_listen_address(text: str, host: str, port: int) -> None:
    address = parse_listen_address(text)
    assert (address.host, address.port) == (host, port)
    assert parse_listen_address(str(address)) == address


@pytest.mark.parametrize("text", ["9100", "::1:9100", "host:", "host:http", "host:70000"])
def test_what_is_no_listen_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("10.0.0.1", False), ("127.example.org", False)],
)  # fmt: skip
def test_loopback_is_told_from_the_rest(host: str, loopback: bool) -> None:
    assert ListenAddress(host, 1).is_loopback is loopback


@pytest.mark.parametrize(
    ("address", "url"),
    [
        (ListenAddress("0.0.0.0", 80), "http://127.0.0.1:80"),
        (ListenAddress("::", 80), "http://[::1]:80"),
        (ListenAddress("10.1.2.3", 80), "http://10.1.2.3:80"),
    ],
)
def test_url_is_one_that_reaches_the_server(address: ListenAddress, url: str) -> None:
    assert address.url == url


@pytest.mark.parametrize(
    ("name", "metric", "label"),
    [("up", True, True), ("a:b", True, False), ("1a", False, False), ("a-b", False, False),
     ("", False, False), ("a\n", False, False)],
)  # fmt: skip
def test_names(name: str, metric: bool, label: bool) -> None:
    assert (is_metric_name(name), is_label_name(name)) == (metric, label)
