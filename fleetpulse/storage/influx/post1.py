"""One POST /write of InfluxDB 1, and what its answer means."""

import gzip

from fleetpulse.storage.influx.answers import TAKEN, refused
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.http1 import CannotReachError, Influx1Http
from fleetpulse.storage.sending import SendError

_MEND = "storage.database, retention_policy, username and password, and that the user may write"


class Influx1Post:
    """drain.Send."""

    def __init__(self, config: Influx1Config) -> None:
        self._http, self._gzip = Influx1Http(config), config.gzip
        self._name = f"influxdb1 at {config.url}"
        given = {"rp": config.retention_policy, "consistency": config.consistency}
        self._params = {"db": config.database, "precision": "ms"} | {
            key: value for key, value in given.items() if value
        }
        self._headers = {"Content-Type": "text/plain; charset=utf-8"}
        if self._gzip:
            self._headers["Content-Encoding"] = "gzip"

    def __call__(self, lines: bytes, timeout: float) -> None:
        body = gzip.compress(lines, 1) if self._gzip else lines
        try:
            answer = self._http.post("/write", self._params, body, timeout, self._headers)
        except CannotReachError as err:
            raise SendError(f"{self._name}: {err}; check storage.url") from err
        if answer.status != TAKEN:
            raise refused(self._name, _MEND, answer.status, answer.headers, answer.body)

    def close(self) -> None:
        self._http.close()
