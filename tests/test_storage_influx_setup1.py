"""What setup would do with an InfluxDB 1, by what it finds there."""

from typing import Any

import pytest

from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.downsample import continuous_query, same_query
from fleetpulse.storage.influx.plan import is_settled, kept_seconds
from fleetpulse.storage.influx.setup1 import (
    Found1,
    Policy,
    go_seconds,
    plan1,
    shard_seconds,
)

DAY = 86_400
QUERY = continuous_query("fleet", "raw", "5m")
POLICIES = {"raw": Policy(7 * DAY, DAY, True), "5m": Policy(30 * DAY, DAY)}
WHOLE = Found1(True, POLICIES, QUERY)


def config(**more: Any) -> Influx1Config:
    given = {"kind": "influxdb1", "url": "http://127.0.0.1:8086", "database": "fleet"}
    return Influx1Config.model_validate(given | more)


def test_a_new_server_gets_everything() -> None:
    steps = plan1(config(), Found1())
    assert [str(step) for step in steps] == [
        "+ create database fleet, its default retention policy raw (1w)",
        "+ create retention policy 5m (30d)",
        "+ create continuous query fleetpulse_5m (from raw to 5m)",
    ]
    assert [statement for step in steps for statement in step.do] == [
        'CREATE DATABASE "fleet" WITH DURATION 604800s REPLICATION 1 '
        'SHARD DURATION 86400s NAME "raw"',
        'CREATE RETENTION POLICY "5m" ON "fleet" DURATION 2592000s REPLICATION 1 '
        "SHARD DURATION 86400s",
        QUERY,
    ]


def test_where_all_is_as_it_should_be_there_is_nothing_to_do() -> None:
    steps = plan1(config(), WHOLE)
    assert is_settled(steps)
    assert not any(step.do for step in steps)


@pytest.mark.parametrize(
    ("more", "found", "expected"),
    [
        pytest.param(
            {},
            Found1(True, {"autogen": Policy(0, 7 * DAY, True)}),
            [
                "= database fleet",
                "~ retention policy autogen: retention forever → 1w, new shards of 1w → 1d",
                "+ create retention policy 5m (30d)",
                "+ create continuous query fleetpulse_5m (from autogen to 5m)",
            ],
            id="the-default-policy-that-is-there-is-the-one",
        ),
        pytest.param(
            {"retention": {"raw": "3d"}},
            WHOLE,
            [
                "= database fleet",
                "~ retention policy raw: retention 1w → 3d",
                "= retention policy 5m (30d)",
                "= continuous query fleetpulse_5m (from raw to 5m)",
            ],
            id="another-retention",
        ),
        pytest.param(
            {},
            Found1(True, {**POLICIES, "raw": Policy(7 * DAY, 3600, True)}, QUERY),
            [
                "= database fleet",
                "= retention policy raw (1w)",
                "= retention policy 5m (30d)",
                "= continuous query fleetpulse_5m (from raw to 5m)",
            ],
            id="shorter-shards-are-somebodys-choice",
        ),
        pytest.param(
            {"retention_policy": "mine"},
            Found1(True, POLICIES, QUERY),
            [
                "= database fleet",
                "+ create retention policy mine (1w)",
                "= retention policy 5m (30d)",
                "~ continuous query fleetpulse_5m (from mine to 5m): is another, is made anew",
            ],
            id="a-policy-by-name",
        ),
        pytest.param(
            {},
            Found1(True, {"5m": Policy(30 * DAY, DAY)}, ""),
            [
                "= database fleet",
                "+ create retention policy raw (1w)",
                "= retention policy 5m (30d)",
                "+ create continuous query fleetpulse_5m (from raw to 5m)",
            ],
            id="a-database-without-a-default-gets-one",
        ),
        pytest.param(
            {"retention": {"tiers": "0s"}},
            Found1(True, {"raw": Policy(7 * DAY, DAY, True)}),
            ["= database fleet", "= retention policy raw (1w)"],
            id="no-tiers-no-windows",
        ),
        pytest.param(
            {"retention": {"tiers": "0s"}},
            WHOLE,
            [
                "= database fleet",
                "= retention policy raw (1w)",
                "~ drop continuous query fleetpulse_5m: retention.tiers is 0",
            ],
            id="tiers-no-longer",
        ),
    ],
)
def test_what_is_found_decides(more: dict[str, Any], found: Found1, expected: list[str]) -> None:
    assert [str(step) for step in plan1(config(**more), found)] == expected


def test_a_new_default_policy_is_made_the_default() -> None:
    (_, policy, *_) = plan1(config(), Found1(True))
    assert policy.do[0].endswith(" DEFAULT")


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        pytest.param(
            None,
            [
                "CREATE USER \"o'x\" WITH PASSWORD 'p\\'w\\\\'",
                'GRANT ALL ON "fleet" TO "o\'x"',
            ],
            id="nobody",
        ),
        pytest.param({"fleet": "READ"}, ['GRANT ALL ON "fleet" TO "o\'x"'], id="may-only-read"),
        pytest.param({"other": "ALL PRIVILEGES"}, ['GRANT ALL ON "fleet" TO "o\'x"'], id="other"),
        pytest.param({"fleet": "ALL PRIVILEGES"}, [], id="may-all"),
    ],
)
def test_the_user_gets_rights_and_the_password_is_not_shown(
    grants: dict[str, str] | None, expected: list[str]
) -> None:
    given = config(username="o'x", password="p'w\\")
    steps = plan1(given, Found1(True, POLICIES, QUERY, grants), "p'w\\")
    assert [statement for step in steps for statement in step.do] == expected
    assert "p'w" not in " ".join(map(str, steps))


def test_names_cannot_end_their_quotes() -> None:
    steps = plan1(config(database='a"b\\', tier_policy='5"m'), Found1())
    assert all(
        'a\\"b\\\\' in statement or '5\\"m' in statement for step in steps for statement in step.do
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("168h0m0s", 604_800), ("0s", 0), ("1h0m1s", 3601), ("24h", 86_400)],
)
def test_durations_as_go_writes_them(text: str, seconds: int) -> None:
    assert go_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "1d", "-1h", "1h 2m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        go_seconds(text)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        pytest.param(1.0, 3600, id="an-hour-at-least"),
        pytest.param(3600.5, 3601, id="rounded-up"),
        pytest.param(7.0 * DAY, 7 * DAY, id="as-it-is"),
    ],
)
def test_retention_is_rounded_to_what_is_taken(wanted: float, kept: int) -> None:
    assert kept_seconds(wanted) == kept


@pytest.mark.parametrize(
    ("retention", "shard"),
    [(3600, 3600), (2 * DAY - 1, 3600), (2 * DAY, DAY), (181 * DAY, 7 * DAY), (0, 7 * DAY)],
)
def test_shards(retention: int, shard: int) -> None:
    assert shard_seconds(retention) == shard


def test_a_query_is_known_again_with_fewer_quotes() -> None:
    told = (
        "CREATE CONTINUOUS QUERY fleetpulse_5m ON fleet RESAMPLE EVERY 5m FOR 15m BEGIN SELECT "
        "min(value) AS min, max(value) AS max, sum(value) AS sum, count(value) AS count, "
        'last(value) AS last INTO fleet."5m".:MEASUREMENT FROM fleet.raw./.*/ '
        "GROUP BY time(5m, 1ms), * fill(none) END"
    )
    assert same_query(told, QUERY)
    assert not same_query(told, continuous_query("fleet", "other", "5m"))
