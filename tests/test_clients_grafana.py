"""The calls of Grafana's Prometheus data source, as a table, put to a running API."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.api_fakes import bearer
from tests.peer_programs import FleetPulse, ask
from tests.remote_write_fakes import PATH, V1, metadata, pairs, request, series, snap
from tests.support import wait_for

pytestmark = pytest.mark.integration

_TABLE = Path(__file__).parent / "data" / "grafana_calls.yml"
_CALLS: list[dict[str, Any]] = yaml.safe_load(_TABLE.read_text())
_RULES = {
    "groups": [
        {
            "name": "demo",
            "rules": [
                {"record": "job:demo_level:sum", "expr": "sum by (job) (demo_level)"},
                {
                    "alert": "LevelHigh",
                    "expr": "demo_level > 5",
                    "labels": {"severity": "critical"},
                    "annotations": {"summary": "high"},
                },
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an API with some minutes of samples, and rules that have been evaluated."""
    folder = tmp_path_factory.mktemp("grafana")
    (folder / "rules.yml").write_text(yaml.safe_dump(_RULES))
    sections = {"rules": {"rule_files": ["rules.yml"]}}
    with FleetPulse(folder, **sections) as ours:
        key = ours.key("push")
        ours.start("api")
        answer = requests.post(
            f"{ours.url()}{PATH}", snap(_samples()), headers={**V1, **bearer(key)}
        )
        assert answer.status_code == 204, answer.text
        ours.start("rules")
        wait_for("an alert", lambda: ask(ours.url("rules"), "alerts")["alerts"])
        yield ours.url()


def _samples() -> bytes:
    now = round(time.time() * 1000)
    times = [now - 15_000 * turn for turn in range(40, -1, -1)]
    counted = [(at, float(turn)) for turn, at in enumerate(times)]
    rows = [
        *(
            series(pairs("demo_level", job="demo", instance=instance), *((at, 7.0) for at in times))
            for instance in ("h1", "h2")
        ),
        *(
            series(pairs("demo_requests_total", job="demo", instance="h1", path=path), *counted)
            for path in ("/a", "/b")
        ),
        *(
            series(pairs("demo_seconds_bucket", job="demo", instance="h1", le=le), *counted)
            for le in ("0.1", "+Inf")
        ),
        series([*pairs("demo_utf8", job="demo"), ("http.status", "200")], *counted),
    ]
    told = [metadata(1, "demo_requests_total", "Requests."), metadata(2, "demo_level", "Level.")]
    return request(*rows, metadata=told)


@pytest.mark.parametrize("call", [pytest.param(one, id=one["name"]) for one in _CALLS])
def test_call(api: str, call: dict[str, Any]) -> None:
    now = time.time()
    times = {"FROM": f"{now - 600:.3f}", "TO": f"{now:.3f}", "NOW": f"{now:.3f}"}
    answer = requests.request(
        call["method"],
        api + call["path"],
        params=_filled(call.get("query", {}), times),
        data=_filled(call["form"], times) if "form" in call else None,
        headers={"User-Agent": "Grafana/12.0.0", **call.get("headers", {})},
        timeout=30,
    )
    if call.get("pending") and answer.status_code in (404, 405):
        pytest.skip("this version of the API has no such route")
    assert answer.status_code == call.get("status", 200), answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    body = answer.json()
    if "error" in call:
        assert body["status"] == "error"
        _check(call["error"], body, "")
    else:
        assert body["status"] == "success"
        _check(call["data"], body["data"], "data")


def _filled(params: Mapping[str, Any], times: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: times.get(value, value) if isinstance(value, str) else value
        for name, value in params.items()
    }


_KINDS: dict[str, Any] = {"text": str, "number": (int, float), "bool": bool, "any": object}


def _check(shape: Any, found: Any, place: str) -> None:
    """AssertionError, with the place, where found is not of the shape that the table tells."""
    if isinstance(shape, dict):
        assert isinstance(found, dict), f"{place}: {found!r} is no object"
        _check_object(shape, found, place)
    elif isinstance(shape, list):
        assert isinstance(found, list), f"{place}: {found!r} is no list"
        _check_list(shape, found, place)
    elif shape.startswith("="):
        assert found == shape[1:], f"{place}: {found!r} instead of {shape[1:]!r}"
    elif shape == "numeral":
        assert isinstance(found, str), f"{place}: {found!r} is no text"
        float(found)
    else:
        assert isinstance(found, _KINDS[shape]), f"{place}: {found!r} is no {shape}"


def _check_object(shape: Mapping[str, Any], found: Mapping[str, Any], place: str) -> None:
    named = {name.rstrip("?"): name for name in shape if name != "*"}
    for plain, name in named.items():
        if plain in found:
            _check(shape[name], found[plain], f"{place}.{plain}")
        else:
            assert name.endswith("?"), f"{place}: no {plain} in {found!r}"
    for name, value in found.items():
        if "*" in shape and name not in named:
            _check(shape["*"], value, f"{place}.{name}")


def _check_list(shape: list[Any], found: list[Any], place: str) -> None:
    if len(shape) == 2 and shape[1] != "...":  # a pair
        assert len(found) == 2, f"{place}: {found!r} is no pair"
        pairs = list(zip(shape, found, strict=True))
    else:
        assert found or len(shape) < 2, f"{place}: is empty"
        assert shape or not found, f"{place}: {found!r} is not empty"
        pairs = [(shape[0], one) for one in found]
    for number, (inner, one) in enumerate(pairs):
        _check(inner, one, f"{place}[{number}]")
