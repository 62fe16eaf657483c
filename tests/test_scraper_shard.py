"""Sharding: every target has exactly one scraper, and few move when there is one more."""

from collections import Counter

import pytest

from fleetpulse.errors import ConfigError
from scraper.shard import own_targets, shard_of
from scraper.shardconfig import ShardConfig
from tests.scraper_fakes import config_of, job_of, target_of

ADDRESSES = [f"10.0.{i // 250}.{i % 250}:9100" for i in range(2000)]
TARGETS = [target_of(job_of(), address) for address in ADDRESSES]


def test_every_target_is_in_exactly_one_shard_and_the_parts_are_alike() -> None:
    parts = [own_targets(TARGETS, ShardConfig(index=index, of=4)) for index in range(4)]
    assert Counter(t.url for part in parts for t in part) == Counter(t.url for t in TARGETS)
    assert all(400 < len(part) < 600 for part in parts)


def test_one_shard_more_takes_its_part_and_moves_nothing_else() -> None:
    before = [shard_of(address, 4) for address in ADDRESSES]
    after = [shard_of(address, 5) for address in ADDRESSES]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {4}
    assert 300 < len(moved) < 500


def test_a_targets_shard_is_the_same_in_every_process() -> None:
    assert [shard_of(f"web-{i}:9100", 4) for i in range(8)] == [3, 1, 0, 0, 1, 0, 0, 2]


def test_all_pages_of_a_host_are_in_the_same_shard() -> None:
    for address in ADDRESSES[:50]:
        pages = [target_of(job_of(metrics_path=path), address) for path in ("/metrics", "/probe")]
        assert {len(own_targets(pages, ShardConfig(index=i, of=3))) for i in range(3)} == {0, 2}


def test_a_shard_beyond_the_last_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="of 4 shards the last is 3"):
        config_of("shard: {index: 4, of: 4}\n")
