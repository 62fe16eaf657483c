"""docs/api.md: every example answers as the page says, and every route is in it."""

import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.config import ApiConfig
from api.keys import KeyStore
from fleetpulse.model import Metadata
from fleetpulse.promql.engine import Engine
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.telemetry import TelemetryServer, new_registry
from fleetpulse.values import ListenAddress
from fleetpulse_cli.aboutapi import about
from fleetpulse_cli.importer import import_file
from fleetpulse_cli.sections import whole_file
from rules import web as rules_web
from rules.files import load_groups
from scraper import status as scraper_status
from scraper.buffer import PageBuffer
from scraper.lines import Readers
from scraper.maker import PageMaker, Scraped
from scraper.metrics import BufferMetrics, ScrapeMetrics
from scraper.page import Outcome, TargetPages
from scraper.targets import TargetSet
from tests.docs_curl import Curl, Example, examples
from tests.rules_fakes import Bench
from tests.scraper_fakes import MemoryWriter, guards_of, job_of, target_of
from tests.support import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()
NOW = 1_767_366_000.0  # the time of the examples: 2026-01-02 15:00:00 UTC
FREE = ListenAddress("127.0.0.1", 0)
_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_HELP = re.compile(r"^# HELP (\S+) (.*)$", re.MULTILINE)
# METHODS /path, as headings and sentences of the page name a route.
_ROUTE = re.compile(r"`((?:GET|POST|PUT)(?:, (?:GET|POST|PUT))*) (/[^`? ]*)`")


def block(kind: str) -> str:
    """The page's block of a kind."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def served(routes: Any) -> Iterator[ListenAddress]:
    server = TelemetryServer("a role", FREE, routes)
    server.start()
    try:
        yield server.address
    finally:
        server.stop()


def stock(store: EmbeddedStore, folder: Path) -> None:
    """The page's samples, with what it says of their metrics."""
    text = block("openmetrics")
    (folder / "page.txt").write_text(text)
    import_file(folder / "page.txt", store, quiet=True)
    helps = dict(_HELP.findall(text))
    store.describe({name: Metadata(kind, helps[name]) for name, kind in _TYPE.findall(text)})


def rule_pages(store: EmbeddedStore, folder: Path) -> Any:
    """What a rule runner tells that has evaluated the page's rule file once."""
    (folder / "rules.yml").write_text(block("rules"))
    ticks = count()
    bench = Bench(Engine(store), clock=lambda: next(ticks) / 2048)
    found = load_groups([folder / "rules.yml"], 10.0)
    specs = [dataclasses.replace(spec, file="/etc/fleetpulse/rules.yml") for spec in found]
    groups = [bench.group(spec) for spec in specs]
    for group in groups:
        group.evaluate(NOW)
    return rules_web.routes(lambda: groups, lambda: ["http://127.0.0.1:9093"])


def scraper_pages() -> Any:
    """What a scraper tells of a target that answers and one that does not."""
    registry = new_registry()
    buffer = PageBuffer(MemoryWriter(), BufferMetrics(registry))
    maker = PageMaker(buffer, ScrapeMetrics(registry), guards_of())
    body = b"# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 1\n"
    refused = "connection refused"
    outcomes = {
        "web-1:9100": Outcome(round(NOW * 1000) - 4000, 0.0125, body),
        "web-2:9100": Outcome(round(NOW * 1000) - 3000, 0.5, reason="connect", error=refused),
    }
    scraped = []
    maker.start()
    for address, outcome in outcomes.items():
        target = target_of(job_of(), address)
        scraped.append(Scraped(target, TargetPages(target, Readers(), guards_of())))
        maker.make([(scraped[-1], outcome)])
    maker.stop()
    return scraper_status.routes(lambda: scraped, TargetSet, lambda: ["node"], 0.1, lambda: NOW)


@pytest.fixture
def curl(tmp_path: Path) -> Iterator[Curl]:
    with ExitStack() as stack:
        store = EmbeddedStore(tmp_path / "store.db", now=lambda: NOW)
        stack.callback(store.close)
        stock(store, tmp_path)
        rules = stack.enter_context(served(rule_pages(store, tmp_path)))
        scraper = stack.enter_context(served(scraper_pages()))
        keys = KeyStore(tmp_path / "keys.json", now=lambda: NOW)
        _, key = keys.create("push", "web-1")
        app = create_app(
            config(rules, scraper), Engine(store), store, store, keys, CollectorRegistry(),
            now=lambda: NOW, about=about_examples(),
        )  # fmt: skip
        yield Curl(app.test_client(), {"push.key": key})


def config(rules: ListenAddress, scraper: ListenAddress) -> ApiConfig:
    return ApiConfig.model_validate(
        {
            "rules": [rules],
            "scrapers": [scraper],
            "push": {"servers": [{"name": "web-1"}]},
            "rate_limit": "unlimited",
        }
    )


def about_examples() -> Any:
    """Of a server with no configuration file."""
    settings = whole_file(None, now=lambda: NOW - 3600)
    found = about(
        settings, Path("/var/lib/fleetpulse"), CollectorRegistry(), 30 * 86400, NOW - 3600
    )
    return dataclasses.replace(found, external_labels={"site": "berlin"})


def fits(printed: str, got: str) -> bool:
    """Whether an answer is what the page prints; … stands for anything there."""
    try:
        wanted, answer = json.loads(printed), json.loads(got)
    except ValueError:
        parts = map(re.escape, printed.strip().split("…"))
        return re.fullmatch(".*".join(parts), got.strip(), re.DOTALL) is not None
    return _same(wanted, answer)


def _same(wanted: Any, got: Any) -> bool:
    if wanted == "…":
        return True
    if isinstance(wanted, dict) and isinstance(got, dict):
        names = wanted.keys() - {"…"}
        known = names == got.keys() or ("…" in wanted and names <= got.keys())
        return known and all(_same(wanted[name], got[name]) for name in names)
    if isinstance(wanted, list) and isinstance(got, list):
        same = len(wanted) == len(got)
        return same and all(_same(*pair) for pair in zip(wanted, got, strict=True))
    return bool(wanted == got)


@pytest.mark.integration
def test_every_example_answers_as_the_page_says(curl: Curl) -> None:
    found = list(examples(PAGE))
    wrong = [told for example in found if (told := _difference(curl, example))]
    assert not wrong, "\n\n".join(wrong)
    assert len(found) > 30


def _difference(curl: Curl, example: Example) -> str:
    got = curl.run(example.command)
    if fits(example.printed, got):
        return ""
    return f"docs/api.md:{example.line}: {example.command}\nanswers {got}"


def application() -> Flask:
    store: Any = None
    keys = KeyStore(Path("none"))
    return create_app(ApiConfig(), store, store, store, keys, CollectorRegistry())


def test_the_page_has_every_route_and_no_other() -> None:
    routes = {
        (method, re.sub(r"<(?:path:)?(\w+)>", r"<\1>", rule.rule))
        for rule in application().url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    named = {
        (method, path)
        for methods, path in _ROUTE.findall(PAGE.partition("## The other roles")[0])
        for method in methods.split(", ")
    }
    assert named == routes


FITTING = [
    pytest.param('{"a": 1}', '{"a":1}', True, id="space does not count"),
    pytest.param('{"a": 1}', '{"a": 2}', False, id="another value"),
    pytest.param('{"a": "…"}', '{"a": 2}', True, id="anything"),
    pytest.param('{"a": 1}', '{"a": 1, "b": 2}', False, id="a member too many"),
    pytest.param('{"a": 1, "…": 0}', '{"a": 1, "b": 2}', True, id="further members"),
    pytest.param("[1, 2]", "[1]", False, id="an item too few"),
    pytest.param("up 1\n", "up 1", True, id="text"),
    pytest.param("up …", "down 1", False, id="another text"),
]


@pytest.mark.parametrize(("printed", "got", "expected"), FITTING)
def test_how_an_answer_is_compared(printed: str, got: str, expected: bool) -> None:
    assert fits(printed, got) is expected


def test_how_examples_are_found() -> None:
    page = "# A\n```console\n$ curl a -d '{\n 1}'\n{}\n$ curl b \\\n  c\n```\n"
    assert list(examples(page)) == [
        Example("curl a -d '{\n 1}'", "{}\n", 3),
        Example("curl b \\\n  c", "", 6),
    ]
