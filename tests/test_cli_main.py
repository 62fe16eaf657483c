"""The command line: help, version, exit codes, check, query's output, import."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleetpulse.errors import StartError
from fleetpulse.matchers import Matcher
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse_cli.importer import import_file
from fleetpulse_cli.main import main
from fleetpulse_cli.parser import build_parser
from fleetpulse_cli.query import Question, show
from tests.support import ROOT, free_port

COMMANDS = ["up", "exporter", "scraper", "api", "rules", "bridge", "check", "query", "targets",
            "import", "keys", "keys create", "keys list", "keys revoke"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([*command.split(), "--help"])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out.split()) > 20


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == "fleetpulse 0.1.0\n"


FILES = [
    pytest.param("api: {threads: 2}\n", 0, "configuration, no fault found", id="configuration"),
    pytest.param("api: {thread: 2}\n", 1, "f.yml:1: api.thread: no such key", id="unknown key"),
    pytest.param("a: [", 1, "f.yml:1: not valid YAML", id="no YAML"),
    pytest.param("groups: []\n", 0, "rule file, no fault found", id="rule file"),
    pytest.param(
        "groups: [{name: a, rules: [{alert: A, expr: 'up =='}]}]\n", 1, "f.yml:1: ", id="PromQL"
    ),
    pytest.param("- targets: ['a:1']\n", 0, "target file, no fault found", id="target file"),
    pytest.param("- targets: ['http://a:1/x']\n", 1, "f.yml:1: ", id="broken target file"),
    pytest.param(
        "route: {receiver: a}\nreceivers: [{name: a}]\n", 0, "bridge file, no fault", id="bridge"
    ),
    pytest.param("route: {receiver: b}\nreceivers: [{name: a}]\n", 1, "f.yml:", id="bad route"),
    pytest.param(
        "global: {scrape_interval: 15s, external_labels: {a: b}}\nrule_files: [r.yml]\n"
        "scrape_configs: [{job_name: a, scrape_timeout: 12s, static_configs: [{targets: [a]}]}]\n",
        0,
        "Prometheus configuration (rule_files not read), no fault found",
        id="prometheus.yml",
    ),
    pytest.param(
        "scrape_configs:\n  - job_name: a\n    kubernetes_sd_configs: []\n",
        1,
        "f.yml:3: scrape_configs[0].kubernetes_sd_configs: not supported yet",
        id="prometheus.yml with what there is not",
    ),
]


@pytest.mark.parametrize(("text", "code", "said"), FILES)
def test_check_tells_what_a_file_is_and_what_is_wrong(
    text: str, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.yml").write_text(text)
    assert main(["check", str(tmp_path / "f.yml")]) == code
    assert said in capsys.readouterr().out


def test_check_follows_the_files_that_a_configuration_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleetpulse.yml").write_text("rules: {rule_files: ['r/*.yml']}\n")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "a.yml").write_text("groups:\n  - name: a\n    rulez: []\n")
    assert main(["check", "--config", str(tmp_path / "fleetpulse.yml")]) == 1
    assert "a.yml:3: groups[0].rulez" in capsys.readouterr().out


def test_check_looks_into_the_exporters_web_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleetpulse.yml").write_text("exporter: {web_config_file: web.yml}\n")
    (tmp_path / "web.yml").write_text("basic_auth_users: {fleet: secret}\n")
    assert main(["check", "--config", str(tmp_path / "fleetpulse.yml")]) == 1
    told = capsys.readouterr().out
    assert f"{tmp_path}/web.yml:1: basic_auth_users" in told
    assert "secret" not in told


def test_check_misses_a_rule_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleetpulse.yml").write_text("rules: {rule_files: [none.yml]}\n")
    assert main(["check", "--config", str(tmp_path / "fleetpulse.yml")]) == 1
    assert "none.yml:1: no such file" in capsys.readouterr().out


def test_check_tells_the_faults_of_all_files_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleetpulse.yml").write_text(
        "rules: {rule_files: [none.yml, r.yml]}\n"
        "bridge: {config_file: r.yml}\n"
        "scraper: {scrape_configs: [{job_name: a, file_sd_configs: [{files: ['t*.yml']}]}]}\n"
    )
    (tmp_path / "r.yml").write_text("groups: [{name: a, rulez: []}]\n")
    (tmp_path / "t1.yml").write_text("- targets: ['http://a']\n")
    assert main(["check", "--config", str(tmp_path / "fleetpulse.yml")]) == 1
    said = capsys.readouterr().out
    for fault in (
        "none.yml:1: no such file",
        "r.yml:1: groups[0].rulez",
        "r.yml:1: groups: no such key",
        "t1.yml:1: [0].targets: 'http://a'",
    ):
        assert fault in said


def test_query_where_no_api_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "up", "--url", f"http://127.0.0.1:{free_port()}"]) == 2
    assert "start it with `fleetpulse up`" in capsys.readouterr().err


VECTOR = {
    "data": {
        "resultType": "vector",
        "result": [
            {"metric": {"__name__": "up", "job": "node"}, "value": [1.5, "1"]},
            {"metric": {"__name__": "up", "job": "b"}, "value": [1.5, "0"]},
        ],
    }
}
NUMBER = {"data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "42.5"]}]}}
MATRIX = {
    "data": {
        "resultType": "matrix",
        "result": [{"metric": {"a": "b"}, "values": [[0, "0"], [60, "NaN"], [120, "7"]]}],
    }
}

CSV = "timestamp,__name__,job,value\n1.5,up,node,1\n1.5,up,b,0\n"

SHOWN = [
    pytest.param(VECTOR, "csv", CSV, id="csv"),
    pytest.param(NUMBER, "table", "42.5\n", id="a bare number stays bare"),
    pytest.param(MATRIX, "plot", '{a="b"}\n  ▁ █  0 … 7\n', id="plot"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "style", "text"), SHOWN)
def test_answers_are_shown(body: dict[str, object], style: str, text: str) -> None:
    out = io.StringIO()
    show(body, style, out)
    assert out.getvalue() == text


def test_a_table_has_a_column_a_label() -> None:
    out = io.StringIO()
    show(VECTOR, "table", out)
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert rows[0] == ["metric", "job", "time", "value"]
    assert rows[1] == ["up", "node", "1970-01-01", "00:00:01", "1"]


HOSTILE = {"metric": {"__name__": "m", "a": "x\x1b]0;t\x07\ny\u202ez"}, "value": [1, "1"]}


@pytest.mark.parametrize("style", ["table", "plot"])
def test_labels_cannot_steer_a_terminal(style: str) -> None:
    row = {**HOSTILE, "values": [HOSTILE["value"]]}
    out = io.StringIO()
    kind = "vector" if style == "table" else "matrix"
    show({"data": {"resultType": kind, "result": [row]}}, style, out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "x\\x1b]0;t\\x07\\ny\\u202ez" in out.getvalue()
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("style", ["table", "plot"])
def test_no_series_is_said(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    show({"data": {"resultType": "matrix", "result": []}}, style)
    assert capsys.readouterr().err == "no series\n"


def test_json_is_the_data_as_it_came() -> None:
    out = io.StringIO()
    show(MATRIX, "json", out)
    assert json.loads(out.getvalue()) == MATRIX["data"]


def test_a_range_gets_its_missing_ends() -> None:
    assert Question("up", end="7200").completed(0).form() == {
        "query": "up", "start": "3600.000", "end": "7200", "step": "60",
    }  # fmt: skip
    assert Question("up", start="0").completed(600).form()["step"] == "10"
    assert Question("up", time="5").completed(600).form() == {"query": "up", "time": "5"}


METRICS = """\
# TYPE http_requests counter
http_requests_total{job="a",instance="x",code="200"} 1 100
http_requests_total{job="a",instance="x",code="200"} 2 110.5
http_requests_total{job="a",instance="x",code="500"} 7 100
other 3 100
# EOF
"""


def imported(store: EmbeddedStore, name: str) -> dict[str, list[tuple[int, float]]]:
    matchers = [Matcher("__name__", "=", name)]
    return {
        str(series.labels): list(zip(series.times_ms.tolist(), series.values.tolist(), strict=True))
        for series in store.select(matchers, 0, 10**13, Hints())
    }


def test_import_stores_each_sample_once_even_when_run_twice(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(METRICS)
    store = EmbeddedStore(tmp_path / "store.db")
    for _ in range(2):
        assert import_file(tmp_path / "m.txt", store, quiet=True) == (4, 2)
    assert imported(store, "http_requests_total") == {
        'http_requests_total{code="200", instance="x", job="a"}': [(100_000, 1), (110_500, 2)],
        'http_requests_total{code="500", instance="x", job="a"}': [(100_000, 7)],
    }
    assert imported(store, "other") == {"other": [(100_000, 3)]}
    store.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1 100\nb 2\n# EOF\n", "line 2: no timestamp"),
        ("a 1 100\nb x 1\n# EOF\n", "line 2"),
        ("a 1 100\nb 1 1764000000000\n# EOF\n", "line 2: the timestamp is beyond the year 9999"),
    ],
)
def test_import_keeps_what_came_before_a_fault(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text(text)
    store = EmbeddedStore(tmp_path / "store.db")
    with pytest.raises(StartError, match=f"m.txt: {said}.*1 samples before it are stored"):
        import_file(tmp_path / "m.txt", store, quiet=True)
    assert imported(store, "a") == {"a": [(100_000, 1)]}
    store.close()


def test_import_tells_of_a_damaged_archive(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(METRICS.encode()))
    packed[12:30] = b"\xff" * 18
    (tmp_path / "m.gz").write_bytes(packed)
    store = EmbeddedStore(tmp_path / "store.db")
    with pytest.raises(StartError, match=r"m\.gz: .* 0 samples before it are stored"):
        import_file(tmp_path / "m.gz", store, quiet=True)
    store.close()


LEAN = """
import sys
for name in ("numpy", "flask", "gunicorn", "pycurl", "pcodec", "re2",
             "influxdb_client", "schedule", "jinja2", "rich", "limits"):
    sys.modules[name] = None
from fleetpulse_cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def lean(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line where only the exporter's libraries are."""
    return subprocess.run(
        [sys.executable, "-c", LEAN, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.integration
def test_the_exporter_starts_without_the_servers_libraries() -> None:
    done = lean("exporter", "--once")
    assert done.returncode == 0, done.stderr
    assert "node_cpu_seconds_total{" in done.stdout


@pytest.mark.integration
@pytest.mark.parametrize("command", ["up", "api", "check fleetpulse.example.yml", "query up"])
def test_what_needs_them_says_so(command: str) -> None:
    done = lean(*command.split())
    assert done.returncode == 2
    assert "pip install 'fleetpulse[server]'" in done.stderr
    assert "Traceback" not in done.stderr
