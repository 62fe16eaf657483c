"""Several scrapers share the targets: each takes those whose address falls to it."""

import hashlib
from collections.abc import Iterable
from urllib.parse import urlsplit

from scraper.shardconfig import ShardConfig
from scraper.targets import Target


def shard_of(address: str, shards: int) -> int:
    """The shard of an address (HOST:PORT).

    Rendezvous hashing: the shard with the highest hash has it. With one shard more each of the
    others gives up its part for it, and none of the others' targets change hands.
    """
    if shards == 1:
        return 0
    base = hashlib.blake2b(address.encode(), digest_size=8)

    def weight(shard: int) -> bytes:
        hasher = base.copy()
        hasher.update(b"\xff%d" % shard)
        return hasher.digest()

    return max(range(shards), key=weight)


def own_targets(targets: Iterable[Target], shard: ShardConfig) -> tuple[Target, ...]:
    """Those that are this scraper's. All pages of an address fall to the same one."""
    if shard.of == 1:
        return tuple(targets)
    return tuple(t for t in targets if shard_of(urlsplit(t.url).netloc, shard.of) == shard.index)
