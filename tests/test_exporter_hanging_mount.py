"""A real FUSE mount whose server falls silent, and what the page is then."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.collectors.base import Host
from exporter.collectors.filesystem import FilesystemCollector
from exporter.page import TEXT, render
from exporter.registry import Registry
from exporter.statvfs.asker import Asker
from exporter.statvfs.process import statvfs
from tests import fuse_mount
from tests.exporter_fakes import FakeCollector, samples
from tests.fuse_mount import FuseMount
from tests.support import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(fuse_mount.why_not()), reason=fuse_mount.why_not() or "-"),
]

TIMEOUT = 1.0  # of the mounts, seconds
DEADLINE = 10.0  # of the collector

Page = dict[str, float]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FuseMount]:
    # White space, so that a mount is found by its true name.
    with fuse_mount.fuse_mount(tmp_path / "a share") as mounted:
        yield mounted


@pytest.fixture
def asker(mount: FuseMount) -> Iterator[Asker]:
    asker = Asker(TIMEOUT)
    yield asker
    mount.close()  # what was asking wakes up, and can be buried
    asker.close()
    assert asker.children == 0


@pytest.fixture
def registry(asker: Asker, tmp_path: Path) -> Iterator[Registry]:
    places = re.compile(f"^(/|{re.escape(str(tmp_path))}/.*)$")
    collector = FilesystemCollector(Host(), mount_points_include=places, asker=asker)
    registry = Registry([collector, FakeCollector("other", lambda: ())], DEADLINE)
    yield registry
    registry.close()


def page_of(registry: Registry) -> Page:
    page = samples(render(registry.gather(), TEXT).decode())
    for name in ("filesystem", "other"):
        assert page[f'node_scrape_collector_success{{collector="{name}"}}'] == 1
    root = [name for name in page if 'mountpoint="/"' in name and "device_error" in name]
    assert [page[name] for name in root] == [0] * len(root)
    return page


def figures(page: Page, mount: FuseMount) -> Page:
    labels = f'{{device="silent-server",fstype="fuse.test",mountpoint="{mount.place}"}}'
    return {
        name.removesuffix(labels).removeprefix("node_filesystem_"): value
        for name, value in page.items()
        if name.endswith(labels)
    }


ERROR = {"readonly": 0, "device_error": 1}
GOOD = {
    "size_bytes": fuse_mount.SIZE,
    "free_bytes": fuse_mount.FREE,
    "avail_bytes": fuse_mount.AVAIL,
    "files": fuse_mount.FILES,
    "files_free": fuse_mount.FILES_FREE,
    "readonly": 0,
    "device_error": 0,
}


def timed_page(registry: Registry) -> tuple[Page, float]:
    begun = time.monotonic()
    page = page_of(registry)
    return page, time.monotonic() - begun


@pytest.mark.parametrize("trouble", [FuseMount.fall_silent, FuseMount.freeze])
def test_a_server_falls_silent_and_answers_again(
    mount: FuseMount, registry: Registry, asker: Asker, trouble: Callable[[FuseMount], None]
) -> None:
    assert figures(page_of(registry), mount) == GOOD
    trouble(mount)
    page, seconds = timed_page(registry)
    assert figures(page, mount) == ERROR
    assert TIMEOUT <= seconds < DEADLINE
    later = [timed_page(registry) for _ in range(5)]
    assert [figures(page, mount) for page, _ in later] == [ERROR] * 5
    assert min(seconds for _, seconds in later) < TIMEOUT / 4, "it is skipped"
    assert asker.children == 1, "and nobody else is sent there"
    mount.speak()
    wait_for("the mount's figures", lambda: figures(page_of(registry), mount) == GOOD)
    assert asker.children == 1


def test_a_server_that_dies_wakes_who_waits(mount: FuseMount, registry: Registry) -> None:
    mount.fall_silent()
    assert figures(page_of(registry), mount) == ERROR
    mount.close()
    wait_for("the mount's end", lambda: figures(page_of(registry), mount) == {})


def test_close_leaves_none_behind_that_can_be_killed(
    mount: FuseMount, registry: Registry, asker: Asker
) -> None:
    mount.freeze()  # a request that the server has not taken can be taken back
    assert figures(page_of(registry), mount) == ERROR
    asker.close()
    assert asker.children == 0


def test_close_does_not_wait_for_one_that_cannot_be_killed(
    mount: FuseMount, registry: Registry, asker: Asker
) -> None:
    mount.fall_silent()
    assert figures(page_of(registry), mount) == ERROR
    begun = time.monotonic()
    registry.close()
    assert time.monotonic() - begun < 5
    mount.speak()

    def gone() -> bool:
        asker.close()
        return asker.children == 0

    wait_for("the child's end", gone)


def test_without_a_child_it_would_hang_the_exporter(mount: FuseMount) -> None:
    """What the children are for: the mount is as bad as it is said to be."""
    mount.freeze()
    registry = Registry(
        [
            FilesystemCollector(
                Host(),
                mount_points_include=re.compile(re.escape(str(mount.place))),
                asker=Inline(),  # type: ignore[arg-type]
            )
        ],
        0.3,
    )
    page = samples(render(registry.gather(), TEXT).decode())
    assert page['node_scrape_collector_success{collector="filesystem"}'] == 0
    mount.speak()
    key = 'node_scrape_collector_success{collector="filesystem"}'
    wait_for("the thread", lambda: samples(render(registry.gather(), TEXT).decode())[key] == 1)
    registry.close()


class Inline:
    """Asks in the collector's own thread."""

    def ask(self, mounts: dict[bytes, object]) -> dict[bytes, object]:
        return {path: statvfs(path) for path in mounts}

    def close(self) -> None:
        """Nothing to close."""
