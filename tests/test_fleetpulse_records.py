"""Records from a document: every fault at once, by file, line and key."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleetpulse.errors import ConfigError
from fleetpulse.overrides import changed, complaints, read_value
from fleetpulse.records import (
    key,
    load_record,
    mapping,
    optional,
    path,
    read_record,
    record,
    section,
    several,
)
from fleetpulse.values import (
    ListenAddress,
    duration,
    listen_address,
    one_of,
    size,
    switch,
    text,
    whole,
)
from fleetpulse.yamldoc import Document, Secret, read_secret, secret


@dataclass(frozen=True, slots=True)
class Job:
    name: str = key(text)
    interval: float = key(duration, 10.0, least="1s")
    limit: int = key(size, 1024, most="1MB")


@dataclass(frozen=True, slots=True)
class Inner:
    wait: float = key(duration, 2.0, more_than="0s")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.wait == 7:
            yield "wait", "7 s are never right"


@dataclass(frozen=True, slots=True)
class Config:
    listen: tuple[ListenAddress, ...] = key(
        several(listen_address, or_one=True), (ListenAddress("127.0.0.1", 1),)
    )
    jobs: tuple[Job, ...] = key(several(record(Job)), ())
    labels: dict[str, str] = key(mapping(text), {})
    key_file: Path | None = key(optional(path), None)
    password: Secret | None = key(optional(secret), None)
    level: str = key(one_of("low", "high"), "low")
    count: int = key(whole, 1, least=1)
    loud: bool = key(switch, False)
    skip: re.Pattern[str] | None = key(optional(lambda value: re.compile(str(value))), None)
    inner: Inner = section(Inner)
    most: float = key(duration, 5.0)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.inner.wait > self.most:
            yield "inner.wait", "must not be above most"


def parse(text: str, env: dict[str, str] | None = None) -> Config:
    return read_record(Config, Document.parse(text, "f.yml", env), base=Path("/etc/x"))


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return list(caught.value.faults)


def test_all_faults_come_at_once_and_in_the_order_of_lines() -> None:
    text = (
        "count: 0\njobs:\n  - name: a\n    intervall: 5s\n    interval: 5\n  - interval: soon\n"
        "inner: {wait: 0s, x: 1}\n"
    )
    assert faults_of(text) == [
        "f.yml:1: count: must be at least 1",
        "f.yml:4: jobs[0].intervall: no such key; did you mean interval? "
        "known here: interval, limit, name",
        "f.yml:5: jobs[0].interval: 5 has no unit; write for example 10s, 5m or 1h30m",
        "f.yml:6: jobs[1].interval: 'soon' is no duration; write for example 10s, 5m, 1h30m or 7d",
        "f.yml:6: jobs[1].name: missing; this key is needed",
        "f.yml:7: inner.wait: must be more than 0s",
        "f.yml:7: inner.x: no such key; known here: wait",
    ]


FAULTS = [
    pytest.param("- a", "f.yml:1: write a mapping of keys", id="a list where a mapping should be"),
    pytest.param("inner: 5", "f.yml:1: inner: write a mapping of keys", id="a number for a record"),
    pytest.param("jobs: {a: 1}", "f.yml:1: jobs: write a list", id="a mapping for a list"),
    pytest.param("jobs: x", "f.yml:1: jobs: write a list", id="one value for a list"),
    pytest.param("listen: [a:1, 9]", "f.yml:1: listen[1]: '9' is no listen address", id="an item"),
    pytest.param("listen: 9", "f.yml:1: listen: '9' is no listen address", id="a list's one value"),
    pytest.param("labels: {a: 1}", "f.yml:1: labels.a: 1 is no text", id="a number for a text"),
    pytest.param("count: yes", "f.yml:1: count: True is no whole number", id="true for a number"),
    pytest.param("count: -1", "f.yml:1: count: -1 is no whole number", id="a negative number"),
    pytest.param("loud: 1", "f.yml:1: loud: 1 is neither true nor false", id="no switch"),
    pytest.param("level: mid", "f.yml:1: level: 'mid' is none of low, high", id="no such choice"),
    pytest.param("key_file: ''", "f.yml:1: key_file: write the path", id="an empty path"),
    pytest.param("jobs: [{name: a, limit: 2MB}]", "jobs[0].limit: must be at most 1MB", id="most"),
    pytest.param("inner: {wait: 7s}", "f.yml:1: inner.wait: 7 s are never right", id="own rule"),
    pytest.param(
        "most: 1s\ninner:\n  wait: 2s",
        "f.yml:3: inner.wait: must not be above most",
        id="a rule between a key and one further in",
    ),
    pytest.param(
        "most: 1s", "f.yml:1: inner.wait: must not be above most", id="a rule about a default"
    ),
    pytest.param("{1: 2}", "f.yml:1: [1]: no such key; known", id="a key that is none"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_fault(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert fault in found


def test_a_rule_is_not_asked_where_its_values_could_not_be_read() -> None:
    assert len(faults_of("most: 1\ninner: {wait: 9s}")) == 1


def test_everything_can_be_read() -> None:
    config = parse(
        "listen: [':80', '[::1]:9100']\njobs: [{name: a, limit: 2KB}]\nlabels: {a: b, 1: c}\n"
        "key_file: sub/key\nlevel: high\ncount: 7\nloud: true\nskip: a+\ninner: {wait: 1s}\n"
        "most: 1m"
    )
    assert config == Config(
        listen=(ListenAddress("0.0.0.0", 80), ListenAddress("::1", 9100)),
        jobs=(Job("a", limit=2048),),
        labels={"a": "b", "1": "c"},
        key_file=Path("/etc/x/sub/key"),
        level="high",
        count=7,
        loud=True,
        skip=re.compile("a+"),
        inner=Inner(1.0),
        most=60.0,
    )
    assert parse("listen: ':80'").listen == (ListenAddress("0.0.0.0", 80),)


NOTHING = [
    pytest.param("", id="an empty file"),
    pytest.param("inner:", id="an empty record"),
    pytest.param("key_file:\npassword: null", id="null for what may be missing"),
]


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_written_is_the_default(text: str) -> None:
    assert parse(text) == Config()


def test_a_record_can_stand_anywhere_in_a_document() -> None:
    document = Document.parse("other: [1]\nhere:\n  count: 0\n", "f.yml")
    assert read_record(Config, document, ("there",)) == Config()
    with pytest.raises(ConfigError, match=r"^f.yml:3: here.count: must be at least 1$"):
        read_record(Config, document, ("here",))


def test_a_file_is_read_with_its_environment_and_its_folder(tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text("key_file: key\nlabels: {zone: '${ZONE}'}")
    config = load_record(tmp_path / "f.yml", Config, env={"ZONE": "eu"})
    assert (config.key_file, config.labels) == (tmp_path / "key", {"zone": "eu"})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_record(tmp_path / "none.yml", Config)


def test_a_secret_shows_nowhere() -> None:
    config = parse("password: hunter2")
    assert "hunter2" not in f"{config!r} {config} {config.password}"
    assert read_secret(config.password, None) == "hunter2"
    assert config.password == Secret("hunter2") != Secret("other")
    assert "4711" not in "".join(faults_of("password: 4711"))


def test_labels_of_two_records_are_not_one_mapping() -> None:
    assert Config().labels is not Config().labels


VALUES = [
    pytest.param(("count",), "7", 7, id="a number as text"),
    pytest.param(("inner", "wait"), "250ms", 0.25, id="in a record"),
    pytest.param(("key_file",), "a/b", Path("a/b"), id="a path as it is written"),
]


@pytest.mark.parametrize(("names", "value", "read"), VALUES)
def test_a_single_value_is_read_as_from_a_file(
    names: tuple[str, ...], value: object, read: object
) -> None:
    got = read_value(Config, names, value)
    assert got == read
    config = changed(Config(), names, got)
    for name in names:
        config = getattr(config, name)
    assert config == read


def test_a_single_value_obeys_the_bounds() -> None:
    with pytest.raises(ValueError, match=r"^must be more than 0s$"):
        read_value(Config, ("inner", "wait"), "0s")
    with pytest.raises(ValueError, match=r"^\[1\]: '9' is no listen address"):
        read_value(Config, ("listen",), [":1", "9"])


def test_rules_can_be_asked_again_after_a_change() -> None:
    assert list(complaints(Config())) == []
    wrong = changed(Config(), ("inner", "wait"), 7.0)
    assert list(complaints(wrong)) == [
        ("inner.wait", "7 s are never right"),
        ("inner.wait", "must not be above most"),
    ]
