"""A thousand targets that fail together fill no log."""

import logging

import pytest

from scraper.news import TargetNews


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def outage(news: TargetNews, targets: int, kind: str = "connect") -> None:
    for target in range(targets):
        news.tell(logging.WARNING, "scrapes failed", kind, f"scrape of {target} failed")


def test_few_failures_are_told_each_and_nothing_more(told: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    news = TargetNews(clock)
    outage(news, 3)
    clock.now = 60.0
    news.settle()
    assert told.messages == [f"scrape of {target} failed" for target in range(3)]


def test_an_outage_of_many_is_told_by_some_and_a_sum(told: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    news = TargetNews(clock)
    outage(news, 1000)
    outage(news, 20, "timeout")
    clock.now = 59.9
    news.settle()
    assert len(told.messages) == 20
    clock.now = 60.0
    news.settle()
    assert told.messages[20:] == [
        "scrapes failed: 1,000 more within a minute (connect 980, timeout 20);"
        " `fleetpulse targets` has each"
    ]


def test_one_topic_takes_nothing_from_another(told: pytest.LogCaptureFixture) -> None:
    news = TargetNews(Clock())
    outage(news, 100)
    news.tell(logging.INFO, "scrapes work again", "", "scrape of a works again")
    assert told.messages[-1] == "scrape of a works again"


def test_each_minute_begins_anew(told: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    news = TargetNews(clock)
    outage(news, 20)
    clock.now = 60.0
    news.settle()
    outage(news, 1)
    assert len(told.messages) == 21
