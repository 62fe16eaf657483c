"""Reloads while the page is asked for: nobody gets half a page, and nothing piles up."""

import gc
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from exporter.app import ExporterApp
from exporter.config import ExporterConfig
from exporter.families import Found, gauge
from exporter.page import TEXT
from exporter.pages import Pages, with_current
from exporter.registry import ClosedError, Registry
from fleetpulse.values import ListenAddress
from tests.exporter_fakes import FakeCollector
from tests.support import wait_for

VALUE = gauge("node_value", "h")


class Closable(FakeCollector):
    closed = False

    def close(self) -> None:
        self.closed = True


def registry(work: Callable[[], Iterable[Found]] = tuple) -> tuple[Registry, Closable]:
    collector = Closable("x", work)
    return Registry([collector], 30.0), collector


@pytest.mark.parametrize("at_once", [False, True])
def test_who_gathers_keeps_the_collectors_unless_all_ends(at_once: bool) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> Iterable[Found]:
        begun.set()
        assert go_on.wait(30)
        return [(VALUE, 1)]

    busy, collector = registry(work)
    thread = threading.Thread(target=busy.gather)
    thread.start()
    assert begun.wait(30)
    busy.close(at_once=at_once)
    assert collector.closed is at_once
    go_on.set()
    thread.join(30)
    assert collector.closed


def test_nobody_gathers_after_the_end() -> None:
    closed, collector = registry()
    closed.close()
    with pytest.raises(ClosedError):
        closed.gather()
    assert collector.calls == 0


def test_who_comes_too_late_gets_the_page_of_the_next() -> None:
    old, new = (Pages(registry(lambda at=at: [(VALUE, at)])[0], tuple) for at in (1, 2))  # type: ignore[misc]
    old.registry.close()
    in_force = iter([old, new, new])
    page = with_current(lambda: next(in_force), lambda pages: pages.make(TEXT))
    assert "node_value 2\n" in page.decode()
    new.registry.close()


def test_at_the_end_there_is_no_next() -> None:
    pages = Pages(registry()[0], tuple)
    pages.registry.close()
    with pytest.raises(ClosedError):
        with_current(lambda: pages, lambda these: these.make(TEXT))


@pytest.fixture
def no_chance() -> Iterator[None]:
    """Garbage is collected when it is asked for, and never else."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.integration
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux' /proc")
@pytest.mark.usefixtures("no_chance")
def test_a_storm_of_reloads_leaves_no_files_and_no_threads(tmp_path: Path) -> None:
    before = len(lanes())
    app = ExporterApp(config(), tmp_path)
    app.start()
    end = threading.Event()
    pages: list[tuple[int, str]] = []

    def scrape() -> None:
        while not end.is_set():
            response = requests.get(f"{app.addresses[0].url}/metrics", timeout=30)
            pages.append((response.status_code, response.text))

    scrapers = [threading.Thread(target=scrape) for _ in range(3)]
    try:
        requests.get(f"{app.addresses[0].url}/metrics", timeout=30)
        files = len(os.listdir("/proc/self/fd"))
        for scraper in scrapers:
            scraper.start()
        for turn in range(50):
            app.reload(config(collector_timeout=6.0 + turn))
            seen = len(pages)
            wait_for("some pages", lambda seen=seen: len(pages) > seen)  # type: ignore[misc]
        end.set()
        for scraper in scrapers:
            scraper.join(30)
        wait_for("the end of all lanes but one", lambda: len(lanes()) <= before + 1)
        # The last registry's, and a few connections.
        assert len(os.listdir("/proc/self/fd")) < files + 20
    finally:
        end.set()
        app.stop()
    assert {status for status, _ in pages} == {200}
    failed = 'node_scrape_collector_success{collector="filesystem"} 0'
    assert not [text for _, text in pages if failed in text]


def lanes() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "collect-lane"]


def config(**keys: Any) -> ExporterConfig:
    return ExporterConfig(listen=(ListenAddress("127.0.0.1", 0),), **keys)
