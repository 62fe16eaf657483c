"""`fleetpulse query`: what it asks, how errors point into the expression, how plots are drawn."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.promql.syntax import parse
from fleetpulse_cli.main import main
from fleetpulse_cli.plot import plot
from fleetpulse_cli.pointing import pointed
from fleetpulse_cli.query import Question

EXPERIMENTAL = "info(up)"


def error_of(expr: str) -> str:
    with pytest.raises(QueryError) as caught:
        parse(expr, experimental=False)
    return str(caught.value)


# The expression, and what is shown below the error.
POINTED = [
    pytest.param("rate(up)", "  rate(up)\n       ^^", id="an argument"),
    pytest.param("sum by up (x)", "  sum by up (x)\n         ^^", id="a word"),
    pytest.param("up +", "  up +\n      ^", id="the end"),
    pytest.param("up{a='x', b=5}", "  up{a='x', b=5}\n              ^", id="a number"),
    pytest.param(
        "sum(\n  rate(up)\n)", "  1 | sum(\n  2 |   rate(up)\n    |        ^^\n  3 | )", id="lines"
    ),
    pytest.param(
        "1 +\n1 +\n1 +\n1 +\n1 + )\n+ 1\n+ 1\n+ 1",
        "  3 | 1 +\n  4 | 1 +\n  5 | 1 + )\n    |     ^\n  6 | + 1\n  7 | + 1",
        id="those around it only",
    ),
    pytest.param(
        'up{a="日本"} + rate(up)', '  up{a="日本"} + rate(up)\n                      ^^', id="wide"
    ),
    pytest.param(
        'up{a="e\u0301"} + rate(up)', '  up{a="e\u0301"} + rate(up)\n                   ^^',
        id="marks without a width",
    ),
    pytest.param("\trate(up)", "      rate(up)\n           ^^", id="a tab"),
    pytest.param(
        "up{a='\x1b'} + rate(up)", "  up{a='\\x1b'} + rate(up)\n                      ^^",
        id="what would steer the terminal",
    ),
    pytest.param(EXPERIMENTAL, "  info(up)\n  ^^^^", id="what is not enabled"),
]  # fmt: skip


@pytest.mark.parametrize(("expr", "shown"), POINTED)
def test_errors_point_at_the_token(expr: str, shown: str) -> None:
    assert pointed(error_of(expr), expr) == shown


NOWHERE = [
    pytest.param("query timed out in query queue", id="no place"),
    pytest.param("no API at 127.0.0.1:8080: x", id="a port"),
    pytest.param("9:1: parse error: x", id="a line that there is not"),
    pytest.param("0:0: parse error: x", id="a line before the first"),
]


@pytest.mark.parametrize("error", NOWHERE)
def test_an_error_without_a_place_points_nowhere(error: str) -> None:
    assert pointed(error, "up") is None


def test_prometheus_counts_columns_in_bytes() -> None:
    expr = 'up{a="日本"} + rate(up)'
    error = 'invalid parameter "query": 1:23: parse error: expected type range vector'
    assert pointed(error, expr) == '  up{a="日本"} + rate(up)\n                      ^^'
    assert pointed(error.replace("1:23", "1:999"), expr) is not None


LONG = " + ".join(["up"] * 30) + " + rate(up) + " + " + ".join(["down"] * 30)


def test_a_long_line_is_cut_around_the_place() -> None:
    found = pointed(error_of(LONG), LONG, width=60)
    assert found is not None
    line, mark = found.splitlines()
    assert len(line) <= 60
    assert (line[2], line[-1]) == ("…", "…")
    assert line[mark.index("^") :][: mark.count("^")] == "up"
    assert "rate(up)" in line


class Api:
    """Answers as it is told; forms: what it was asked."""

    def __init__(self) -> None:
        self.answer: tuple[int, dict[str, Any]] = (200, {})
        self.forms: list[dict[str, list[str]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                api.forms.append(parse_qs(self.rfile.read(length).decode()))
                code, document = api.answer
                body = json.dumps(document).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api() -> Iterator[Api]:
    served = Api()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.05,))
    thread.start()
    yield served
    served.server.shutdown()
    thread.join()
    served.server.server_close()


def refusal(error: str) -> tuple[int, dict[str, Any]]:
    return 400, {"status": "error", "errorType": "bad_data", "error": error}


def test_a_refused_query_is_shown_with_its_place(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = refusal(error_of("rate(up)"))
    assert main(["query", "rate(up)", "--url", api.url]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].endswith(error_of("rate(up)"))
    assert told[1:] == ["  rate(up)", "       ^^"]
    api.answer = refusal("query timed out in query queue")
    assert main(["query", "rate(up)", "--url", api.url]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


OTHER_KIND = [
    pytest.param(["--step", "5s"], "--step is of a range", id="a step without a range"),
    pytest.param(["--time", "7", "--end", "9"], "--time is one time", id="a time and a range"),
]


@pytest.mark.parametrize(("options", "told"), OTHER_KIND)
def test_an_option_that_would_change_nothing_is_refused(
    api: Api, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    assert main(["query", "up", "--url", api.url, *options]) == 2
    assert told in capsys.readouterr().err
    assert not api.forms


STATS = {
    "timings": {
        "execTotalTime": 0.0123, "execQueueTime": 0.0001, "queryPreparationTime": 0.003,
        "innerEvalTime": 0.008, "resultSortTime": 0.001,
    },
    "samples": {"totalQueryableSamples": 1234, "peakSamples": 456},
}  # fmt: skip


def test_options_are_passed_on_and_stats_are_told(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"resultType": "scalar", "result": [1, "2"], "stats": STATS}
    api.answer = (200, {"status": "success", "data": data, "warnings": ["a\x1b[1m"]})
    options = ["--tier", "raw", "--timeout", "5s", "--lookback", "1m", "--stats", "--time", "7"]
    assert main(["query", "up", "--url", api.url, *options]) == 0
    assert api.forms == [{
        "query": ["up"], "time": ["7"], "timeout": ["5s"], "tier": ["raw"],
        "lookback_delta": ["1m"], "stats": ["all"],
    }]  # fmt: skip
    told = capsys.readouterr()
    assert told.out == "2\n"
    assert told.err == (
        "a\\x1b[1m\n"
        "took 12.3ms (queue 0.1ms, store 3.0ms, evaluation 8.0ms, sorting 1.0ms), "
        "1,234 samples, at most 456 held\n"
    )
    assert main(["query", "up", "--url", api.url, "--format", "json", "--stats"]) == 0
    assert json.loads(capsys.readouterr().out)["stats"] == STATS


PATIENCE = [
    pytest.param(None, 130.0, id="as long as the API takes at most"),
    pytest.param("5m", 310.0, id="a duration"),
    pytest.param("20", 30.0, id="seconds"),
    pytest.param("soon", 130.0, id="what the API will refuse"),
]


@pytest.mark.parametrize(("timeout", "seconds"), PATIENCE)
def test_it_waits_for_the_answer_a_little_longer_than_the_api_takes(
    timeout: str | None, seconds: float
) -> None:
    assert Question("up", timeout=timeout).patience == seconds


def row(*values: tuple[int, str]) -> dict[str, Any]:
    return {"metric": {"a": "b"}, "values": [list(value) for value in values]}


# Of the same times; a row that begins later or has a gap stays blank there.
PLOTS = [
    pytest.param([row((0, "0"), (60, "1"), (120, "2"))], 1, "  ▁▅█  0 … 2\n", id="a line"),
    pytest.param(
        [row((0, "0"), (60, "1"), (120, "2"), (240, "2"))], 1, "  ▁▅█ █  0 … 2\n", id="a gap"
    ),
    pytest.param([row((0, "5"), (60, "5"))], 1, "  ▁▁  5 … 5\n", id="always the same"),
    pytest.param([row((0, "1"), (60, "+Inf"), (120, "2"))], 1, "  ▁ █  1 … 2\n", id="infinity"),
    pytest.param(
        [row((0, "0"), (60, "1"), (120, "2"))],
        2,
        "  2 ┤ ▁█\n  0 ┤▁██\n     1970-01-01 00:00:00 1970-01-01 00:02:00\n",
        id="a chart",
    ),
]


@pytest.mark.parametrize(("rows", "height", "drawn"), PLOTS)
def test_plots(rows: list[dict[str, Any]], height: int, drawn: str) -> None:
    out = io.StringIO()
    plot(rows, out, height)
    assert out.getvalue() == f'{{a="b"}}\n{drawn}'


def test_many_points_share_a_column_and_no_peak_is_lost() -> None:
    values = [(at, "9" if at == 777 else "1") for at in range(6000)]
    out = io.StringIO()
    plot([row(*values)], out)
    (line,) = out.getvalue().splitlines()[1:]
    assert line.strip().split("  ")[0] == "▁" * 7 + "█" + "▁" * 52


def test_a_plot_of_no_lines_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["query", "up", "--height", "0"])
    assert "no number of lines" in capsys.readouterr().err


# ---------------------------------------------------------------- check


RULES = "groups: [{name: a, rules: [{record: b, expr: 'mad_over_time(up[5m])'}]}]\n"


@pytest.mark.parametrize("enabled", [False, True])
def test_check_knows_whether_experimental_functions_are_enabled(
    tmp_path: Path, enabled: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    config, rules = tmp_path / "fleetpulse.yml", tmp_path / "rules.yml"
    setting = str(enabled).lower()
    config.write_text(f"promql: {{experimental: {setting}}}\nrules: {{rule_files: [rules.yml]}}\n")
    rules.write_text(RULES)
    for arguments in (["--config", str(config)], [str(rules), str(config)],
                      [str(rules), "--config", str(config)]):  # fmt: skip
        assert main(["check", *arguments]) == (0 if enabled else 1)
        told = capsys.readouterr().out
        fault = f'{rules}:1: groups[0].rules[0].expr: 1:1: parse error: function "mad_over_time"'
        assert (fault in told) != enabled
        assert ("set promql.experimental: true" in told) != enabled


def test_check_of_a_rule_file_alone_takes_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    assert main(["check", str(tmp_path / "rules.yml")]) == 1
    assert "promql.experimental" in capsys.readouterr().out
