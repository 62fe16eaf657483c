"""Opens the way into a store that takes remote write or line protocol."""

from pathlib import Path

from prometheus_client import CollectorRegistry

from fleetpulse.storage.promapi.client import PromApiClient
from fleetpulse.storage.promapi.codec import codec_of
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.storage.promapi.sender import NameCheck, Sender
from fleetpulse.storage.sending import Send
from fleetpulse.storage.spooled import Describe, SpooledWriter


def open_writer(
    config: PromApiConfig,
    spool_path: Path,
    registry: CollectorRegistry,
    client: PromApiClient,
    describe: Describe = lambda _metadata: None,
    check: NameCheck | None = None,
) -> SpooledWriter:
    """StartError where the spool cannot be opened. The client is not closed by the writer."""
    codec = codec_of(config)
    send: Send = Sender(config, codec, client.session)
    if config.protocol == "influx":  # remote write has names as they are
        send = _Checked(send, check or NameCheck(client))
    return SpooledWriter(config, codec, send, spool_path, registry, describe=describe)


class _Checked:
    """drain.Send that looks first whether metrics keep their names."""

    def __init__(self, send: Send, check: NameCheck) -> None:
        self._send, self._check = send, check

    def __call__(self, lines: bytes, timeout: float) -> None:
        self._check.check(lambda line: self._send(line, timeout))
        self._send(lines, timeout)
