"""InfluxDB 2's management API as it is documented, so far as setup uses it, in memory.

Source: https://docs.influxdata.com/influxdb/v2/api/ (orgs, buckets, dbrps, tasks, authorizations).
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http_fakes import Got, Loopback, Told

ORG = "0a0a0a0a0a0a0a0a"
ADMIN = "admin-token"
Json = dict[str, Any]


class FakeInflux2(Loopback):
    """One organization, `fleet`. What is made is in .buckets and so on; calls are in .calls."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets: list[Json] = []
        self.dbrps: list[Json] = []
        self.tasks: list[Json] = []
        self.authorizations: list[Json] = []
        self.queries: list[str] = []
        self.calls: list[str] = []
        self.virtual = True  # as since 2.2: a bucket's name is a database by itself

    def answer_to(self, got: Got) -> Told:
        body = json.loads(got.body) if got.body else {}
        token = got.headers.get("Authorization", "")
        status, answer = self.answer(got.method, got.path, token, body)
        raw = b"" if answer is None else json.dumps(answer).encode()
        return Told(status, raw, {"Content-Type": "application/json; charset=utf-8"})

    def answer(self, method: str, path: str, token: str, body: Json) -> tuple[int, Json | None]:
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        kind, _, one = parts.path.removeprefix("/api/v2/").partition("/")
        self.calls.append(f"{method} {kind}")
        if token != f"Token {ADMIN}":
            return 401, {"code": "unauthorized", "message": "unauthorized access"}
        found = getattr(self, f"_{kind}")(method, asked, one, body)
        assert isinstance(found, tuple)
        return found

    def _orgs(self, _method: str, asked: Json, _one: str, _body: Json) -> tuple[int, Json]:
        if asked.get("org", "fleet") != "fleet":
            return 404, {"code": "not found", "message": f"organization {asked['org']} not found"}
        return 200, {"orgs": [{"id": ORG, "name": "fleet"}]}

    def _buckets(self, method: str, asked: Json, one: str, body: Json) -> tuple[int, Json]:
        if method == "GET":
            assert asked["orgID"] == ORG
            found = [b for b in self.buckets if b["name"] == asked["name"]]
            if not found:  # as 2.7 says it
                return 404, {"code": "not found", "message": f'bucket "{asked["name"]}" not found'}
            return 200, {"buckets": found}
        if method == "POST":
            self.buckets.append({**body, "id": f"b{len(self.buckets)}", "type": "user"})
            return 201, self.buckets[-1]
        (bucket,) = [b for b in self.buckets if b["id"] == one]
        bucket |= {key: body[key] for key in ("retentionRules",)}
        return 200, bucket

    def _dbrps(self, method: str, asked: Json, one: str, body: Json) -> tuple[int, Json | None]:
        if method == "GET":
            made = [d for d in self.dbrps if d["database"] == asked["db"]]
            names = [b for b in self.buckets if b["name"] == asked["db"] and self.virtual]
            by_itself = [_dbrp(b["id"], b["name"], "v", virtual=True) for b in names]
            return 200, {"content": made or by_itself}
        if method == "POST":
            made_id = f"d{len(self.dbrps)}"
            new = _dbrp(body["bucketID"], body["database"], made_id, virtual=False)
            self.dbrps.append(new | {"default": body["default"]})
            return 201, self.dbrps[-1]
        self.dbrps = [d for d in self.dbrps if d["id"] != one]
        return 204, None

    def _tasks(self, method: str, asked: Json, one: str, body: Json) -> tuple[int, Json]:
        if method == "GET":
            return 200, {"tasks": [t for t in self.tasks if t["name"] == asked["name"]]}
        if method == "POST":
            named = re.search(r'name: "([^"]*)"', body["flux"])
            assert named is not None
            new = {"id": f"t{len(self.tasks)}", "name": named[1], "orgID": ORG}
            self.tasks.append(new | {"flux": body["flux"], "status": body["status"]})
            return 201, self.tasks[-1]
        (task,) = [t for t in self.tasks if t["id"] == one]
        task |= body
        return 200, task

    def _authorizations(
        self, _method: str, _asked: Json, _one: str, body: Json
    ) -> tuple[int, Json]:
        self.authorizations.append(body)
        made = {"id": "a0", "orgID": ORG, "status": "active", "token": "the-new-token"}
        return 201, {**made, "permissions": body["permissions"]}

    def _query(self, _method: str, asked: Json, _one: str, body: Json) -> tuple[int, Json]:
        assert asked["org"] == "fleet"
        self.queries.append(body["query"])
        return 200, {}


def _dbrp(bucket: str, database: str, made_id: str, *, virtual: bool) -> Json:
    return {
        "id": made_id,
        "orgID": ORG,
        "bucketID": bucket,
        "database": database,
        "retention_policy": "autogen",
        "default": True,
        "virtual": virtual,
    }
