"""`fleetpulse targets`: what it shows of the API's answer."""

import io
import json
from typing import Any

import pytest

from fleetpulse_cli.main import main
from fleetpulse_cli.targets import show
from tests.support import free_port

NOW = 1_700_000_000.0


def target(health: str, **more: Any) -> dict[str, Any]:
    return {
        "labels": {"instance": "web-1:9100"},
        "scrapePool": "node",
        "scrapeUrl": "http://web-1:9100/metrics",
        "lastError": "",
        "lastScrape": "2023-11-14T22:13:17.5Z",
        "lastScrapeDuration": 0.0123,
        "health": health,
        "nextScrape": "2023-11-14T22:13:27.500Z",
        **more,
    }


NEVER = {"lastScrape": "0001-01-01T00:00:00Z", "lastScrapeDuration": 0.0}
BODY = {
    "data": {
        "activeTargets": [
            target("up"),
            target("down", lastError="timed out \x1b[31m"),
            target("unknown", **NEVER),
        ]
    }
}


def table(state: str | None = None) -> list[list[str]]:
    out = io.StringIO()
    show(BODY, "table", state, out, now=lambda: NOW)
    return [line.split() for line in out.getvalue().splitlines()]


def test_a_target_is_a_line() -> None:
    head, up, down, unknown = table()
    assert head == ["job", "instance", "state", "last", "scrape", "duration", "next", "error"]
    assert up == ["node", "web-1:9100", "up", "2.5s", "ago", "12ms", "in", "7.5s"]
    assert down[-3:] == ["timed", "out", "\\x1b[31m"]
    assert unknown == ["node", "web-1:9100", "unknown", "never", "in", "7.5s"]


def test_targets_of_one_state_and_as_json() -> None:
    assert [row[2] for row in table("down")[1:]] == ["down"]
    out = io.StringIO()
    show(BODY, "json", "up", out)
    assert [one["health"] for one in json.loads(out.getvalue())] == ["up"]


def test_no_api_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--url", f"http://127.0.0.1:{free_port()}"]) == 2
    assert "no API at" in capsys.readouterr().err
