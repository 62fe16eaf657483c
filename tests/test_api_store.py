"""The API over the embedded store and the real engine: what was pushed can be asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.config import ApiConfig
from api.keys import KeyStore
from fleetpulse.promql.engine import Engine
from fleetpulse.storage.embedded import EmbeddedStore
from tests.api_fakes import NOW, bearer

PAGE = """# HELP node_load1 1m load average.
# TYPE node_load1 gauge
node_load1 {load}
node_cpu_seconds_total{{cpu="0",mode="idle"}} {idle}
node_cpu_seconds_total{{cpu="0",mode="user"}} {user}
node_uname_info{{nodename="host-a",release="6.1.0",machine="x86_64"}} 1
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    """web1 has pushed a page every ten seconds for five minutes: 25 % busy."""
    store = EmbeddedStore(tmp_path / "store.db")
    keys = KeyStore(tmp_path / "keys.json", now=lambda: NOW)
    config = ApiConfig.model_validate(
        {"push": {"servers": [{"name": "web1"}, {"name": "web2"}]}, "rate_limit": "unlimited"}
    )
    app = create_app(
        config, Engine(store), store, store, keys, CollectorRegistry(), now=lambda: NOW
    )
    client = app.test_client()
    _, key = keys.create("push", "web1")
    for turn in range(31):
        at = NOW - 300 + 10 * turn
        answer = client.post(
            f"/api/v1/metrics?server=web1&batch_id={turn}&timestamp={at}",
            data=PAGE.format(load=turn, idle=7.5 * turn, user=2.5 * turn),
            headers={**bearer(key), "Content-Type": "text/plain"},
        )
        assert answer.json == {"accepted": 4, "rejected": 0, "duplicate": 0}
    yield client
    store.close()


def data(client: FlaskClient, path: str, **parameters: Any) -> Any:
    answer = client.get(f"/api/v1/{path}", query_string=parameters)
    assert answer.status_code == 200, answer.text
    return (answer.json or {})["data"]


def test_what_was_pushed_is_there_to_query(client: FlaskClient) -> None:
    (one,) = data(client, "query", query='node_load1{job="push"} + 1')["result"]
    assert one == {"metric": {"instance": "web1", "job": "push"}, "value": [NOW, "31"]}
    found = data(client, "query_range", query="up", start=NOW - 20, end=NOW, step=10)
    assert found["result"][0]["values"] == [[NOW - 20, "1"], [NOW - 10, "1"], [NOW, "1"]]


def test_the_catalog_knows_it(client: FlaskClient) -> None:
    assert data(client, "label/mode/values") == ["idle", "user"]
    assert data(client, "label/instance/values", **{"match[]": "node_load1"}) == ["web1"]
    assert "nodename" in data(client, "labels")
    assert data(client, "metadata") == {
        "node_load1": [{"type": "gauge", "help": "1m load average.", "unit": ""}]
    }


def test_a_named_query_reckons_with_it(client: FlaskClient) -> None:
    found = data(client, "metrics", metric="cpu_usage", server="web1", aggregate="max", step="1m")
    (one,) = found["series"]
    assert one["server"] == "web1"
    assert one["values"][-1] == [NOW, pytest.approx(25.0)]
    assert data(client, "metrics", metric="cpu_usage", server="web2")["series"] == []


def test_the_server_is_listed_with_its_facts(client: FlaskClient) -> None:
    one, two = data(client, "servers")
    assert (one["name"], one["state"], one["last_seen"]) == ("web1", "up", NOW)
    assert (one["hostname"], one["kernel"], one["cpus"]) == ("host-a", "6.1.0", 1)
    assert (two["name"], two["state"]) == ("web2", "never seen")


def test_a_fault_in_a_query_is_told(client: FlaskClient) -> None:
    answer = client.get("/api/v1/query?query=sum(")
    assert answer.status_code == 400
    assert (answer.json or {})["errorType"] == "bad_data"
