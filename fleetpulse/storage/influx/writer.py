"""Opens the way into InfluxDB: lines in a spool, from which one thread sends them."""

from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

from fleetpulse.storage.influx.codec import InfluxCodec
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.influx.post1 import Influx1Post
from fleetpulse.storage.sending import Send
from fleetpulse.storage.spooled import Describe, SpooledWriter


def open_writer(
    config: Influx1Config | Influx2Config,
    spool_path: Path,
    registry: CollectorRegistry,
    describe: Describe = lambda _metadata: None,
) -> SpooledWriter:
    """StartError where the spool cannot be opened."""
    post = _post_of(config)
    codec = InfluxCodec()
    return SpooledWriter(
        config, codec, post, spool_path, registry, describe=describe, on_close=post.close
    )


class _Post(Send, Protocol):
    def close(self) -> None: ...


def _post_of(config: Influx1Config | Influx2Config) -> _Post:
    if isinstance(config, Influx1Config):
        return Influx1Post(config)
    # Not above: its library takes 20 MB.
    from fleetpulse.storage.influx.post2 import Influx2Post

    return Influx2Post(config)
