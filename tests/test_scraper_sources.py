"""Discoveries that ask: when, what stays where no answer comes, and what a reload keeps."""

import logging
from collections.abc import Callable
from functools import partial

import pytest

from fleetpulse.telemetry import new_registry
from scraper.metrics import DiscoveryMetrics
from scraper.sdconfig import DnsSdConfig, TargetGroup
from scraper.sources import Asker, DiscoveryError, SdConfig, Sources
from tests.support import wait_for


class Fake:
    """Answers what says is, group by group of one target, or fails where it is None."""

    mechanism = "dns"

    def __init__(self, subject: str, says: Callable[[], list[str] | None]) -> None:
        self.subject, self._says = subject, says
        self.asked = 0

    def ask(self) -> tuple[TargetGroup, ...]:
        self.asked += 1
        found = self._says()
        if found is None:
            raise DiscoveryError("the server is silent")
        return tuple(TargetGroup(targets=(address,)) for address in found)


class World:
    """Names that answer, a clock, and the sources that ask them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answers: dict[str, list[str] | None] = {}
        self.fakes: list[Fake] = []
        self.registry = new_registry()
        self.sources = Sources(
            self._askers, DiscoveryMetrics(self.registry), clock=lambda: self.now
        )

    def _askers(self, config: SdConfig) -> list[Asker]:
        assert isinstance(config, DnsSdConfig)
        made = [Fake(name, partial(self.answers.__getitem__, name)) for name in config.names]
        self.fakes.extend(made)
        return list(made)

    def turn(self, asked: int) -> bool:
        """Asks what is due, and whether any answer was new once so many were asked in all."""
        self.sources.ask_due()
        wait_for(f"{asked} questions", lambda: self.count("lookups_total") >= asked)
        self.sources.ask_due()
        return bool(wait_for("answers", lambda: self._idle() and "yes")) and self.sources.changed()

    def _idle(self) -> bool:
        return not any(one.busy for _, all_ in self.sources._known for one in all_)

    def count(self, name: str) -> float:
        full = f"fleetpulse_scraper_discovery_{name}"
        return self.registry.get_sample_value(full, {"mechanism": "dns"}) or 0.0

    def targets(self, config: SdConfig) -> list[str]:
        return [one for group in self.sources.groups(config) for one in group.targets]


def config_for(*names: str, **more: object) -> DnsSdConfig:
    return DnsSdConfig.model_validate({"names": names, "type": "A", "port": 1, **more})


def test_an_answer_stays_until_there_is_another(caplog: pytest.LogCaptureFixture) -> None:
    world, config = World(), config_for("a")
    world.answers["a"] = ["a:1", "a:2"]
    world.sources.configure([config])
    assert world.targets(config) == []
    assert world.turn(asked=1)
    assert world.targets(config) == ["a:1", "a:2"]
    world.now = 29.0
    assert not world.turn(asked=1)
    world.now, world.answers["a"] = 31.0, None
    assert not world.turn(asked=2)
    assert world.targets(config) == ["a:1", "a:2"]
    assert (world.sources.broken, world.count("failures_total")) == (1, 1)
    assert "no targets from a, the last 2 are kept: the server is silent" in caplog.text
    world.now = 62.0
    with caplog.at_level(logging.INFO):
        world.answers["a"] = []
        assert world.turn(asked=3)
    assert world.targets(config) == []
    assert world.sources.broken == 0
    assert "works again" in caplog.text
    world.sources.close()


def test_names_answer_and_fail_by_themselves() -> None:
    world, config = World(), config_for("a", "b")
    world.answers |= {"a": ["a:1"], "b": ["b:1"]}
    world.sources.configure([config])
    world.turn(asked=2)
    world.now = 31.0
    world.answers |= {"a": None, "b": ["b:2"]}
    assert world.turn(asked=4)
    assert world.targets(config) == ["a:1", "b:2"]
    world.sources.close()


def test_jobs_that_ask_the_same_share_the_answer_and_a_reload_keeps_it() -> None:
    world, config, other = World(), config_for("a"), config_for("b")
    world.answers |= {"a": ["a:1"], "b": ["b:1"]}
    world.sources.configure([config, config_for("a"), other])
    world.turn(asked=2)
    world.sources.configure([config_for("a")])
    assert world.targets(config) == ["a:1"]
    assert world.targets(other) == []
    assert not world.turn(asked=2)
    # Asked otherwise, it begins with what was known, and is asked anew.
    slower = config_for("a", refresh_interval="1h")
    world.sources.configure([slower])
    assert world.targets(slower) == ["a:1"]
    assert not world.turn(asked=3)
    world.sources.close()


def test_a_fault_in_the_asker_is_told_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, config = World(), config_for("a", "b")
    world.answers["b"] = ["b:1"]  # and a is a KeyError
    world.sources.configure([config])
    world.turn(asked=2)
    assert world.targets(config) == ["b:1"]
    assert world.sources.broken == 1
    assert "asking a failed" in caplog.text
    world.sources.close()
