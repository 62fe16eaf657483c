"""From configuration and target files to targets, with Prometheus' labels and addresses."""

import json
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.model import Labels
from scraper.discovery import Discovery
from scraper.sdconfig import TargetGroup
from scraper.targetfiles import TargetFiles
from scraper.targets import (
    Target,
    TargetSet,
    build_targets,
    check_target_file,
    discovered_labels,
)
from tests.scraper_fakes import config_of, job_of, no_sources, target_of


def built(*addresses: str, group: dict[str, str] | None = None, **job: Any) -> TargetSet:
    made = job_of(**job)
    return build_targets(
        [made], {"node": [(TargetGroup(targets=addresses, labels=group or {}), "")]}
    )


def only(**job: Any) -> Target:
    (target,) = built("web-1:9100", **job).active
    return target


def test_a_plain_target() -> None:
    target = only()
    assert target.labels == Labels.of(job="node", instance="web-1:9100")
    assert target.url == "http://web-1:9100/metrics"
    assert (target.interval, target.timeout) == (10.0, 8.0)
    assert target.discovered == Labels.of(
        job="node",
        __address__="web-1:9100",
        __scheme__="http",
        __metrics_path__="/metrics",
        __scrape_interval__="10s",
        __scrape_timeout__="8s",
    )


def rule(target_label: str, replacement: str, *sources: str) -> dict[str, Any]:
    return {
        "target_label": target_label,
        "replacement": replacement,
        "source_labels": list(sources),
    }


URLS = [
    pytest.param({"scheme": "https"}, "https://web-1:9100/metrics", id="scheme"),
    pytest.param(
        {"params": {"m": ["a b", "c"]}}, "http://web-1:9100/metrics?m=a+b&m=c", id="params"
    ),
    pytest.param(
        {"relabel_configs": [rule("__metrics_path__", "/other")]},
        "http://web-1:9100/other",
        id="a path by relabelling",
    ),
    pytest.param(
        {
            "relabel_configs": [
                rule("__param_target", "$1", "__address__"),
                rule("__address__", "probe:1"),
            ]
        },
        "http://probe:1/metrics?target=web-1%3A9100",
        id="the way of the blackbox exporter",
    ),
    pytest.param(
        {"relabel_configs": [rule("__scheme__", "https")]},
        "https://web-1:9100/metrics",
        id="a scheme by relabelling",
    ),
    pytest.param({"metrics_path": "/a?b=c"}, "http://web-1:9100/a?b=c", id="a query in the path"),
]


@pytest.mark.parametrize(("settings", "url"), URLS)
def test_the_url(settings: dict[str, Any], url: str) -> None:
    assert only(**settings).url == url


def test_relabelling_sets_labels_and_times_and_leaves_none_of_its_own() -> None:
    rules = [
        rule("instance", "$1", "__address__") | {"regex": "(.*):.*"},
        rule("__tmp", "x"),
        rule("__scrape_interval__", "30s"),
        rule("__scrape_timeout__", "20s"),
    ]
    target = only(relabel_configs=rules)
    assert target.labels == Labels.of(job="node", instance="web-1")
    assert (target.interval, target.timeout) == (30.0, 20.0)


FAULTS = [
    pytest.param(rule("__address__", ""), "no __address__", id="no address"),
    pytest.param(rule("__address__", "a/b"), "no target", id="a path in the address"),
    pytest.param(rule("__scheme__", "file"), "__scheme__ is 'file'", id="another scheme"),
    pytest.param(rule("__scrape_timeout__", "1m"), "outlasts", id="the timeout is too long"),
    pytest.param(rule("__scrape_interval__", "fast"), "no duration", id="no duration"),
]


@pytest.mark.parametrize(("broken", "message"), FAULTS)
def test_a_target_that_cannot_be_is_left_out_and_named(
    broken: dict[str, Any], message: str
) -> None:
    broken = {**broken, "source_labels": ["__address__"], "regex": "bad:.*"}
    found = built("bad:1", "good:1", relabel_configs=[broken])
    assert [target.labels.get("instance") for target in found.active] == ["good:1"]
    (fault,) = found.faults
    assert fault.startswith("job node, target bad:1: ")
    assert message in fault


def test_dropped_and_doubled_targets() -> None:
    drop = {"source_labels": ["__address__"], "regex": "gone.*", "action": "drop"}
    found = built("a:1", "a:1", "gone:1", relabel_configs=[drop])
    assert len(found.active) == 1
    ((job, labels),) = found.dropped
    assert (job, labels.get("__address__")) == ("node", "gone:1")


def test_dropped_targets_are_counted_and_only_some_kept() -> None:
    drop = {"source_labels": ["__address__"], "regex": "gone.*", "action": "drop"}
    names = [f"gone-{n}:1" for n in range(5)]
    found = built(*names, "a:1", relabel_configs=[drop], keep_dropped_targets=2)
    assert [labels.get("__address__") for _, labels in found.dropped] == names[:2]
    assert found.dropped_counts == {"node": 5}


def test_group_labels_may_set_the_job_but_an_address_is_an_address() -> None:
    labels = discovered_labels(
        job_of(),
        TargetGroup(labels={"job": "db", "__address__": "x:1", "__scheme__": "https"}),
        "web-1:1",
        "/etc/t.json",
    )
    assert labels.get("job") == "db"
    assert labels.get("__address__") == "web-1:1"
    assert labels.get("__scheme__") == "https"
    assert labels.get("__meta_filepath") == "/etc/t.json"


def test_the_place_in_the_interval_is_stable_and_spread() -> None:
    job = job_of()
    offsets = [target_of(job, f"web-{i}:9100").offset for i in range(200)]
    assert offsets == [target_of(job_of(), f"web-{i}:9100").offset for i in range(200)]
    assert {int(offset * 10) for offset in offsets} == set(range(10))


FILES = [
    pytest.param('[{"targets": ["a:1"]}]', [], id="JSON"),
    pytest.param("- targets: ['a:1']\n  labels: {x: 1}\n", [], id="YAML"),
    pytest.param("", [], id="empty"),
    pytest.param('[{"targets": ["a', [":1: not valid YAML"], id="cut short"),
    pytest.param("targets: [a]\n", [":1: write a list of groups"], id="no list"),
    pytest.param(
        "- targets: ['a:1']\n- targets: ['http://a']\n  label: {}\n",
        [":3: [1].label: "],
        id="a group with a fault of its own",
    ),
    pytest.param(
        "- targets: ['a:1', 'http://a']\n- targets: ['a:x', 'a:65536', '[::1']\n",
        [
            ":1: [0].targets: 'http://a' is no target; write host:port",
            ":2: [1].targets: 'a:x' is no target; write host:port",
            ":2: [1].targets: 'a:65536' is no target; a port is a number from 1 to 65535",
            ":2: [1].targets: '[::1' is no target; write host:port",
        ],
        id="what is no address",
    ),
]


@pytest.mark.parametrize(("text", "faults"), FILES)
def test_a_target_file_is_checked(tmp_path: Path, text: str, faults: list[str]) -> None:
    file = tmp_path / "t.yml"
    file.write_text(text)
    found = check_target_file(file)
    assert len(found) == len(faults)
    for fault, expected in zip(found, faults, strict=True):
        assert fault.startswith(f"{file}{expected}")


def test_a_target_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert "cannot be read" in check_target_file(tmp_path / "none.json")[0]


def addresses(files: TargetFiles, pattern: Path) -> list[str]:
    return [address for group, _ in files.groups([pattern]) for address in group.targets]


def test_target_files_come_change_break_and_go(tmp_path: Path) -> None:
    files, pattern = TargetFiles(), tmp_path / "*.json"
    assert not files.read([pattern])
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    one.write_text(json.dumps([{"targets": ["a:1"]}]))
    two.write_text(json.dumps([{"targets": ["b:1"]}]))
    assert files.read([pattern])
    assert addresses(files, pattern) == ["a:1", "b:1"]
    assert not files.read([pattern])
    one.write_text("[{")
    assert not files.read([pattern])
    assert files.broken == 1
    assert addresses(files, pattern) == ["a:1", "b:1"]
    one.write_text(json.dumps([{"targets": ["a:1", "c:1"]}]))
    assert files.read([pattern])
    assert files.broken == 0
    one.unlink()
    assert files.read([pattern])
    assert addresses(files, pattern) == ["b:1"]


def test_discovery_answers_only_what_is_new(tmp_path: Path) -> None:
    text = "scrape_configs: [{job_name: a, file_sd_configs: [{files: [t.json]}]}]"
    discovery = Discovery(config_of(text, tmp_path), no_sources())
    found = discovery.look()
    assert found is not None
    assert not found.active
    assert discovery.look() is None
    (tmp_path / "t.json").write_text(json.dumps([{"targets": ["a:1"]}]))
    found = discovery.look()
    assert found is not None
    assert [target.url for target in found.active] == ["http://a:1/metrics"]
    discovery.configure(config_of("scrape_configs: []", tmp_path))
    found = discovery.look()
    assert found is not None
    assert not found.active


def test_before_relabelling_a_target_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "t.yml").write_text("- targets: ['https://a/b?c']\n")
    assert check_target_file(tmp_path / "t.yml", relabelled=True) == ()
    assert len(check_target_file(tmp_path / "t.yml")) == 1
    rules = [rule("__param_target", "$1", "__address__"), rule("__address__", "probe:1")]
    job = job_of(relabel_configs=rules, static_configs=[{"targets": ["https://a/b?c"]}])
    assert (
        target_of(job, "https://a/b?c").url
        == "http://probe:1/metrics?target=https%3A%2F%2Fa%2Fb%3Fc"
    )
