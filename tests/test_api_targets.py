"""GET /api/v1/targets: the scrapers' answers, put together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from api.respond import map_errors
from api.scrapers import NoAnswerError, ask_targets, gather
from api.targets import blueprint
from fleetpulse.telemetry import new_registry
from fleetpulse.values import ListenAddress
from scraper.app import ScraperApp
from tests.api_fakes import Api
from tests.scraper_fakes import MemoryWriter, Targets, config_of
from tests.support import free_port, wait_for

ONE, OTHER = ListenAddress("127.0.0.1", 1), ListenAddress("127.0.0.1", 2)
CONFIG = """
listen: 127.0.0.1:0
scrape_interval: 500ms
scrape_timeout: 500ms
scrape_configs: [{job_name: j, static_configs: [{targets: ["%s"]}]}]
"""
DROPPED = {"discoveredLabels": {"__address__": "c:1"}, "scrapePool": "j"}


def answer(*urls: str) -> dict[str, Any]:
    return {
        "activeTargets": [{"scrapePool": "j", "scrapeUrl": url} for url in urls],
        "droppedTargets": [DROPPED],
        "droppedTargetCounts": {"j": 1},
    }


class Scrapers:
    """Shards by address; one that is not there does not answer."""

    def __init__(self, **shards: dict[str, Any]) -> None:
        self.shards, self.asked = shards, list[Mapping[str, str]]()

    def __call__(self, address: ListenAddress, query: Mapping[str, str]) -> Mapping[str, Any]:
        self.asked.append(query)
        if f"p{address.port}" not in self.shards:
            raise NoAnswerError(f"no answer from the scraper at {address}")
        return self.shards[f"p{address.port}"]


def test_shards_are_put_together_and_what_all_drop_is_there_once() -> None:
    scrapers = Scrapers(p1=answer("http://b"), p2=answer("http://a"))
    found = gather([ONE, OTHER], {}, scrapers)
    assert [one["scrapeUrl"] for one in found.data["activeTargets"]] == ["http://a", "http://b"]
    assert found.data["droppedTargets"] == [DROPPED]
    assert found.data["droppedTargetCounts"] == {"j": 1}


def client(scrapers: Scrapers) -> Any:
    app = Flask("test")
    map_errors(app)
    app.register_blueprint(blueprint([ONE, OTHER], scrapers), url_prefix="/api/v1")
    return app.test_client()


def test_a_shard_that_does_not_answer_is_a_warning_and_none_at_all_an_error() -> None:
    some = client(Scrapers(p1=answer("http://b"))).get("/api/v1/targets").json
    assert len(some["data"]["activeTargets"]) == 1
    assert some["warnings"] == ["no answer from the scraper at 127.0.0.1:2"]
    none = client(Scrapers()).get("/api/v1/targets")
    assert (none.status_code, none.json["errorType"]) == (503, "unavailable")


def test_filters_are_handed_on_and_nothing_else() -> None:
    scrapers = Scrapers(p1=answer(), p2=answer())
    client(scrapers).get("/api/v1/targets?state=active&scrapePool=a%26b&x=y&state=")
    assert scrapers.asked == [{"state": "active", "scrapePool": "a&b"}] * 2


@pytest.mark.integration
def test_the_api_asks_a_real_scraper(tmp_path: Path) -> None:
    with Targets() as targets:
        config = config_of(CONFIG % targets.address)
        scraper = ScraperApp(config, MemoryWriter(), new_registry(), tick=0.02)
        scraper.start()
        try:
            api = Api(tmp_path, scrapers=[str(scraper.address)])

            def up() -> Any:
                body = api.client().get("/api/v1/targets?state=active&scrapePool=j").json or {}
                found = body["data"]["activeTargets"]
                return found[0] if found and found[0]["health"] == "up" else None

            target = wait_for("the target to be up", up)
            assert target["labels"] == {"job": "j", "instance": targets.address}
            assert target["nextScrape"] > target["lastScrape"]
            empty = api.client().get("/api/v1/targets?state=dropped").json or {}
            assert empty["data"]["activeTargets"] == []
        finally:
            scraper.stop()


@pytest.mark.integration
def test_what_is_no_scraper_is_no_answer() -> None:
    with Targets() as targets:
        targets.served["/api/v1/targets?"] = (b"{}", "application/json")
        host, _, port = targets.address.partition(":")
        with pytest.raises(NoAnswerError, match="no scraper of FleetPulse"):
            ask_targets(ListenAddress(host, int(port)), {})
    with pytest.raises(NoAnswerError, match="no answer"):
        ask_targets(ListenAddress("127.0.0.1", free_port()), {})


@pytest.mark.integration
def test_metadata_and_pools_of_several_scrapers(tmp_path: Path) -> None:
    with Targets() as targets:
        config = config_of(CONFIG % targets.address)
        scrapers = [ScraperApp(config, MemoryWriter(), new_registry(), tick=0.02) for _ in range(2)]
        for scraper in scrapers:
            scraper.start()
        try:
            gone = f"127.0.0.1:{free_port()}"
            addresses = [*(str(scraper.address) for scraper in scrapers), gone]
            asking = Api(tmp_path, scrapers=addresses).client()

            def told(query: str = "") -> Any:
                body: Any = asking.get(f"/api/v1/targets/metadata?{query}").json
                assert len(body["warnings"]) == 1
                return body["data"]

            wait_for("both pages", lambda: len(told("metric=one")) == 2)
            assert len(told("metric=one&limit=1")) == 1
            assert told('match_target={job="none"}') == []
            pools: Any = asking.get("/api/v1/scrape_pools").json
            assert pools["data"] == {"scrapePools": ["j"]}
            refused: Any = asking.get("/api/v1/targets/metadata?match_target=x{")
            assert refused.status_code == 400
            assert refused.json["error"].startswith('invalid parameter "match_target": 1:3')
        finally:
            for scraper in scrapers:
                scraper.stop()
    none = Api(tmp_path, scrapers=[gone]).client()
    assert none.get("/api/v1/targets/metadata").status_code == 503
    assert none.get("/api/v1/scrape_pools").status_code == 503
