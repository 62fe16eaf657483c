"""Setting up a real InfluxDB 1, and what is read of the windows that it makes."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from fleetpulse.backend import open_storage
from fleetpulse.model import METRIC_NAME, Labels, Page
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix
from fleetpulse.storage.base import SeriesReader
from fleetpulse.storage.embedded import CompactionLimits
from fleetpulse.storage.embedded.windows import WINDOW_MS
from fleetpulse.storage.influx.ask import InfluxAsker
from fleetpulse.storage.influx.config import Influx1Config, InfluxRetention
from fleetpulse.storage.influx.http1 import Influx1Http
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.manage1 import Influx1Setup
from fleetpulse.storage.influx.reader import InfluxReader
from fleetpulse_cli.main import main
from tests.influx_server import InfluxServer, influxd
from tests.store_fakes import opened
from tests.support import needs, wait_for

pytestmark = [pytest.mark.peer, pytest.mark.integration, needs("influxd")]

DAY_MS = 86_400_000
DAY0 = 19_676 * DAY_MS  # a midnight
NOW = (DAY0 + 3 * DAY_MS) / 1000
LONG = {"raw": "100y", "tiers": "100y"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influxd(tmp_path_factory.mktemp("influxd")) as running:
        yield running


@pytest.fixture
def file(server: InfluxServer, tmp_path: Path) -> Iterator[Path]:
    yield written(tmp_path, server)
    server.query('DROP DATABASE "fl eet"')


def written(folder: Path, server: InfluxServer, **more: object) -> Path:
    given = {"kind": "influxdb1", "url": server.url, "database": "fl eet"}
    path = folder / "fleetpulse.yml"
    path.write_text(yaml.safe_dump({"storage": given | more}))
    return path


def policies(server: InfluxServer) -> dict[object, object]:
    (found,) = server.query('SHOW RETENTION POLICIES ON "fl eet"')
    assert isinstance(found["values"], list)
    return {name: duration for name, duration, *_ in found["values"]}


def test_setup_makes_everything_once_and_then_keeps_still(
    server: InfluxServer, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--config", str(file)]
    assert main(["influx", "status", *command]) == 1
    assert main(["influx", "setup", *command]) == 1  # no terminal, so only the plan
    out, err = capsys.readouterr()
    assert out.count("+ create continuous query fleetpulse_5m") == 2
    assert "--yes" in err
    assert ["fl eet"] not in server.query("SHOW DATABASES")[0].get("values", [])

    assert main(["influx", "setup", "--yes", *command]) == 0
    assert policies(server) == {"raw": "168h0m0s", "5m": "720h0m0s"}
    assert main(["influx", "status", *command]) == 0
    out, _ = capsys.readouterr()
    assert {line[0] for line in out.splitlines()[-4:]} == {"="}

    written(tmp_path, server, retention={"raw": "3d", "tiers": "1y"})
    assert main(["influx", "status", *command]) == 1
    assert "~ retention policy raw: retention 1w → 3d" in capsys.readouterr().out
    assert main(["influx", "setup", "--yes", *command]) == 0
    assert policies(server) == {"raw": "72h0m0s", "5m": "8760h0m0s"}
    assert main(["influx", "status", *command]) == 0

    written(tmp_path, server, retention={"raw": "3d", "tiers": 0})
    assert main(["influx", "setup", "--yes", *command]) == 0
    assert not server.query("SHOW CONTINUOUS QUERIES")[0].get("values")
    assert main(["influx", "status", *command]) == 0


def test_only_an_admin_may_and_the_user_gets_just_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, secret = tmp_path / "influxd", tmp_path / "root.pw"
    folder.mkdir()
    secret.write_text("r'oot\n")
    with influxd(folder, auth=True) as running:
        running.query("CREATE USER root WITH PASSWORD 'r\\'oot' WITH ALL PRIVILEGES")
        file = written(tmp_path, running, username="fp", password="s'ecret")
        command = ["--config", str(file)]
        assert main(["influx", "status", *command]) == 2
        assert "--admin-user" in capsys.readouterr().err
        command += ["--admin-user", "root", "--admin-secret-file", str(secret)]
        assert main(["influx", "setup", "--yes", *command]) == 0
        assert main(["influx", "status", *command]) == 0
        out, err = capsys.readouterr()
        assert "ecret" not in out + err
        assert "oot'" not in out + err
        mine = InfluxServer(running.url, ("fp", "s'ecret"))
        mine.write("fl eet", f"m value=1 {round(time.time() * 1000)}")
        assert mine.query("SELECT * FROM m", "fl eet")
        # But neither change nor see the rest.
        assert main(["influx", "setup", "--yes", "--config", str(file)]) == 2
        assert "--admin-user" in capsys.readouterr().err
        root = InfluxServer(running.url, ("root", "r'oot"))
        (grants,) = root.query('SHOW GRANTS FOR "fp"')
        assert grants["values"] == [["fl eet", "ALL PRIVILEGES"]]


def test_the_continuous_query_makes_windows_of_what_is_written(
    server: InfluxServer, file: Path
) -> None:
    """It runs once as soon as it is made: the window that is over has its end's sample."""
    last = round(time.time() * 1000) // WINDOW_MS * WINDOW_MS
    times = [last - 20_000 * turn for turn in range(60)]
    server.query('CREATE DATABASE "fl eet"')
    server.write("fl eet", "\n".join(f"m,h=a value={at % 1000} {at}" for at in times))
    assert main(["influx", "setup", "--yes", "--config", str(file)]) == 0
    (found,) = wait_for(
        "windows", lambda: server.query('SELECT * FROM "5m"."m" GROUP BY *', "fl eet")
    )
    assert found["columns"] == ["time", "count", "last", "max", "min", "sum"]
    assert found["tags"] == {"h": "a"}
    values = found["values"]
    assert isinstance(values, list)
    assert {row[0]: row[1] for row in values}[last - WINDOW_MS + 1] == 15


def pages() -> Iterator[Page]:
    """A day at 15 s with a gap of an hour: gauges, and counters that start anew now and then."""
    chance = random.Random(1)
    counts = [0.0, 1e6]
    for turn in range(DAY_MS // 15_000 + 1):
        if 2000 < turn <= 2240:
            continue
        counts = [n + chance.random() * 10 for n in counts]
        if turn % 997 == 0:
            counts[0] = chance.random()
        lines = {line("m", n=str(n)): chance.gauss(n, 5) for n in range(3)}
        lines |= {line("c_total", n=str(n)): value for n, value in enumerate(counts)}
        yield Page.of(Labels.of(job="a", instance="x"), DAY0 + turn * 15_000, lines)


def line(name: str, **labels: str) -> Labels:
    return Labels.of({METRIC_NAME: name}, **labels)


@pytest.fixture(scope="module")
def both(
    server: InfluxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[SeriesReader, SeriesReader]]:
    """The embedded store and InfluxDB with the same samples, and windows of them."""
    folder = tmp_path_factory.mktemp("both")
    given = {"kind": "influxdb1", "url": server.url, "database": "tiers", "retention": LONG}
    config = Influx1Config.model_validate(given)
    setup = Influx1Setup(config, Influx1Http(config), now=lambda: NOW)
    for step in setup.plan():
        setup.carry_out(step)
    everything = list(pages())
    with open_storage(config, folder, "test", CollectorRegistry()) as store:
        store.writer.write(everything)
    assert sum(written for *_, written in setup.backfill()) == 5 * (288 - 12 + 1)
    setup.close()
    retention = InfluxRetention.model_validate(LONG)
    reader = InfluxReader(
        InfluxAsker(config), Place("tiers", "never asked"), Place("tiers", "5m"), retention, dict,
        now=lambda: NOW,
    )  # fmt: skip
    with opened(folder / "x.db", now_ms=round(NOW * 1000)) as embedded:
        embedded.write(everything)
        embedded.compact(CompactionLimits(min_age=0, gather=0))
        yield embedded, reader
    reader.close()


def answers(reader: SeriesReader, expr: str) -> dict[Labels, dict[int, float]]:
    times = (DAY0 + 2 * 3_600_000, DAY0 + DAY_MS, 900_000)
    data = Engine(reader).range(expr, *times, tier="5m").data
    assert isinstance(data, Matrix)
    return {
        one.labels: dict(zip(one.times_ms.tolist(), one.values.tolist(), strict=True))
        for one in data.series
    }


@pytest.mark.parametrize(
    "expr",
    [
        "m",
        "min_over_time(m[15m])",
        "max_over_time(m[1h])",
        "sum_over_time(m[30m])",
        "count_over_time(m[5m])",
        "avg_over_time(m[2h])",
        "last_over_time(m[10m])",
        "sum(m)",
        "max_over_time(m[10m] offset 1h)",
        "rate(c_total[15m])",
        "increase(c_total[2h])",
        "sum by (job) (rate(c_total[30m]))",
    ],
)
def test_windows_answer_as_those_of_the_embedded_store(
    both: tuple[SeriesReader, SeriesReader], expr: str
) -> None:
    embedded, influx = (answers(reader, expr) for reader in both)
    assert embedded
    assert influx.keys() == embedded.keys()
    for labels, values in embedded.items():
        assert influx[labels] == pytest.approx(values, rel=1e-9)
