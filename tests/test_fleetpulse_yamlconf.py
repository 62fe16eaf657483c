"""Every fault of a file at once, by file, line and key."""

from pathlib import Path

import pytest
from pydantic import Field, field_validator

from fleetpulse.errors import ConfigError, StartError
from fleetpulse.yamlconf import (
    Duration,
    FilePath,
    Listen,
    Secret,
    Section,
    Size,
    load_model,
    parse_model,
)
from fleetpulse.yamldoc import Document, read_secret


class Job(Section):
    name: str
    interval: Duration = 10.0
    limit: Size = 1024


class Config(Section):
    listen: Listen | None = None
    jobs: list[Job] = []
    by_name: dict[str, Job] = {}
    key_file: FilePath | None = None
    password: Secret | None = None
    count: int = Field(1, ge=1)

    @field_validator("jobs")
    @classmethod
    def _unique(cls, jobs: list[Job]) -> list[Job]:
        if len({job.name for job in jobs}) < len(jobs):
            raise ValueError("two jobs have one name; give each its own")
        return jobs


def faults_of(text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_model(text, Config, file="f.yml", base=Path(), env=env)
    return list(caught.value.faults)


def test_all_faults_come_at_once_and_in_the_order_of_lines() -> None:
    text = "count: 0\njobs:\n  - name: a\n    intervall: 5s\n    interval: 5\n  - interval: soon\n"
    assert faults_of(text) == [
        "f.yml:1: count: should be greater than or equal to 1",
        "f.yml:4: jobs[0].intervall: no such key; did you mean interval? "
        "known here: interval, limit, name",
        "f.yml:5: jobs[0].interval: 5 has no unit; write for example 10s, 5m or 1h30m",
        "f.yml:6: jobs[1].interval: 'soon' is no duration; write for example 10s, 5m, 1h30m or 7d",
        "f.yml:6: jobs[1].name: missing; this key is needed",
    ]


FAULTS = [
    pytest.param("jobs: [", "f.yml:1: not valid YAML", id="no YAML"),
    pytest.param("- a", "f.yml:1: write a mapping", id="a list where a mapping should be"),
    pytest.param("count: 1\ncount: 2", "f.yml:2: count: the key is there twice", id="twice"),
    pytest.param("listen: 9100", "f.yml:1: listen: '9100' is no listen address", id="address"),
    pytest.param("jobs: [{name: a}, {name: a}]", "f.yml:1: jobs: two jobs have one", id="own rule"),
    pytest.param("by_name: {x: {nam: y}}", "did you mean name?", id="key in a mapping's value"),
    pytest.param("jobs: [{name: a, limit: lots}]", "is no size", id="size"),
    pytest.param("jobs: 5", "f.yml:1: jobs: should be a valid list", id="type"),
    pytest.param("zzz: 1", "f.yml:1: zzz: no such key; known here:", id="nothing close"),
]


@pytest.mark.parametrize(("text", "start"), FAULTS)
def test_fault(text: str, start: str) -> None:
    assert any(start in fault for fault in faults_of(text))


def test_an_empty_file_is_all_defaults() -> None:
    assert parse_model("", Config, file="f.yml", base=Path()) == Config()


def test_environment_is_expanded_in_values() -> None:
    text = "jobs: [{name: 'a-${ZONE}-$${x}-$y'}]"
    config = parse_model(text, Config, file="f", base=Path(), env={"ZONE": "eu"})
    assert config.jobs[0].name == "a-eu-${x}-$y"


def test_an_unset_variable_is_a_fault_that_names_it() -> None:
    (fault,) = faults_of("jobs:\n - name: ${NOPE}", env={})
    assert fault.startswith("f.yml:2: jobs[0].name: the environment has no NOPE")


def test_without_an_environment_dollars_stay() -> None:
    config = parse_model("jobs: [{name: '${X}'}]", Config, file="f", base=Path())
    assert config.jobs[0].name == "${X}"


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text("key_file: sub/key")
    assert load_model(tmp_path / "f.yml", Config).key_file == tmp_path / "sub" / "key"


def test_merge_keys_work() -> None:
    text = "jobs:\n  - &base {name: a, interval: 5s}\n  - {<<: *base, name: b}\n"
    config = parse_model(text, Config, file="f", base=Path())
    assert [(job.name, job.interval) for job in config.jobs] == [("a", 5.0), ("b", 5.0)]


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_model(tmp_path / "none.yml", Config)
    (tmp_path / "latin.yml").write_bytes(b"a: b\njobs: [{name: \xe4}]")
    with pytest.raises(ConfigError, match=r"latin.yml:2: not UTF-8"):
        load_model(tmp_path / "latin.yml", Config)


def test_a_secret_shows_nowhere() -> None:
    config = parse_model("password: hunter2", Config, file="f", base=Path())
    assert "hunter2" not in f"{config!r} {config} {config.model_dump_json()}"
    assert "hunter2" not in "".join(faults_of("password: hunter2\ncount: 0"))
    assert read_secret(config.password, None) == "hunter2"


def test_a_secret_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    assert read_secret(None, file) == "one"
    file.write_text("two\n")
    assert read_secret(Secret("inline"), file) == "two"
    with pytest.raises(StartError, match="cannot read the secret"):
        read_secret(None, tmp_path / "missing")


def test_a_document_knows_lines_of_nested_things() -> None:
    document = Document.parse("a:\n  - b: 1\n  - c: 2\n", "x.yml")
    assert document.line(("a", 1, "c")) == 3
    assert document.line(("a", 1, "zzz")) == 3
    assert document.fault(("a", 1), "wrong") == "x.yml:3: a[1]: wrong"
    assert document.data == {"a": [{"b": 1}, {"c": 2}]}


def test_a_date_stays_the_text_that_was_written() -> None:
    assert Document.parse("a: 2026-01-02", "x").data == {"a": "2026-01-02"}


def test_a_bomb_of_aliases_is_not_built() -> None:
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 9))
    with pytest.raises(ConfigError, match="too many"):
        Document.parse(f"l0: &l0 [x]\n{levels}", "x.yml")
