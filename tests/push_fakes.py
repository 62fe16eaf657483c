"""An API to push to."""

import json
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from tests.api_fakes import Api, bearer

PATH = "/api/v1/metrics"
TEXT = {"Content-Type": "text/plain; version=0.0.4"}


class Push:
    """An API that web1 may push to, and its key."""

    def __init__(self, folder: Path, **push: Any) -> None:
        servers = [{"name": "web1", "labels": {"site": "north"}}, {"name": "web2"}]
        self.api = Api(folder, push={"servers": servers, **push})
        self.key = self.api.key("push", "web1")

    def json(self, document: Any, key: str = "") -> TestResponse:
        return self.raw(json.dumps(document).encode(), {"Content-Type": "application/json"}, key)

    def samples(self, *samples: Any, **more: Any) -> TestResponse:
        return self.json({"server": "web1", "samples": samples, **more})

    def text(self, body: str, query: str = "?server=web1", **headers: str) -> TestResponse:
        return self.raw(body.encode(), {**TEXT, **headers}, query=query)

    def raw(
        self, body: bytes, headers: dict[str, str], key: str = "", query: str = ""
    ) -> TestResponse:
        return self.api.client().post(
            PATH + query, data=body, headers={**headers, **bearer(key or self.key)}
        )

    def stored(self) -> dict[str, list[tuple[int, float]]]:
        """What clients sent, without the lines that the API adds, by series."""
        found: dict[str, list[tuple[int, float]]] = {}
        for (name, at_ms), value in sorted(self.api.writer.samples().items()):
            if not name.startswith(("up{", "fleetpulse_push_")):
                found.setdefault(name, []).append((at_ms, value))
        return found
