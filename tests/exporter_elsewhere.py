"""A program: an exporter on a system that is not there. Its argument: darwin or win32.

What such a system lacks is taken away first: modules by a hook that refuses them, functions by
deleting them. psutil is a fake with its tuples.
"""

# What the standard library needs for itself comes in before the system changes.
import asyncio  # noqa: F401
import concurrent.futures  # noqa: F401
import contextlib
import dataclasses  # noqa: F401
import importlib.abc
import os
import pathlib
import platform as platform_module
import queue  # noqa: F401
import select
import sys
import threading  # noqa: F401
from collections import namedtuple
from types import ModuleType, SimpleNamespace

WINDOWS = sys.argv[1] == "win32"
LINUX_ONLY = {"ctypes.util", "_posixsubprocess"} if WINDOWS else set()
POSIX_ONLY = {"fcntl", "resource", "termios", "pwd", "grp", "syslog", "pty"}
REFUSED = LINUX_ONLY | (POSIX_ONLY if WINDOWS else set())
GONE = ["sched_getaffinity", "posix_fadvise", "sched_setaffinity", "memfd_create", "pidfd_open"]
GONE_WINDOWS = [
    "pread", "uname", "statvfs", "fstatvfs", "getloadavg", "getuid", "geteuid", "fork", "killpg",
    "setsid", "getpgid", "O_CLOEXEC", "O_NONBLOCK", "sysconf", "mkfifo", "WNOHANG",
]  # fmt: skip


class Refusal(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name in REFUSED:
            raise ImportError(f"{sys.argv[1]} has no {name}")


def fake_psutil() -> ModuleType:
    psutil = ModuleType("psutil")
    modes = "user system idle interrupt dpc" if WINDOWS else "user nice system idle"
    cpu = namedtuple("scputimes", modes)
    memory = "total available percent used free" + ("" if WINDOWS else " active inactive wired")
    disk = namedtuple(
        "sdiskio", "read_count write_count read_bytes write_bytes read_time write_time"
    )
    nic = namedtuple(
        "snetio",
        "bytes_sent bytes_recv packets_sent packets_recv errin errout dropin dropout",
    )
    ones = lambda kind: kind(*[1] * len(kind._fields))  # noqa: E731
    swap = namedtuple("sswap", "total used free percent sin sout")
    stats = namedtuple("snicstats", "isup duplex speed mtu flags")
    mount = namedtuple("sdiskpart", "device mountpoint fstype opts")
    usage = namedtuple("sdiskusage", "total used free percent")
    process = SimpleNamespace(
        cpu_times=lambda: SimpleNamespace(user=1.0, system=1.0),
        memory_info=lambda: SimpleNamespace(rss=1, vms=1),
        create_time=lambda: 1.0,
        oneshot=contextlib.nullcontext,
        name=lambda: "explorer.exe",
        username=lambda: "HOST\\user",
        pid=4,
        **({"num_handles": lambda: 1} if WINDOWS else {"num_fds": lambda: 1}),
    )
    psutil.__dict__.update(
        cpu_times=lambda percpu: [ones(cpu)] * 2,
        getloadavg=lambda: (1.0, 2.0, 3.0),
        virtual_memory=lambda: ones(namedtuple("svmem", memory)),
        swap_memory=lambda: ones(swap),
        disk_io_counters=lambda perdisk: {"disk0": ones(disk)},
        net_io_counters=lambda pernic: {"en0": ones(nic)},
        net_if_stats=lambda: {"en0": stats(True, 2, 1000, 1500, "")},
        disk_partitions=lambda: [mount("C:\\", "C:\\", "NTFS", "rw,fixed")],
        disk_usage=lambda path: usage(3, 1, 2, 33.3),
        boot_time=lambda: 1.0,
        Process=lambda pid=None: process,
        pids=lambda: [0, 4],
        Error=OSError,
        sensors_battery=lambda: SimpleNamespace(percent=50, secsleft=-1, power_plugged=True),
    )
    return psutil


def main() -> None:
    sys.modules["psutil"] = fake_psutil()
    platform_module.uname()  # kept by the module from here on
    platform_module.win32_ver = lambda: ("11", "10.0.22631", "", "")
    platform_module.win32_edition = lambda: "Core"
    platform_module.mac_ver = lambda: ("14.1", ("", "", ""), "arm64")
    sys.meta_path.insert(0, Refusal())
    for name in REFUSED:
        sys.modules.pop(name, None)
    for name in GONE + (GONE_WINDOWS if WINDOWS else []):
        if hasattr(os, name):
            delattr(os, name)
    del select.epoll
    sys.platform = sys.argv[1]

    from exporter.app import ExporterApp
    from exporter.config import ExporterConfig
    from exporter.settings.names import COLLECTOR_NAMES, CollectorsConfig

    config = ExporterConfig(collectors=CollectorsConfig(enable=COLLECTOR_NAMES))
    app = ExporterApp(config, pathlib.Path("data"))
    page = app.render()
    assert app.pages.registry.failing == []
    assert "fleetpulse_exporter_invalid_values_total" not in page
    assert "process_cpu_seconds_total 2" in page
    print(*app.pages.registry.names, sep="\n")


main()
