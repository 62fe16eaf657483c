"""Pages of other origins, and answers in gzip."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from api.config import ApiConfig
from tests.api_fakes import Api, labels, series

DASH = "https://dash.example"

ORIGINS = [
    pytest.param({}, DASH, False, id="none by default"),
    pytest.param({"cors_origins": [DASH]}, DASH, True, id="one that is listed"),
    pytest.param({"cors_origin_regex": r"https?://(dash|x)\.example"}, DASH, True, id="a pattern"),
    pytest.param({"cors_origin_regex": r"https://dash"}, DASH, False, id="over the whole origin"),
    pytest.param({"cors_origin_regex": ".*"}, "null", True, id="all, where that is asked for"),
]


@pytest.mark.parametrize(("settings", "origin", "allowed"), ORIGINS)
def test_pages_of_other_origins(
    tmp_path: Path, settings: dict[str, Any], origin: str, allowed: bool
) -> None:
    asking = Api(tmp_path, **settings).client()
    answer = asking.get("/api/v1/labels", headers={"Origin": origin})
    assert (answer.status_code == 200) is allowed
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert ("Origin" in answer.headers.get("Vary", "")) is allowed
    first = asking.options(
        "/federate", headers={"Origin": origin, "Access-Control-Request-Method": "GET"}
    )
    assert (first.status_code == 204) is allowed
    assert ("Authorization" in first.headers.get("Access-Control-Allow-Headers", "")) is allowed


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(ValidationError, match="no regular expression"):
        ApiConfig.model_validate({"cors_origin_regex": "("})


CODINGS = [
    pytest.param("gzip", True, id="gzip"),
    pytest.param("gzip, deflate, br", True, id="among others"),
    pytest.param("*", True, id="anything"),
    pytest.param("gzip;q=0", False, id="anything but"),
    pytest.param("", False, id="nothing said"),
]


@pytest.mark.parametrize(("accepted", "packed"), CODINGS)
def test_answers_in_gzip(tmp_path: Path, accepted: str, packed: bool) -> None:
    api = Api(tmp_path)
    api.reader.held = [series(labels("up", host=str(number)), (0, 1.0)) for number in range(100)]
    headers = {"Accept-Encoding": accepted} if accepted else {}
    answer = api.client().get("/api/v1/series?match[]=up", headers=headers)
    assert (answer.headers.get("Content-Encoding") == "gzip") is packed
    assert "Accept-Encoding" in answer.headers["Vary"]
    body = gzip.decompress(answer.data) if packed else answer.data
    assert len(body) > 2000
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert body == api.client().get("/api/v1/series?match[]=up").data


def test_a_line_of_another_application_stays_as_it_is(tmp_path: Path) -> None:
    answer = Api(tmp_path).client().get("/-/ready", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.text == "reads need no key\n"


def test_short_answers_stay_as_they_are(tmp_path: Path) -> None:
    answer = Api(tmp_path).client().get("/api/v1/labels", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.json == {"status": "success", "data": []}


def test_a_page_that_is_packed_already_is_not_packed_again(tmp_path: Path) -> None:
    answer = Api(tmp_path).client().get("/metrics", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(answer.data).startswith(b"# HELP")
