"""The whole exporter, scraped over HTTP, while a mount's server is silent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from tests import fuse_mount
from tests.exporter_fakes import samples
from tests.fuse_mount import FuseMount
from tests.support import Process, free_port, wait_for, wait_ready

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(fuse_mount.why_not()), reason=fuse_mount.why_not() or "-"),
]

MOUNT_TIMEOUT, COLLECTOR_TIMEOUT = "1s", "20s"
DEADLINE = 15.0  # seconds for a page, below the collector's


@contextmanager
def exporter(folder: Path, port: int) -> Iterator[Process]:
    """With the collectors that tell of the mount, and of whether the others go on."""
    config = folder / "exporter.yml"
    config.write_text(f"exporter: {{collector_timeout: {COLLECTOR_TIMEOUT}}}")
    flags = [
        *("--collector.disable-defaults", "--collector.filesystem", "--collector.loadavg"),
        f"--collector.filesystem.mount-timeout={MOUNT_TIMEOUT}",
        f"--collector.filesystem.mount-points-include=^(/|{folder}/.*)$",
    ]
    line = ["exporter", "--config", str(config), "--listen", f"127.0.0.1:{port}", *flags]
    with Process(line, folder / "log") as process:
        wait_ready(f"http://127.0.0.1:{port}", process)
        yield process


class Scraped:
    """What the page tells of the mount; all else on it has to be well."""

    def __init__(self, port: int, mount: FuseMount) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._labels = f'{{device="silent-server",fstype="fuse.test",mountpoint="{mount.place}"}}'

    def figures(self) -> dict[str, float]:
        page = samples(requests.get(self._url, timeout=DEADLINE).text)
        for name in ("filesystem", "loadavg"):
            assert page[f'node_scrape_collector_success{{collector="{name}"}}'] == 1
        names = [name for name in page if name.endswith(self._labels)]
        others = [name for name in page if "device_error" in name and name not in names]
        assert [page[name] for name in others] == [0] * len(others)
        return {
            name.removesuffix(self._labels).removeprefix("node_filesystem_"): page[name]
            for name in names
        }

    def errors(self) -> bool:
        return self.figures() == {"readonly": 0, "device_error": 1}

    def good(self) -> bool:
        figures = self.figures()
        return figures.get("size_bytes") == fuse_mount.SIZE and figures["device_error"] == 0


def children(process: Process) -> list[int]:
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


def gone(pid: int) -> bool:
    """Whether nothing of it is left but what its new parent has to bury."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[FuseMount]:
    with fuse_mount.fuse_mount(tmp_path / "share") as mounted:
        yield mounted
    assert str(mounted.place) not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("trouble", [FuseMount.fall_silent, FuseMount.freeze])
def test_the_page_comes_and_the_figures_come_back(
    tmp_path: Path, mount: FuseMount, trouble: Callable[[FuseMount], None]
) -> None:
    port = free_port()
    scraped = Scraped(port, mount)
    with exporter(tmp_path, port) as process:
        assert scraped.good()
        trouble(mount)
        assert scraped.errors()
        (stuck,) = children(process)
        assert all(scraped.errors() for _ in range(20))
        assert children(process) == [stuck], "it is skipped: nobody else is sent there"
        mount.speak()
        wait_for("the mount's figures", scraped.good)
        assert children(process) == [stuck]
        assert process.stop() == 0
    assert gone(stuck)
    assert process.output().count(f"mount {mount.place}: no answer in time") == 1
    assert process.output().count(f"mount {mount.place} answers again") == 1


def test_it_ends_while_the_mount_is_silent(tmp_path: Path, mount: FuseMount) -> None:
    port = free_port()
    with exporter(tmp_path, port) as process:
        mount.fall_silent()
        assert Scraped(port, mount).errors()
        (stuck,) = children(process)
        assert process.stop() == 0  # whom the kernel keeps, it does not wait for
    mount.speak()
    wait_for("the child's end", lambda: gone(stuck))
