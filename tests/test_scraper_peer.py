"""Side by side with Prometheus: the same targets by the same configuration, the same series.

Debian's Prometheus (2.42) and our scraper scrape the same pages, which change once, and what each
has stored is compared: series, values in their order, times where pages bring them.
"""

import json
import math
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.scraper_fakes import MemoryWriter, Targets, samples_of
from tests.support import free_port, needs, wait_for
from tests.test_scraper_app import running

pytestmark = [pytest.mark.integration, pytest.mark.peer, needs("prometheus")]

# Stands in pages for the time at which they are first served: the file is read minutes before.
NOW = 4_000_000_000_000
_MOMENT = re.compile(r"\b((?:3999|4000)\d{6})\.?(\d{3})\b")
TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"
SCRAPES = 3  # of each page, at least
# Whatever is compared, this differs from scrape to scrape.
_UNEQUAL = {"scrape_duration_seconds"}

Series = tuple[tuple[str, str], ...]
Samples = Mapping[Series, list[tuple[int, float]]]


@dataclass(frozen=True)
class Case:
    """A job: its two pages, one after the other, and its settings."""

    name: str
    first: str
    then: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str = TEXT
    labels: Mapping[str, str] = field(default_factory=dict)
    times: bool = False  # series with their own timestamps: compared to the millisecond


@cache
def _began() -> int:
    return int(time.time() * 1000)


def at_present(page: str) -> str:
    """The page with its times counted from when the first of them was served."""

    def moved(match: re.Match[str]) -> str:
        at = int(match[1] + match[2]) - NOW + _began()
        return f"{at / 1000:.3f}" if "." in match[0] else str(at)

    return _MOMENT.sub(moved, page)


def rule(**more: Any) -> dict[str, Any]:
    return more


PLAIN = '# TYPE a gauge\na 1\nb{x="1"} 2\nc_total 3\n'
CONFLICT = (
    'a{instance="x",job="y",exported_job="z",rack="r"} 1\n'
    'b{exported_instance="p",instance="q",exported_exported_instance="r"} 2\n'
    'c{job="",zone=""} 3\nd{rack="s",exported_rack="t"} 4\n'
)
EVERY_RULE = [
    rule(source_labels=["rack"], regex="(r)(\\d+)", target_label="bay", replacement="${2}-$1"),
    rule(source_labels=["rack", "site"], separator="/", target_label="place"),
    rule(source_labels=["__address__"], modulus=7, target_label="shard", action="hashmod"),
    rule(source_labels=["site"], target_label="upper", action="uppercase"),
    rule(source_labels=["upper"], target_label="lower", action="lowercase"),
    rule(regex="meta_(.+)", action="labelmap"),
    rule(regex="meta_.+", action="labeldrop"),
    rule(source_labels=["none"], regex="", target_label="was_empty", replacement="yes"),
    rule(source_labels=["rack"], regex="r", target_label="not_anchored", replacement="no"),
    rule(source_labels=["rack"], target_label="instance"),
    rule(source_labels=["rack"], regex="(.*)", target_label="${1}_named", replacement="x"),
    rule(target_label="__tmp_x", replacement="gone"),
    rule(source_labels=["__tmp_x"], target_label="from_tmp"),
    rule(source_labels=["lower"], target_label="site_again", regex="(ber).*"),
]
METRIC_RULES = [
    rule(source_labels=["__name__"], regex="dropped_.*", action="drop"),
    rule(source_labels=["__name__", "x"], regex="a;1", target_label="__name__", replacement="aa"),
    rule(regex="y|z", action="labeldrop"),
    rule(source_labels=["instance"], target_label="seen"),
    rule(source_labels=["w"], target_label="job", regex="(.+)"),
    rule(source_labels=["w"], regex="gone", target_label="instance", replacement=""),
    rule(target_label="__tmp_kept", replacement="as it is"),
]
METRICS = (
    'a{x="1",y="2"} 1\na{x="2",z="2"} 2\ndropped_b 3\ndropped_c{x="1"} 4\n'
    'd{w="other"} 5\ne{w="gone"} 6\n'
)
T = NOW - 60_000

CASES = [
    Case("plain", PLAIN, "a 4\nb{x=\"1\"} NaN\nc_total +Inf\nd -Inf\n"),
    Case("gone", PLAIN, "a 1\n"),
    Case("empty", PLAIN, ""),
    Case("comments", PLAIN, "# nothing\n"),
    Case("fromempty", "", PLAIN),
    Case("broken", PLAIN, "a 5\nz 1\nb{x= 2\nc_total 3\n"),
    Case("alwaysbroken", "a 1\nb\n", "a 1\nc 1\nb\n"),
    Case("mended", "a 1\nq 1\nb\n", "a 1\nb 1\nc 1\n"),
    Case("conflicts", CONFLICT, CONFLICT, labels={"rack": "r7", "exported_rack": "e"}),
    Case("honoured", CONFLICT, CONFLICT, {"honor_labels": True}, labels={"rack": "r7"}),
    Case("ownjob", PLAIN, PLAIN, labels={"job": "other", "instance": "i", "empty": ""}),
    Case(
        "rules", PLAIN, PLAIN, {"relabel_configs": EVERY_RULE},
        labels={"rack": "r7", "site": "Berlin", "meta_os": "linux"},
    ),
    Case("keptlabels", PLAIN, PLAIN, {"relabel_configs": [
        rule(regex="__.*|job|rack", action="labelkeep"),
        rule(source_labels=["rack"], target_label="rack", action="keepequal"),
        rule(source_labels=["rack"], target_label="job", action="dropequal"),
    ]}, labels={"rack": "r7", "site": "x"}),
    Case("dropped", PLAIN, PLAIN, {"relabel_configs": [
        rule(source_labels=["job"], regex="dropped", action="drop"),
    ]}),
    Case("times", PLAIN, PLAIN, {"relabel_configs": [
        rule(target_label="__scrape_interval__", replacement="700ms"),
        rule(target_label="__scrape_timeout__", replacement="400ms"),
    ]}),
    Case("metricrules", METRICS, METRICS + "new 1\n", {"metric_relabel_configs": METRIC_RULES}),
    Case("metrickeep", METRICS, METRICS, {"metric_relabel_configs": [
        rule(source_labels=["__name__"], regex="a|d", action="keep"),
        rule(source_labels=["x"], modulus=3, target_label="m", action="hashmod"),
        rule(regex="__name__|instance|job|x|m", action="labelkeep"),
    ]}),
    Case("noname", METRICS, METRICS, {"metric_relabel_configs": [
        rule(source_labels=["__name__"], regex="d", target_label="__name__", replacement=""),
    ]}),
    Case("stamps", f"a 1 {T}\nb 2\n", f"a 2 {T + 1000}\nb 3\n", times=True),
    Case(
        "disorder", f"a 1 {T}\nb 2 {T}\nc 3 {T}\n", f"a 2 {T - 1000}\nb 9 {T}\nc 3 {T}\n",
        times=True,
    ),
    Case("untracked", f"a 1 {T}\nb 2\n", "b 3\n", times=True),
    Case("unhonoured", f"a 1 {T}\nb 2\n", "b 3\n", {"honor_timestamps": False}),
    Case("future", f"a 1 {NOW + 3_600_000}\nb 2\n", f"a 2 {T}\nb 2\n", times=True),
    Case(
        "severaltimes", f"a 1 {T}\na 2 {T + 1000}\na 3 {T + 2000}\n", f"a 4 {T + 3000}\n",
        times=True,
    ),
    Case("twice", "a 1\na 2\nb 3\n", "a 1\na 1\nb 3\n"),
    Case("samplelimit", "a 1\nb 2\n", "a 1\nb 2\nc 3\nd 4\n", {"sample_limit": 3}),
    Case("alwaysover", "a 1\nb 2\nc 3\n", "a 1\nb 2\nc 3\nd 4\n", {"sample_limit": 2}),
    Case("labellimit", "a 1\n", 'a 1\nb{x="1",y="2"} 2\nc 3\n', {"label_limit": 4}),
    Case("namelimit", "a 1\n", 'a 1\nb{much_too_long="1"} 2\n', {"label_name_length_limit": 10}),
    Case("valuelimit", "a 1\n", f'a 1\nb{{x="{"v" * 40}"}} 2\n', {"label_value_length_limit": 30}),
    Case("bodylimit", "a 1\n", "a 1\n" + "# long\n" * 100, {"body_size_limit": "200B"}),
    Case("down", PLAIN, PLAIN, {"metrics_path": "/status"}),
    Case("params", PLAIN, PLAIN, {"params": {"m": ["x y", "z"]}, "relabel_configs": [
        rule(source_labels=["__param_m"], target_label="m"),
        rule(source_labels=["__metrics_path__"], target_label="path"),
        rule(source_labels=["__scheme__"], target_label="scheme"),
        rule(target_label="__param_n", replacement="1"),
    ]}),
    Case(
        "openmetrics",
        '# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds Text.\n'
        'a_seconds_total{x="1"} 1 # {trace="abc"} 0.5\na_seconds_created{x="1"} 1.5e9\n'
        '# TYPE i info\ni_info{v="1"} 1\n# TYPE h histogram\nh_bucket{le="1.0"} 2 # {t="u"} 0.7 1\n'
        'h_bucket{le="+Inf"} 3\nh_count 3\nh_sum 4.5\n# EOF\n',
        "# TYPE a_seconds counter\na_seconds_total{x=\"1\"} 2\n# EOF\n",
        kind=OPENMETRICS,
    ),
    Case(
        "openstamps", f"a 1 {T / 1000:.3f}\n# EOF\n", f"a 2 {T / 1000 + 1:.3f}\n# EOF\n",
        kind=OPENMETRICS, times=True,
    ),
    Case("ownup", "up 5\na 1\n", "up 6\na 1\n"),
    Case("noeof", "a 1\n# EOF\n", "a 1\nb 2\n", kind=OPENMETRICS),
]  # fmt: skip


def scrape_configs(targets: Targets) -> list[dict[str, Any]]:
    jobs = []
    for case in CASES:
        static = {"targets": [targets.address], "labels": dict(case.labels)}
        jobs.append(
            {
                "job_name": case.name,
                "metrics_path": f"/{case.name}",
                "static_configs": [static],
                **case.settings,
            }
        )
    twice = {"targets": targets.addresses}
    jobs.append({"job_name": "targetlimit", "target_limit": 1, "static_configs": [twice]})
    return jobs


def discovered_configs(targets: Targets, folder: Path) -> list[dict[str, Any]]:
    (folder / "t.yml").write_text(f"- targets: ['{targets.address}']\n  labels: {{a: b}}\n")
    rules = [
        rule(source_labels=["__meta_filepath"], target_label="file"),
        rule(source_labels=["__meta_url"], target_label="url"),
    ]
    file, url = {"files": [str(folder / "t.yml")]}, {"url": f"http://{targets.address}/sd"}
    return [
        {"job_name": "files", "file_sd_configs": [file], "relabel_configs": rules},
        {"job_name": "asked", "http_sd_configs": [url], "relabel_configs": rules},
    ]


def serve(targets: Targets, *, first: bool) -> None:
    served = {
        f"/{case.name}": (at_present(case.first if first else case.then).encode(), case.kind)
        for case in CASES
    }
    group = {"targets": [targets.address], "labels": {"a": "b"}}
    served["/sd"] = (json.dumps([group]).encode(), "application/json")
    targets.served = served  # at once: no scrape sees a mixture


class Prometheus:
    """The real one, on a free port of loopback."""

    def __init__(self, jobs: list[dict[str, Any]], folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        head = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
        (folder / "prometheus.yml").write_text(json.dumps({"global": head, "scrape_configs": jobs}))
        self._command = [
            "prometheus", f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--enable-feature=extra-scrape-metrics",
        ]  # fmt: skip
        self._log = folder / "prometheus.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._log.open("wb") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)

    def ask(self, query: str) -> list[Any]:
        try:
            answer = requests.get(f"{self.url}/api/v1/query", {"query": query}, timeout=10)
            found: list[Any] = answer.json()["data"]["result"]
        except (requests.RequestException, KeyError):
            return []
        return found

    def samples(self) -> Samples:
        return {
            tuple(sorted(series["metric"].items())): [
                (round(at * 1000), float(value)) for at, value in series["values"]
            ]
            for series in self.ask('{__name__=~".+"}[10m]')
        }

    def current(self) -> set[Series]:
        found = self.ask('{__name__=~".+"}')
        return {tuple(sorted(series["metric"].items())) for series in found}


def ours(writer: MemoryWriter) -> tuple[Samples, set[Series]]:
    """What a store would have: samples in the order of time, and the series that are alive."""
    stored: dict[Series, dict[int, float | None]] = defaultdict(dict)
    for page in list(writer.pages):
        for labels, at_ms, value in samples_of(page):
            stored[tuple(labels)][at_ms] = value
    samples, alive = {}, set()
    for labels, by_time in stored.items():
        ordered = sorted(by_time.items())
        kept = [(at, value) for at, value in ordered if value is not None]
        if kept:
            samples[labels] = kept
        if ordered[-1][1] is not None:
            alive.add(labels)
    return samples, alive


def values(samples: list[tuple[int, float]]) -> list[str]:
    """Values in their order, each run of equal ones once: how many scrapes there were is chance."""
    return [key for key, _ in groupby(_text(value) for _, value in samples)]


def _text(value: float) -> str:
    return "NaN" if math.isnan(value) else repr(value)


def scraped(samples: Samples) -> dict[str, int]:
    """How many scrapes there were, by path and instance: what is slowest."""
    return {
        str(labels): len(got) for labels, got in samples.items() if ("__name__", "up") in labels
    }


def name_of(labels: Series) -> str:
    return dict(labels)["__name__"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What both have, after both pages of each job were scraped a few times."""
    folder, writer = tmp_path_factory.mktemp("peer"), MemoryWriter()
    with Targets(["127.0.0.1", "127.0.0.2"]) as targets:
        jobs = scrape_configs(targets) + discovered_configs(targets, folder)
        head = (
            "listen: 127.0.0.1:0\nscrape_interval: 500ms\nscrape_timeout: 500ms\n"
            "extra_scrape_metrics: true\nscrape_configs: "
        )
        serve(targets, first=True)
        peer = Prometheus(jobs, folder)
        with peer.running(), running(json.dumps(jobs), writer, head=head):
            expected = len(CASES) - 1 + 2 + 2  # one is dropped; target_limit; discovered

            def counts(least: int) -> bool:
                both = scraped(peer.samples()), scraped(ours(writer)[0])
                return all(len(one) == expected and min(one.values()) >= least for one in both)

            wait_for("the first pages", lambda: counts(SCRAPES))
            before = max(*scraped(peer.samples()).values(), *scraped(ours(writer)[0]).values())
            serve(targets, first=False)
            wait_for("the second pages", lambda: counts(before + SCRAPES))
            theirs, alive = peer.samples(), peer.current()
            mine, mine_alive = ours(writer)
    return {"theirs": theirs, "mine": mine, "their_alive": alive, "my_alive": mine_alive}


# A page that fails in its middle: Prometheus marks what comes after the fault, and leaves what is
# before it to look-back. Ours marks all of it, as for any other failure.
LEFT_TO_LOOK_BACK = {
    *((job, "a") for job in ("broken", "labellimit", "namelimit", "valuelimit", "noeof")),
    ("samplelimit", "a"),
    ("samplelimit", "b"),
}


def comparable(found: Iterable[Series]) -> set[Series]:
    """Without report series where Prometheus loses a target's label: exported_rack, by rack."""
    return {
        labels
        for labels in found
        if dict(labels).get("job") != "conflicts"
        or not (name_of(labels) == "up" or name_of(labels).startswith("scrape_"))
    }


def test_the_same_series_were_stored(stored: dict[str, Any]) -> None:
    mine, theirs = comparable(stored["mine"]), comparable(stored["theirs"])
    assert (sorted(mine - theirs), sorted(theirs - mine)) == ([], [])
    assert len(mine) > 10 * len(CASES)


def test_the_same_series_are_alive(stored: dict[str, Any]) -> None:
    mine, theirs = comparable(stored["my_alive"]), comparable(stored["their_alive"])
    assert sorted(mine - theirs) == []
    assert {(dict(one).get("job"), name_of(one)) for one in theirs - mine} == LEFT_TO_LOOK_BACK


def test_the_values_are_the_same_in_the_same_order(stored: dict[str, Any]) -> None:
    mine, theirs = stored["mine"], stored["theirs"]
    # A target that says up of itself is believed there, and not here.
    odd = {labels for labels in mine if ("job", "ownup") in labels}
    (up,) = (labels for labels in odd if name_of(labels) == "up")
    assert (values(mine[up]), values(theirs[up])) == (["1.0"], ["5.0", "6.0"])
    unequal = {
        str(labels): (values(mine[labels]), values(theirs[labels]))
        for labels in (mine.keys() & theirs.keys()) - odd
        if name_of(labels) not in _UNEQUAL and values(mine[labels]) != values(theirs[labels])
    }
    assert unequal == {}


@pytest.mark.parametrize("job", [case.name for case in CASES if case.times])
def test_own_timestamps_are_the_same(stored: dict[str, Any], job: str) -> None:
    mine, theirs = stored["mine"], stored["theirs"]
    stamped = [one for one in theirs if {("job", job), ("__name__", "a")} <= set(one)]
    assert stamped
    for labels in stamped:
        assert mine[labels] == theirs[labels]
