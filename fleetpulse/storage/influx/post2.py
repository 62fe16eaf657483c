"""One POST /api/v2/write by influxdb-client, and what its answer means."""

from typing import Any

from influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from fleetpulse.storage.influx.answers import TAKEN, refused
from fleetpulse.storage.influx.config import Influx2Config
from fleetpulse.storage.sending import SendError
from fleetpulse.yamldoc import read_secret

_MEND = "storage.token, org and bucket, and that the token may write there"


def client_of(config: Influx2Config) -> Any:
    """No retries: they are Drain's. It also means that no redirect is followed."""
    return InfluxDBClient(
        url=config.url,
        token=read_secret(config.token, config.token_file) or "",
        org=config.org,
        enable_gzip=config.gzip,
        verify_ssl=not config.insecure_skip_verify,
        ssl_ca_cert=str(config.ca_file) if config.ca_file else None,
        retries=False,
    )


class Influx2Post:
    """drain.Send. One caller at a time: the client has a single time limit for all its requests."""

    def __init__(self, config: Influx2Config) -> None:
        self._bucket, self._org = config.bucket, config.org
        self._name = f"influxdb2 at {config.url}"
        self._client = client_of(config)
        # Not its write_api: that does not tell an InfluxDB's answer from any other's 200.
        self._service: Any = WriteService(self._client.api_client)

    def __call__(self, lines: bytes, timeout: float) -> None:
        self._client.conf.timeout = max(1, round(timeout * 1000))
        try:
            _, status, headers = self._service.post_write_with_http_info(
                self._org, self._bucket, lines, precision="ms",
                content_type="text/plain; charset=utf-8",
            )  # fmt: skip
        except ApiException as err:
            body = err.body if isinstance(err.body, bytes) else str(err.body or err.reason).encode()
            raise refused(self._name, _MEND, err.status, err.headers or {}, body) from err
        except (HTTPError, OSError, ValueError) as err:
            raise SendError(f"{self._name}: cannot be reached: {err}; check storage.url") from err
        if status != TAKEN:
            raise refused(self._name, _MEND, status, headers, b"")

    def close(self) -> None:
        self._client.close()
