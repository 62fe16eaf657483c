"""match[] of all endpoints: each is looked up once, and not without bound."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetpulse.storage.base import MatcherSets
from tests.api_fakes import NOW_MS, Api, labels, series

ENDPOINTS = ["/api/v1/series", "/api/v1/labels"]


def _asked(api: Api, path: str, selectors: Sequence[str]) -> tuple[int, str]:
    answer = api.client().post(path, data={"match[]": list(selectors)})
    return answer.status_code, answer.get_data(as_text=True)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_more_than_a_thousand_are_refused(tmp_path: Path, path: str) -> None:
    code, text = _asked(Api(tmp_path), path, [f"a{number}" for number in range(1001)])
    assert code == 400
    assert "1,001 match[]; at most 1,000 are taken" in text


def test_one_that_comes_again_is_looked_up_once(tmp_path: Path) -> None:
    api = Api(tmp_path)
    asked: list[MatcherSets] = []

    class Counting(type(api.reader)):  # type: ignore[misc]
        def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> object:
            asked.append(sets)
            return super().series(sets, start_ms, end_ms)

    api.reader = Counting()
    api.reader.held = [series(labels("up"), (NOW_MS, 1.0))]
    code, text = _asked(api, "/api/v1/series", ["up"] * 5000)
    assert (code, len(asked[0])) == (200, 1), text


def test_federation_tells_it_in_text(tmp_path: Path) -> None:
    asked = {"match[]": [f"a{number}" for number in range(1001)]}
    answer = Api(tmp_path).client().get("/federate", query_string=asked)
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")
