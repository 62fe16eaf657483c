"""What setup does with an InfluxDB 2: plans by what is found, and calls as the API documents them.

No real 2.x is asked here; tests/every_store.py does, where one is named.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetpulse.storage.influx.config import Influx2Config
from fleetpulse.storage.influx.downsample import task
from fleetpulse.storage.influx.manage2 import Influx2Setup
from fleetpulse.storage.influx.setup2 import Bucket, Found2, Mapping2, Task, plan2
from fleetpulse_cli.main import main
from tests.http_fakes import FakeHttp, Told
from tests.influx2_fakes import ADMIN, ORG, FakeInflux2
from tests.support import free_port

DAY = 86_400
BUCKETS = {"raw": Bucket("b0", 7 * DAY), "raw_5m": Bucket("b1", 30 * DAY)}
MAPPINGS = {"raw": [Mapping2("b0", "autogen", True)], "raw_5m": [Mapping2("b1", "autogen", True)]}
FLUX = task("raw", "raw_5m", "fleet")
WHOLE = Found2(BUCKETS, MAPPINGS, Task("t0", FLUX, True))


def config(**more: Any) -> Influx2Config:
    given = {"kind": "influxdb2", "url": "http://127.0.0.1:8086", "org": "fleet", "bucket": "raw"}
    return Influx2Config.model_validate(given | more)


EQUAL = [
    "= bucket raw (1w)",
    "= bucket raw_5m (30d)",
    "= database raw of InfluxQL is bucket raw",
    "= database raw_5m of InfluxQL is bucket raw_5m",
    "= task fleetpulse_5m raw",
]


@pytest.mark.parametrize(
    ("more", "found", "expected"),
    [
        pytest.param(
            {"token_file": "t"},
            Found2(token_file=False),
            [
                "+ create bucket raw (1w)",
                "+ create bucket raw_5m (30d)",
                "+ map database raw of InfluxQL to bucket raw",
                "+ map database raw_5m of InfluxQL to bucket raw_5m",
                "+ create task fleetpulse_5m raw",
                "+ create a token that may read and write raw and raw_5m, and nothing else, in t",
            ],
            id="nothing-there",
        ),
        pytest.param({}, WHOLE, EQUAL, id="all-there"),
        pytest.param(
            {},
            Found2(BUCKETS | {"raw": Bucket("b0", 0)}, MAPPINGS, Task("t0", FLUX, True)),
            ["~ bucket raw: retention forever → 1w", *EQUAL[1:]],
            id="another-retention",
        ),
        pytest.param(
            {},
            Found2(BUCKETS, MAPPINGS | {"raw": [Mapping2("b9", "autogen", True)]}, WHOLE.task),
            [*EQUAL[:2], "~ map database raw of InfluxQL to bucket raw", *EQUAL[3:]],
            id="mapped-to-another-bucket",
        ),
        pytest.param(
            {},
            Found2(BUCKETS, MAPPINGS, Task("t0", FLUX + "// mine", True)),
            [*EQUAL[:4], "~ task fleetpulse_5m raw: is another, is rewritten"],
            id="another-task",
        ),
        pytest.param(
            {},
            Found2(BUCKETS, MAPPINGS, Task("t0", FLUX.replace("\n", " \r\n"), True)),
            EQUAL,
            id="blanks-do-not-matter",
        ),
        pytest.param(
            {},
            Found2(BUCKETS, MAPPINGS, Task("t0", FLUX, False)),
            [*EQUAL[:4], "~ task fleetpulse_5m raw: inactive → active"],
            id="a-task-that-was-stopped",
        ),
        pytest.param(
            {"retention": {"tiers": "0s"}},
            WHOLE,
            [EQUAL[0], EQUAL[2], "~ stop task fleetpulse_5m raw: retention.tiers is 0"],
            id="tiers-no-longer",
        ),
        pytest.param(
            {"tier_bucket": "win", "retention": {"raw": "3601500ms"}},
            Found2({"raw": Bucket("b0", 3602)}, {}, None),
            [
                "= bucket raw (1h2s)",
                "+ create bucket win (30d)",
                "+ map database raw of InfluxQL to bucket raw",
                "+ map database win of InfluxQL to bucket win",
                "+ create task fleetpulse_5m raw",
            ],
            id="whole-seconds-and-a-bucket-by-name",
        ),
    ],
)
def test_what_is_found_decides(more: dict[str, Any], found: Found2, expected: list[str]) -> None:
    assert [str(step) for step in plan2(config(**more), found)] == expected


def test_the_task_folds_windows_that_end_with_their_last_sample() -> None:
    assert 'option task = {name: "fleetpulse_5m raw", every: 5m, offset: 30s}' in FLUX
    assert "stop = int(v: now()) / 300000000000 * 300000000000" in FLUX
    assert "before = time(v: stop - 1199999000000)" in FLUX
    assert "begin = time(v: stop - 899999000000)" in FLUX
    assert "end = time(v: stop + 1000000)" in FLUX
    for field in ("min", "max", "sum", "count", "last", "increase"):
        assert f'set(key: "_field", value: "{field}")' in FLUX
    assert FLUX.count('offset: 1ms, timeSrc: "_start", createEmpty: false') == 6
    assert FLUX.rstrip().endswith('to(bucket: "raw_5m", org: "fleet")')


def test_names_cannot_end_their_quotes_in_flux() -> None:
    flux = task('a"b', "c\\", "${d}")
    assert 'bucket: "a\\"b"' in flux
    assert 'bucket: "c\\\\", org: "\\${d}"' in flux


@pytest.fixture
def server() -> Iterator[FakeInflux2]:
    with FakeInflux2() as running:
        yield running


@pytest.fixture
def admin(tmp_path: Path) -> Path:
    path = tmp_path / "admin.token"
    path.write_text(f"{ADMIN}\n")
    return path


def written(folder: Path, url: str, **more: object) -> Path:
    path = folder / "fleetpulse.yml"
    given = {"kind": "influxdb2", "url": url, "org": "fleet", "bucket": "raw"}
    path.write_text(yaml.safe_dump({"storage": given | more}))
    return path


def test_setup_makes_everything_once_and_then_keeps_still(
    server: FakeInflux2, admin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, server.url, token_file="fp.token")
    command = ["--config", str(file), "--admin-secret-file", str(admin)]
    assert main(["influx", "setup", *command]) == 1
    assert {call.split()[0] for call in server.calls} == {"GET"}
    assert main(["influx", "setup", "--yes", *command]) == 0

    rules = {bucket["name"]: bucket["retentionRules"] for bucket in server.buckets}
    assert rules == {
        "raw": [{"type": "expire", "everySeconds": 7 * DAY}],
        "raw_5m": [{"type": "expire", "everySeconds": 30 * DAY}],
    }
    assert [(d["database"], d["bucketID"], d["default"]) for d in server.dbrps] == [
        ("raw", "b0", True),
        ("raw_5m", "b1", True),
    ]
    assert [(t["flux"], t["status"]) for t in server.tasks] == [(FLUX, "active")]
    token = tmp_path / "fp.token"
    assert token.read_text() == "the-new-token\n"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    (made,) = server.authorizations
    assert sorted((p["action"], p["resource"]["id"]) for p in made["permissions"]) == [
        ("read", "b0"),
        ("read", "b1"),
        ("write", "b0"),
        ("write", "b1"),
    ]
    assert {p["resource"]["orgID"] for p in made["permissions"]} == {ORG}

    before = len(server.calls)
    assert main(["influx", "status", *command]) == 0
    assert main(["influx", "setup", "--yes", *command]) == 0
    assert {call.split()[0] for call in server.calls[before:]} == {"GET"}
    out, err = capsys.readouterr()
    assert "the-new-token" not in out + err
    assert ADMIN not in out + err


def test_what_differs_is_changed_and_status_says_so(
    server: FakeInflux2, admin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--config", str(tmp_path / "fleetpulse.yml"), "--admin-secret-file", str(admin)]
    written(tmp_path, server.url)
    assert main(["influx", "setup", "--yes", *command]) == 0
    server.tasks[0]["status"] = "inactive"
    server.dbrps[0]["bucketID"] = "another"
    written(tmp_path, server.url, retention={"raw": "3d"})
    capsys.readouterr()
    assert main(["influx", "status", *command]) == 1
    changed = [text for text in capsys.readouterr().out.splitlines() if text[0] == "~"]
    assert changed == [
        "~ bucket raw: retention 1w → 3d",
        "~ map database raw of InfluxQL to bucket raw",
        "~ task fleetpulse_5m raw: inactive → active",
    ]
    assert main(["influx", "setup", "--yes", *command]) == 0
    assert main(["influx", "status", *command]) == 0, capsys.readouterr().out
    assert server.buckets[0]["retentionRules"][0]["everySeconds"] == 3 * DAY


def test_a_backfill_asks_for_a_day_at_a_time(server: FakeInflux2) -> None:
    given = config(url=server.url, token=ADMIN)
    now = 1_700_000_123.0
    setup = Influx2Setup(given, given, now=lambda: now)
    assert [done for done, _, _ in setup.backfill()] == [1, 2, 3, 4, 5, 6, 7]
    setup.close()
    assert "end = 2023-11-14T22:15:00.001Z" in server.queries[-1]
    assert all('to(bucket: "raw_5m", org: "fleet")' in flux for flux in server.queries)


@pytest.mark.parametrize(
    ("more", "options", "words"),
    [
        pytest.param({"token": "wrong"}, [], ["HTTP 401", "--admin-secret-file"], id="token"),
        pytest.param({"token_file": "none"}, [], ["--admin-secret-file"], id="no-file-yet"),
        pytest.param({"token": ADMIN, "org": "o"}, [], ["organization o not found"], id="org"),
        pytest.param({"token": ADMIN}, ["--admin-user", "x"], ["influxdb1"], id="user"),
    ],
)
def test_faults_say_what_to_mend(
    server: FakeInflux2,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: dict[str, object],
    options: list[str],
    words: list[str],
) -> None:
    file = written(tmp_path, server.url, **more)
    assert main(["influx", "setup", "--yes", "--config", str(file), *options]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert "wrong" not in err


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(Told(200, b"<html>hello</html>", {"Content-Type": "text/html"}), id="a-page"),
        pytest.param(Told(404, b"404 page not found"), id="influxdb-3"),
        pytest.param(Told(503, b'{"code":"unavailable","message":"later"}'), id="unavailable"),
    ],
)
def test_what_is_no_influxdb_2(
    told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeHttp(told) as fake:
        file = written(tmp_path, fake.url, token="t")
        assert main(["influx", "status", "--config", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"fleetpulse influx: influxdb2 at {fake.url}: ")


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, f"http://127.0.0.1:{free_port()}", token="t")
    assert main(["influx", "status", "--config", str(file)]) == 2
    assert "check storage.url" in capsys.readouterr().err


def test_a_token_file_that_cannot_be_written_leaves_no_token_behind(
    server: FakeInflux2, admin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, server.url, token_file="no/such/folder/fp.token")
    command = ["--config", str(file), "--admin-secret-file", str(admin)]
    assert main(["influx", "setup", "--yes", *command]) == 2
    assert server.authorizations == []
    assert "cannot be written" in capsys.readouterr().err


def test_other_stores_need_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fleetpulse.yml"
    file.write_text("storage: {kind: embedded}\n")
    assert main(["influx", "status", "--config", str(file)]) == 2
    assert "storage.kind is embedded" in capsys.readouterr().err
