from pathlib import Path

from tests.api_fakes import Api


def test_an_alerts_link_leads_to_the_value_of_its_expression(tmp_path: Path) -> None:
    api = Api(tmp_path)
    answer = api.client().get("/graph?g0.expr=up%7Bjob%3D%22a%22%7D&g0.tab=1")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/api/v1/query?query=up%7Bjob%3D%22a%22%7D"


def test_a_link_without_an_expression_says_so(tmp_path: Path) -> None:
    answer = Api(tmp_path).client().get("/graph")
    assert answer.status_code == 400
    assert answer.json is not None
    assert "g0.expr" in answer.json["error"]
