from pathlib import Path

import pytest

from api.config import ApiConfig
from fleetpulse.errors import ConfigError
from fleetpulse.yamlconf import parse_model


def parse(text: str) -> ApiConfig:
    return parse_model(text, ApiConfig, file="f.yml", base=Path())


def test_nothing_is_needed() -> None:
    config = parse("")
    assert (str(config.listen), config.rate_limit) == ("127.0.0.1:8080", "10/second")
    assert config.push.servers == ()
    assert not config.needs_keys


RATES = [
    ("20", "20/second"),
    ("10/second", "10/second"),
    ("100/10 seconds", "100/10 seconds"),
    ("600 per minute", "600 per minute"),
    ("0", "unlimited"),
    ("unlimited", "unlimited"),
]


@pytest.mark.parametrize(("text", "rate"), RATES)
def test_rates(text: str, rate: str) -> None:
    assert parse(f"rate_limit: {text}").rate_limit == rate


FAULTS = [
    pytest.param("rate_limit: often", r"f\.yml:1: rate_limit: .*10/second", id="a rate"),
    pytest.param("rate_limit: -5", r"f\.yml:1: rate_limit", id="a negative rate"),
    pytest.param("listen: nowhere", r"f\.yml:1: listen: .*HOST:PORT", id="an address"),
    pytest.param("push:\n  servers:\n  - name: ''", r"f\.yml:3: push", id="a nameless server"),
    pytest.param(
        "push:\n  servers:\n  - name: a\n  - name: a", r"servers: a: listed twice", id="twice"
    ),
    pytest.param(
        "push: {servers: [{name: a, labels: {instance: b}}]}", "server's name", id="instance"
    ),
    pytest.param("push: {servers: [{name: a, labels: {1-x: b}}]}", "no label name", id="label"),
    pytest.param("cors_origins: ['*']", "is no origin", id="all origins"),
    pytest.param("cors_origins: ['https://a/b']", "is no origin", id="an origin with a path"),
    pytest.param("query: {timeout: 60}", "has no unit", id="a time without a unit"),
    pytest.param("trheads: 5", "did you mean threads", id="a key that there is not"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_say_where_and_what_instead(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text)
