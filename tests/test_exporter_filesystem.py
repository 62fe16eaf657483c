"""node_filesystem_* of made-up mounts."""

import errno
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.block import Block
from exporter.collectors.base import Host
from exporter.collectors.filesystem import FilesystemCollector
from exporter.page import TEXT
from exporter.statvfs.process import Figures
from tests.exporter_fakes import page_of
from tests.statvfs_fakes import FIGURES, World, statvfs

MOUNTS = """/dev/sda1 / ext4 rw,relatime 0 0
tmpfs /run tmpfs ro,nosuid 0 0
nas:/share /srv/share nfs4 rw 0 0
/dev/sdb /srv/share/disk ext4 rw 0 0
"""
ROOT, RUN, SHARE, DISK = (
    f'{{device="{device}",fstype="{fstype}",mountpoint="{place}"}}'
    for device, place, fstype, *_ in map(str.split, MOUNTS.splitlines())
)


@pytest.fixture
def world() -> World:
    return World()


def host_of(folder: Path, mounts: str = MOUNTS, process: str = "1", root: str = "/") -> Host:
    (folder / process).mkdir(exist_ok=True)
    (folder / process / "mounts").write_text(mounts)
    return Host(procfs=folder, rootfs=root)


def values(page: dict[str, float], labels: str) -> dict[str, float]:
    prefix = "node_filesystem_"
    return {
        name.removesuffix(labels).removeprefix(prefix): value
        for name, value in page.items()
        if name.endswith(labels)
    }


def test_all_that_is_told_of_a_mount(world: World, tmp_path: Path) -> None:
    collector = FilesystemCollector(host_of(tmp_path), local=statvfs, asker=world.asker())
    page = page_of(collector.collect())
    good = {
        "size_bytes": 4096000,
        "free_bytes": 1638400,
        "avail_bytes": 1433600,
        "files": 500,
        "files_free": 123,
        "device_error": 0,
    }
    assert values(page, ROOT) == values(page, SHARE) == values(page, DISK) == good | {"readonly": 0}
    assert values(page, RUN) == good | {"readonly": 1}
    assert len(page) == 4 * len(good | {"readonly": 1})


def test_only_what_may_hang_is_asked_by_a_child(world: World, tmp_path: Path) -> None:
    here: list[bytes] = []

    def local(path: bytes) -> Figures:
        here.append(path)
        return FIGURES

    host = host_of(tmp_path, root="/host")
    collector = FilesystemCollector(host, local=local, asker=world.asker())
    page_of(collector.collect())
    assert here == [b"/host/", b"/host/run"]
    (child,) = world.children
    assert child.asked == [b"/host/srv/share", b"/host/srv/share/disk"]


def test_local_mounts_alone_take_no_child(world: World, tmp_path: Path) -> None:
    host = host_of(tmp_path, MOUNTS[: MOUNTS.index("nas")])
    page_of(FilesystemCollector(host, local=statvfs, asker=world.asker()).collect())
    assert not world.children


def test_what_a_left_out_mount_hides_may_hang_all_the_same(world: World, tmp_path: Path) -> None:
    collector = FilesystemCollector(
        host_of(tmp_path), fs_types_exclude=re.compile("nfs"), local=statvfs, asker=world.asker()
    )
    page = page_of(collector.collect())
    assert not values(page, SHARE)
    assert world.children[0].asked == [b"/srv/share/disk"]


def test_a_silent_mount_has_an_error_and_no_figures(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    collector = FilesystemCollector(host_of(tmp_path), local=statvfs, asker=world.asker())
    block = Block()
    world.silent = {b"/srv/share", b"/srv/share/disk"}
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            page = page_of(collector.collect())
            assert values(page, SHARE) == values(page, DISK) == {"readonly": 0, "device_error": 1}
            assert values(page, ROOT)["size_bytes"] == 4096000
        world.silent = {b"/srv/share/disk"}
        part, _ = block.take(collector.collect())
        world.silent = set()
        page_of(collector.collect())
    assert f"node_filesystem_size_bytes{SHARE} 4096000\n" in part.text(TEXT)
    assert [record.getMessage() for record in caplog.records] == [
        "mount /srv/share: no answer in time",
        "mount /srv/share/disk: no answer in time",
        "mount /srv/share answers again",
        "mount /srv/share/disk answers again",
    ]


def test_of_very_many_mounts_that_fail_a_few_are_named(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = "".join(f"/dev/x{n} /gone/{n} ext4 rw 0 0\n" for n in range(2000))
    failing = True

    def local(path: bytes) -> Figures:
        if failing:
            raise OSError(errno.EIO, "Input/output error")
        return statvfs(path)

    collector = FilesystemCollector(host_of(tmp_path, lines), local=local, asker=world.asker())
    with caplog.at_level(logging.INFO):
        page = page_of(collector.collect())
        failing = False
        page_of(collector.collect())
    assert sum(value for name, value in page.items() if "device_error" in name) == 2000
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 22
    assert told[9:11] == ["mount /gone/9: Input/output error", "and 1990 further mounts fail"]
    assert told[20:] == ["mount /gone/9 answers again", "and 1990 further mounts answer again"]


def test_an_error_of_a_local_mount(world: World, tmp_path: Path) -> None:
    host = host_of(tmp_path, "/dev/sda1 / ext4 rw 0 0\n/dev/sdb /srv/nas xfs rw 0 0\n")
    page = page_of(FilesystemCollector(host, local=statvfs, asker=world.asker()).collect())
    bad = '{device="/dev/sdb",fstype="xfs",mountpoint="/srv/nas"}'
    assert values(page, bad) == {"readonly": 0, "device_error": 1}


def test_mounts_are_the_first_process_or_else_our_own(tmp_path: Path, world: World) -> None:
    host = host_of(tmp_path, process="self")
    page = page_of(FilesystemCollector(host, local=statvfs, asker=world.asker()).collect())
    assert values(page, ROOT)["device_error"] == 0


def test_a_change_of_the_mounts_is_seen(tmp_path: Path, world: World) -> None:
    host = host_of(tmp_path)
    collector = FilesystemCollector(host, local=statvfs, asker=world.asker())
    world.silent = {b"/srv/share"}
    page_of(collector.collect())
    host_of(tmp_path, MOUNTS[: MOUNTS.index("nas")])
    page = page_of(collector.collect())
    assert (values(page, SHARE), values(page, RUN)["readonly"]) == ({}, 1)
    assert world.alive == 0


def test_without_mounts_there_is_nothing_to_tell(tmp_path: Path, world: World) -> None:
    collector = FilesystemCollector(host_of(tmp_path, ""), local=statvfs, asker=world.asker())
    assert page_of(collector.collect()) == {}


PATTERNS = [
    pytest.param({"mount_points_exclude": "^/srv"}, [ROOT, RUN], id="not these places"),
    pytest.param({"fs_types_exclude": "^ext4$"}, [RUN, SHARE], id="not these types"),
    pytest.param({"mount_points_include": "^/srv"}, [SHARE, DISK], id="only these places"),
    pytest.param({"fs_types_include": "^(nfs4|tmpfs)$"}, [RUN, SHARE], id="only these types"),
    pytest.param(
        {"mount_points_include": "^/srv", "fs_types_exclude": "^nfs"}, [DISK], id="both must agree"
    ),
]


@pytest.mark.parametrize(("patterns", "expected"), PATTERNS)
def test_patterns(
    patterns: dict[str, str], expected: Sequence[str], tmp_path: Path, world: World
) -> None:
    compiled: dict[str, Any] = {name: re.compile(text) for name, text in patterns.items()}
    collector = FilesystemCollector(
        host_of(tmp_path), **compiled, local=statvfs, asker=world.asker()
    )
    page = page_of(collector.collect())
    assert [labels for labels in (ROOT, RUN, SHARE, DISK) if values(page, labels)] == expected


def test_the_real_mounts_of_this_host() -> None:
    collector = FilesystemCollector(Host(), fs_types_include=re.compile("^(ext4|xfs|tmpfs|btrfs)$"))
    try:
        sizes = [rows for family, rows in collector.collect() if family.name.endswith("size_bytes")]
    finally:
        collector.close()
    told = os.statvfs("/")
    for rows in sizes:
        assert isinstance(rows, dict)
        root = [value for (_, _, place), value in rows.items() if place == "/"]
        assert root in ([], [told.f_blocks * told.f_frsize])


@given(raw=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_broken_mounts_are_a_value_error_or_a_page(raw: bytes, tmp_path: Path) -> None:
    host = host_of(tmp_path)
    (tmp_path / "1/mounts").write_bytes(b"/dev/sda1 / ext4 rw 0 0\nx /y nfs rw 0 0\n" + raw)
    collector = FilesystemCollector(host, local=statvfs, asker=World().asker())
    try:
        part, dropped = Block().take(collector.collect())
    except ValueError as err:
        assert "not a mount" in str(err)  # noqa: PT017 - either is right
        return
    assert not dropped
    part.text(TEXT).encode()
