"""Looks at an InfluxDB 2 and carries a plan out, all through influxdb-client."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from influxdb_client import (
    BucketRetentionRules,
    Permission,
    PermissionResource,
    TaskCreateRequest,
    TaskUpdateRequest,
)
from influxdb_client.domain.dbrp_create import DBRPCreate
from influxdb_client.rest import ApiException
from influxdb_client.service.dbr_ps_service import DBRPsService
from urllib3.exceptions import HTTPError

from fleetpulse.errors import StorageError
from fleetpulse.storage.embedded.windows import DAY_MS, WINDOW_MS
from fleetpulse.storage.influx.answers import said_in
from fleetpulse.storage.influx.config import Influx2Config
from fleetpulse.storage.influx.downsample import fold_flux, task_name
from fleetpulse.storage.influx.plan import Step, kept_seconds
from fleetpulse.storage.influx.post2 import client_of
from fleetpulse.storage.influx.setup2 import (
    POLICY,
    Action,
    Bucket,
    Found2,
    MakeBucket,
    MakeTask,
    MakeToken,
    MapDatabase,
    Mapping2,
    SetRetention,
    SetTask,
    StopTask,
    Task,
    plan2,
)

_LONGEST = 300.0  # seconds for one statement of a backfill


class Influx2Setup:
    """Not for several threads. admin: config with a token that may manage the organization."""

    def __init__(
        self,
        config: Influx2Config,
        admin: Influx2Config,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._now = config, now
        self.name = f"influxdb2 at {config.url}"
        self._client = client_of(admin)
        self._client.conf.timeout = round(config.query_timeout * 1000)
        self._dbrps: Any = DBRPsService(self._client.api_client)

    def plan(self) -> Sequence[Step[Action]]:
        return plan2(self._config, self.look())

    def carry_out(self, step: Step[Action]) -> None:
        with self._translated():
            for action in step.do:
                self._do(action)

    def look(self) -> Found2:
        config = self._config
        with self._translated():
            org = self._org()
            names = [config.bucket, config.windows_bucket]
            found = {name: self._bucket(org, name) for name in names}
            path = config.token_file
            return Found2(
                {name: _bucket(one) for name, one in found.items() if one is not None},
                {name: self._mappings(org, name) for name in names},
                self._task(org),
                path is None or path.exists(),
            )

    def backfill(self) -> Iterator[tuple[int, int, int]]:
        """Makes the windows of all samples that are kept: (done, of, 0) by turn."""
        config = self._config
        spans = self._spans()
        api = self._client.query_api()
        self._client.conf.timeout = round(max(_LONGEST, config.query_timeout) * 1000)
        for done, (start, end) in enumerate(spans, 1):
            flux = fold_flux(config.bucket, config.windows_bucket, config.org, start, end)
            with self._translated():
                answer = api.query_raw(flux)
                while answer.read(1 << 20):  # what was written comes back: nobody wants it
                    pass
            yield done, len(spans), 0

    def _spans(self) -> list[tuple[int, int]]:
        """Days, and the beginning one, of which windows are kept."""
        keeps = self._config.retention
        last = round(self._now() * 1000) // WINDOW_MS * WINDOW_MS
        longest = min(kept_seconds(keeps.raw), kept_seconds(keeps.tiers) - 3600) * 1000
        first = (last - longest) // WINDOW_MS * WINDOW_MS
        return [(at, min(at + DAY_MS, last)) for at in range(first, last, DAY_MS)]

    def close(self) -> None:
        self._client.close()

    def _do(self, action: Action) -> None:
        org = self._org()
        tasks, buckets = self._client.tasks_api(), self._client.buckets_api()
        match action:
            case MakeBucket(name, seconds):
                buckets.create_bucket(bucket_name=name, org=org, retention_rules=_rules(seconds))
            case SetRetention(name, seconds):
                bucket = self._known(org, name)
                bucket.retention_rules = _rules(seconds)
                buckets.update_bucket(bucket)
            case MapDatabase(name):
                self._map(org, name)
            case MakeTask(flux):
                request = TaskCreateRequest(org_id=org, flux=flux, status="active")
                tasks.create_task(task_create_request=request)
            case SetTask(task_id, flux):
                tasks.update_task_request(task_id, TaskUpdateRequest(flux=flux, status="active"))
            case StopTask(task_id):
                tasks.update_task_request(task_id, TaskUpdateRequest(status="inactive"))
            case MakeToken(names, path):
                self._make_token(org, names, path)

    def _org(self) -> str:
        """Its id. By name: a token that may not list organizations sees its own."""
        wanted = self._config.org
        for one in self._client.organizations_api().find_organizations(org=wanted) or ():
            if wanted in (one.name, one.id):
                return str(one.id)
        mend = "check storage.url and org, and the token"
        told = f"{self.name}: no organization {wanted!r} to see; {mend}"
        raise StorageError(told, retriable=False)

    def _bucket(self, org: str, name: str) -> Any:
        try:
            found = self._client.buckets_api().find_buckets(name=name, org_id=org).buckets or []
        except ApiException as err:
            if err.status == 404:  # 2.7 says so of a name that no bucket has
                return None
            raise
        return next((one for one in found if one.name == name), None)

    def _known(self, org: str, name: str) -> Any:
        found = self._bucket(org, name)
        if found is None:
            told = f"{self.name}: bucket {name} is gone; run setup again"
            raise StorageError(told, retriable=False)
        return found

    def _mappings(self, org: str, name: str) -> list[Mapping2]:
        """Those that the server has by itself for a bucket's name are no promise: left out."""
        found = self._dbrps.get_dbr_ps(org_id=org, db=name).content or []
        return [
            Mapping2(one.bucket_id, one.retention_policy, bool(one.default))
            for one in found
            if one.database == name and not one.virtual
        ]

    def _map(self, org: str, name: str) -> None:
        bucket = self._known(org, name)
        wanted = DBRPCreate(
            org_id=org, bucket_id=bucket.id, database=name, retention_policy=POLICY, default=True
        )
        for one in self._dbrps.get_dbr_ps(org_id=org, db=name).content or []:
            if one.database == name and one.retention_policy == POLICY and not one.virtual:
                self._dbrps.delete_dbrpid(one.id, org_id=org)
        self._dbrps.post_dbrp(wanted)

    def _task(self, org: str) -> Task | None:
        name = task_name(self._config.bucket)
        found = self._client.tasks_api().find_tasks(name=name, org_id=org) or []
        for one in found:
            if one.name == name:
                return Task(one.id, one.flux, one.status == "active")
        return None

    def _make_token(self, org: str, names: Sequence[str], path: Path) -> None:
        """The file first: a token that cannot be kept is none that should be there."""
        permissions = [
            Permission(
                action=action,
                resource=PermissionResource(
                    type="buckets", id=self._known(org, name).id, org_id=org
                ),
            )
            for name in names
            for action in ("read", "write")
        ]
        try:
            with _new_secret(path) as file:
                api = self._client.authorizations_api()
                made = api.create_authorization(org_id=org, permissions=permissions)
                file.write(f"{made.token}\n".encode())
        except OSError as err:
            told = f"{path}: cannot be written: {err.strerror}; mend it and run setup again"
            raise StorageError(told, retriable=False) from err

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ApiException as err:
            raise self._refused(err) from err
        except (HTTPError, OSError, ValueError) as err:
            told = f"{self.name}: cannot be reached, or is no InfluxDB 2: {err}; check storage.url"
            raise StorageError(told, retriable=True) from err

    def _refused(self, err: Any) -> StorageError:
        body = err.body if isinstance(err.body, bytes) else str(err.body or err.reason).encode()
        told = f"{self.name}: HTTP {err.status}: {said_in(body)}"
        if err.status in (401, 403):
            told += "; this needs a token that may manage the organization: --admin-secret-file"
        elif err.status == 404 or body.lstrip()[:1] == b"<":
            told += "; check storage.url and org (InfluxDB 3 has no such API: see docs/influxdb.md)"
        return StorageError(told, retriable=err.status >= 500)


def _rules(seconds: int) -> list[Any]:
    return [BucketRetentionRules(type="expire", every_seconds=seconds)]


def _bucket(one: Any) -> Bucket:
    rules = [rule.every_seconds or 0 for rule in one.retention_rules or [] if rule.type == "expire"]
    return Bucket(one.id, rules[0] if rules else 0)


@contextmanager
def _new_secret(path: Path) -> Iterator[Any]:
    """A new file, for its owner's eyes; gone again where what should be in it did not come."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(opened, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
