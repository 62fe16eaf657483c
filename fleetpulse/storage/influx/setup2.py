"""What InfluxDB 2 should have: buckets, mappings for InfluxQL, a task, a token. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetpulse.storage.influx.config import Influx2Config
from fleetpulse.storage.influx.downsample import task, task_name
from fleetpulse.storage.influx.plan import Step, kept, kept_seconds

POLICY = "autogen"  # what a database's only policy is called


@dataclass(frozen=True, slots=True)
class Task:
    id: str
    flux: str
    active: bool


@dataclass(frozen=True, slots=True)
class Mapping2:
    """Of a database to a bucket, by the bucket's id."""

    bucket_id: str
    policy: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Bucket:
    """seconds: 0 is forever."""

    id: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Found2:
    """What a server has of ours, by name. mappings: those that somebody made, by database."""

    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    mappings: Mapping[str, Sequence[Mapping2]] = field(default_factory=dict)
    task: Task | None = None
    token_file: bool = True


@dataclass(frozen=True, slots=True)
class MakeBucket:
    name: str
    seconds: int


@dataclass(frozen=True, slots=True)
class SetRetention:
    name: str
    seconds: int


@dataclass(frozen=True, slots=True)
class MapDatabase:
    """The database of the bucket's name."""

    bucket: str


@dataclass(frozen=True, slots=True)
class MakeTask:
    flux: str


@dataclass(frozen=True, slots=True)
class SetTask:
    id: str
    flux: str


@dataclass(frozen=True, slots=True)
class StopTask:
    id: str


@dataclass(frozen=True, slots=True)
class MakeToken:
    """One that may read and write the buckets and nothing else."""

    buckets: tuple[str, ...]
    path: Path


Action = MakeBucket | SetRetention | MapDatabase | MakeTask | SetTask | StopTask | MakeToken


def plan2(config: Influx2Config, found: Found2) -> list[Step[Action]]:
    wanted = {config.bucket: kept_seconds(config.retention.raw)}
    if config.retention.tiers:
        wanted[config.windows_bucket] = kept_seconds(config.retention.tiers)
    steps = [_bucket(name, seconds, found.buckets.get(name)) for name, seconds in wanted.items()]
    steps += [_mapping(name, found) for name in wanted]
    steps += _task(config, found.task)
    if config.token_file is not None:
        steps.append(_token(config.token_file, tuple(wanted), there=found.token_file))
    return steps


def _bucket(name: str, seconds: int, there: Bucket | None) -> Step[Action]:
    if there is None:
        return Step("+", f"create bucket {name} ({kept(seconds)})", (MakeBucket(name, seconds),))
    if there.seconds == seconds:
        return Step("=", f"bucket {name} ({kept(seconds)})")
    change = f"bucket {name}: retention {kept(there.seconds)} → {kept(seconds)}"
    return Step("~", change, (SetRetention(name, seconds),))


def _mapping(name: str, found: Found2) -> Step[Action]:
    bucket = found.buckets.get(name)
    for one in found.mappings.get(name, ()):
        if bucket and one.is_default and one.bucket_id == bucket.id:
            return Step("=", f"database {name} of InfluxQL is bucket {name}")
    # One that is another's default is no longer that: the server sees to it.
    text = f"map database {name} of InfluxQL to bucket {name}"
    return Step("~" if found.mappings.get(name) else "+", text, (MapDatabase(name),))


def _task(config: Influx2Config, there: Task | None) -> list[Step[Action]]:
    name = task_name(config.bucket)
    if not config.retention.tiers:
        if there is None or not there.active:
            return []
        return [Step("~", f"stop task {name}: retention.tiers is 0", (StopTask(there.id),))]
    flux = task(config.bucket, config.windows_bucket, config.org)
    if there is None:
        return [Step("+", f"create task {name}", (MakeTask(flux),))]
    if there.flux.split() != flux.split():
        return [Step("~", f"task {name}: is another, is rewritten", (SetTask(there.id, flux),))]
    if not there.active:
        return [Step("~", f"task {name}: inactive → active", (SetTask(there.id, flux),))]
    return [Step("=", f"task {name}")]


def _token(path: Path, buckets: tuple[str, ...], *, there: bool) -> Step[Action]:
    if there:
        return Step("=", f"token in {path}")
    may = " and ".join(buckets)
    text = f"create a token that may read and write {may}, and nothing else, in {path}"
    return Step("+", text, (MakeToken(buckets, path),))
