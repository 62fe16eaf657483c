"""Folders of devices below /sys, and what is found out about them once."""

import os
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from exporter.collectors.base import Host

Seen = TypeVar("Seen")
Made = TypeVar("Made")

# Label values of a series → the file below /sys that holds its value.
Files = dict[tuple[str, ...], str]

# A driver may add files to its device after the device is listed: all is looked at anew after this
# many turns, which costs each of them a hundredth of it.
_TURNS = 100

_LARGEST = 2**64 - 1


class Kept(Generic[Seen, Made]):
    """What was made of what is seen of the devices, for as long as that stays the same."""

    def __init__(self, make: Callable[[Seen], Made]) -> None:
        self._make = make
        self._kept: list[tuple[Seen, Made]] = []
        self._turns = 0

    def of(self, seen: Seen) -> Made:
        if not self._kept or self._kept[0][0] != seen or self._turns >= _TURNS:
            self._kept = [(seen, self._make(seen))]
            self._turns = 0
        self._turns += 1
        return self._kept[0][1]


# Names in a folder, sorted, each with its inode number: in /sys, a device that left and came back
# has another one, even under its old name.
Entries = dict[str, int]


def entries(host: Host, path: str) -> Entries:
    """FileNotFoundError where /sys has no such folder."""
    with os.scandir(f"{host.sysfs}/{path}") as found:
        return dict(sorted((entry.name, entry.inode()) for entry in found))


def number(path: str, raw: bytes) -> int:
    """ValueError, which names the file, for what is no whole number of 64 bits."""
    try:
        found = int(raw)
        if abs(found) > _LARGEST:
            raise ValueError("more than 64 bits")
    except ValueError as err:
        raise ValueError(f"{path}: {raw[:40]!r} is no whole number") from err
    return found


def read_numbers(host: Host, files: Mapping[tuple[str, ...], str]) -> dict[tuple[str, ...], float]:
    """OSError where a file cannot be read."""
    return {key: number(path, host.sys(path)) for key, path in files.items()}


def read_what_can_be(
    host: Host, files: Mapping[tuple[str, ...], str]
) -> dict[tuple[str, ...], float]:
    """Without those that cannot be read now: a device may be off, or its driver at a loss."""
    found = ((key, path, host.sys_or_none(path)) for key, path in files.items())
    return {key: number(path, raw) for key, path, raw in found if raw is not None}
