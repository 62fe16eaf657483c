"""What InfluxDB 1 should have: a database, policies, a continuous query, a user. Pure.

Source: https://docs.influxdata.com/influxdb/v1/query_language/manage-database/.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.downsample import CQ_NAME, continuous_query, same_query
from fleetpulse.storage.influx.influxql import literal, quoted
from fleetpulse.storage.influx.plan import DAY, FOREVER, Step, kept, kept_seconds

# Of a new database whose policy the configuration leaves open.
DEFAULT_POLICY = "raw"


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds; 0 is forever."""

    duration: int
    shard: int
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Found1:
    """What a server has of ours. grants: by database, None where the user is not there."""

    database: bool = False
    policies: Mapping[str, Policy] = field(default_factory=dict)
    query: str = ""
    grants: Mapping[str, str] | None = None

    @property
    def default_policy(self) -> str:
        return next((name for name, one in self.policies.items() if one.is_default), "")


def raw_policy(config: Influx1Config, found: Found1) -> str:
    return config.retention_policy or found.default_policy or DEFAULT_POLICY


def plan1(
    config: Influx1Config, found: Found1, user_password: str | None = None
) -> list[Step[str]]:
    """user_password: of config.username, where it is to be made; None: users are left alone."""
    name, raw = config.database, raw_policy(config, found)
    steps = _database(config, found, raw)
    if found.database:
        wanted = kept_seconds(config.retention.raw)
        make_default = not config.retention_policy and not found.default_policy
        steps.append(_policy(name, raw, wanted, found.policies.get(raw), default=make_default))
    if config.retention.tiers:
        wanted = kept_seconds(config.retention.tiers)
        there = found.policies.get(config.tier_policy)
        steps.append(_policy(name, config.tier_policy, wanted, there))
    steps += _query(config, found, raw)
    if user_password is not None:
        steps += _user(config, found, user_password)
    return steps


def shard_seconds(retention: int) -> int:
    """A shard is dropped as a whole: short enough to go in time, and few enough of them."""
    if retention == FOREVER or retention > 180 * DAY:
        return 7 * DAY
    return DAY if retention >= 2 * DAY else 3600


def _database(config: Influx1Config, found: Found1, raw: str) -> list[Step[str]]:
    name = config.database
    if found.database:
        return [Step("=", f"database {name}")]
    seconds = kept_seconds(config.retention.raw)
    statement = (
        f"CREATE DATABASE {quoted(name)} WITH DURATION {seconds}s REPLICATION 1 "
        f"SHARD DURATION {shard_seconds(seconds)}s NAME {quoted(raw)}"
    )
    text = f"create database {name}, its default retention policy {raw} ({kept(seconds)})"
    return [Step("+", text, (statement,))]


def _policy(
    database: str, name: str, wanted: int, there: Policy | None, *, default: bool = False
) -> Step[str]:
    on = f"RETENTION POLICY {quoted(name)} ON {quoted(database)}"
    shard, end = shard_seconds(wanted), " DEFAULT" if default else ""
    if there is None:
        statement = f"CREATE {on} DURATION {wanted}s REPLICATION 1 SHARD DURATION {shard}s{end}"
        return Step("+", f"create retention policy {name} ({kept(wanted)})", (statement,))
    changes = []
    if there.duration != wanted:
        changes.append(f"retention {kept(there.duration)} → {kept(wanted)}")
    if there.shard > shard:
        changes.append(f"new shards of {kept(there.shard)} → {kept(shard)}")
    if not changes:
        return Step("=", f"retention policy {name} ({kept(wanted)})")
    shard = min(shard, there.shard)
    statement = f"ALTER {on} DURATION {wanted}s SHARD DURATION {shard}s{end}"
    return Step("~", f"retention policy {name}: {', '.join(changes)}", (statement,))


def _query(config: Influx1Config, found: Found1, raw: str) -> list[Step[str]]:
    """Also away with it, where no windows are wanted."""
    drop = f"DROP CONTINUOUS QUERY {quoted(CQ_NAME)} ON {quoted(config.database)}"
    if not config.retention.tiers:
        gone = Step("~", f"drop continuous query {CQ_NAME}: retention.tiers is 0", (drop,))
        return [gone] if found.query else []
    wanted = continuous_query(config.database, raw, config.tier_policy)
    way = f"{CQ_NAME} (from {raw} to {config.tier_policy})"
    if not found.query:
        return [Step("+", f"create continuous query {way}", (wanted,))]
    if same_query(found.query, wanted):
        return [Step("=", f"continuous query {way}")]
    # There is no statement that changes one.
    return [Step("~", f"continuous query {way}: is another, is made anew", (drop, wanted))]


def _user(config: Influx1Config, found: Found1, password: str) -> list[Step[str]]:
    name, steps = config.username, list[Step[str]]()
    if found.grants is None:
        statement = f"CREATE USER {quoted(name)} WITH PASSWORD {literal(password)}"
        steps.append(Step("+", f"create user {name}, with storage.password", (statement,)))
    else:
        steps.append(Step("=", f"user {name}"))
    has = (found.grants or {}).get(config.database, "NO PRIVILEGES")
    if has == "ALL PRIVILEGES":
        return [*steps, Step("=", f"user {name} may read and write {config.database}")]
    grant = f"GRANT ALL ON {quoted(config.database)} TO {quoted(name)}"
    return [*steps, Step("+", f"let user {name} read and write {config.database}", (grant,))]


_UNIT = {"h": 3600, "m": 60, "s": 1}


def go_seconds(text: str) -> int:
    """`168h0m0s` → 604800. ValueError where it is no duration as Go writes one."""
    if not re.fullmatch(r"(\d+[hms])+", text):
        raise ValueError(f"{text!r} is no duration")
    return sum(int(count) * _UNIT[unit] for count, unit in re.findall(r"(\d+)([hms])", text))
