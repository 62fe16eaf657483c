"""/proc/mounts: what is mounted where, and which of it may hang."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

# Types whose figures the kernel has at hand. Any other may have to ask a server or a process.
_LOCAL_TYPES = frozenset((
    "adfs", "affs", "bcachefs", "befs", "bfs", "btrfs", "cramfs", "efs", "erofs", "exfat", "ext2",
    "ext3", "ext4", "f2fs", "hfs", "hfsplus", "hpfs", "iso9660", "jffs2", "jfs", "minix", "msdos",
    "nilfs2", "ntfs3", "omfs", "overlay", "qnx4", "qnx6", "ramfs", "reiser4", "reiserfs", "romfs",
    "rootfs", "squashfs", "sysv", "tmpfs", "ubifs", "udf", "ufs", "vfat", "xfs", "zfs", "zonefs",
    "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset", "debugfs",
    "devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore",
    "resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
))  # fmt: skip
# The latter is what ext4 has said since Linux 6.15 where it stopped writing because of an error.
_READONLY = frozenset((b"ro", b"emergency_ro"))
# A backslash and three octal digits; never a NUL, which no path has.
_ESCAPE = re.compile(rb"\\(?!000)([0-3][0-7]{2})")


@dataclass(frozen=True)
class Mount:
    """A line of /proc/mounts. A path is bytes: it need not be UTF-8."""

    device: str
    path: bytes
    fstype: str
    readonly: bool

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Values of the labels device, fstype and mountpoint."""
        return self.device, self.fstype, _text(self.path)


def parse(raw: bytes, root: bytes = b"") -> list[Mount]:
    """Mounts in their order; of those with the same labels, the first.

    The device stays as the kernel writes it, white space as `\\040`: as node_exporter tells it.
    root: where the host's file tree is mounted; paths are then as the host itself sees them.
    ValueError for what is no such file.
    """
    mounts = dict[tuple[str, ...], Mount]()
    for line in filter(None, raw.split(b"\n")):
        fields = line.split(b" ")
        if len(fields) < 4 or b"\0" in line:
            raise ValueError(f"/proc/mounts: not a mount: {line.decode(errors='replace')[:200]!r}")
        device, place, fstype, options = fields[:4]
        path = _beneath(root, _unescape(place))
        mount = Mount(
            _text(device),
            path,
            _text(fstype),
            not _READONLY.isdisjoint(options.split(b",")),
        )
        mounts.setdefault(mount.key, mount)
    return list(mounts.values())


def may_hang(mounts: Iterable[Mount]) -> list[bytes]:
    """Paths at which a file system that is not local is, or beneath which it would be met."""
    every = {mount.path for mount in mounts}
    remote = {mount.path for mount in mounts if mount.fstype not in _LOCAL_TYPES}
    return [path for path in every if not remote.isdisjoint(_way_to(path))]


def _unescape(field: bytes) -> bytes:
    r"""`/mnt/a\040b` → `/mnt/a b`: the kernel writes white space and backslashes so."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)


def _beneath(root: bytes, path: bytes) -> bytes:
    """The path as seen from root; one that is elsewhere as it is."""
    if root and (path + b"/").startswith(root + b"/"):
        return path[len(root) :] or b"/"
    return path


def _way_to(path: bytes) -> Iterable[bytes]:
    """`/a/b` → `/`, `/a`, `/a/b`."""
    names = path.strip(b"/").split(b"/")
    yield b"/"
    for end in range(1, len(names) + 1):
        yield b"/" + b"/".join(names[:end])


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
