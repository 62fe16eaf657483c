"""/proc/mounts: lines, and which mounts may hang."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.statvfs.mounts import Mount, may_hang, parse

LINES = [
    pytest.param(rb"/dev/sda / ext4 rw,ro_x 0 0", ("/dev/sda", b"/", "ext4", False), id="writable"),
    pytest.param(rb"/dev/sda / ext4 noatime,ro 0 0", ("/dev/sda", b"/", "ext4", True), id="ro"),
    pytest.param(rb"d / ext4 rw,emergency_ro 0 0", ("d", b"/", "ext4", True), id="ro for an error"),
    pytest.param(rb"d /m\011\134\040\012 x rw 0 0", ("d", b"/m\t\\ \n", "x", False), id="escapes"),
    pytest.param(
        rb"//srv/a\040b /m cifs rw", (r"//srv/a\040b", b"/m", "cifs", False), id="the device is raw"
    ),
    pytest.param(b"d /m\\000\\777\\08 x rw", ("d", rb"/m\000\777\08", "x", False), id="no escapes"),
    pytest.param(b"s /\xff x rw 0 0", ("s", b"/\xff", "x", False), id="no UTF-8"),
    pytest.param(b" /m x rw 0 0", ("", b"/m", "x", False), id="a device without a name"),
    pytest.param(b"d /m\r\x0b x rw 0 0", ("d", b"/m\r\x0b", "x", False), id="odd white space"),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_a_line(line: bytes, expected: tuple[str, bytes, str, bool]) -> None:
    assert parse(line + b"\n") == [Mount(*expected)]


def test_labels_are_utf8() -> None:
    assert parse(b"\xff /\xff x rw")[0].key == ("\ufffd", "x", "/\ufffd")


def test_of_mounts_with_the_same_labels_the_first_is_told() -> None:
    raw = b"a /m x rw 0 0\na /m x ro 0 0\nb /m x ro 0 0\na /m y ro 0 0\na /n x ro 0 0\n"
    assert [(*mount.key, mount.readonly) for mount in parse(raw)] == [
        ("a", "x", "/m", False),
        ("b", "x", "/m", True),
        ("a", "y", "/m", True),
        ("a", "x", "/n", True),
    ]


@pytest.mark.parametrize("line", [b"nonsense", b"a b c", b"a /m\0 x rw", b"a /m x rw\nb"])
def test_what_is_no_mount_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a mount"):
        parse(line)


ROOTS = [
    pytest.param(b"/host/mnt", b"/mnt", id="beneath"),
    pytest.param(b"/host", b"/", id="itself"),
    pytest.param(b"/hostile", b"/hostile", id="not by prefix"),
    pytest.param(b"/etc/hosts", b"/etc/hosts", id="elsewhere"),
]


@pytest.mark.parametrize(("seen", "expected"), ROOTS)
def test_paths_are_the_hosts(seen: bytes, expected: bytes) -> None:
    assert parse(b"d " + seen + b" x rw", b"/host")[0].path == expected


HANGING = [
    pytest.param("/ ext4, /run tmpfs, /b xfs", "", id="all local"),
    pytest.param("/ ext4, /n nfs4, /s fuse.sshfs, /b fuseblk", "/n /s /b", id="network and FUSE"),
    pytest.param("/ ext4, /x newfs", "/x", id="a type nobody knows"),
    pytest.param("/ ext4, /n nfs, /n/a/l ext4, /nl ext4", "/n /n/a/l", id="beneath a remote one"),
    pytest.param("/ nfs, /a/b ext4", "/ /a/b", id="the root is remote"),
    pytest.param("/ ext4, /m ext4, /m nfs", "/m", id="covered by a remote one"),
    pytest.param("/ ext4, /home autofs, /home/u ext4", "/home /home/u", id="mounted on demand"),
]


@pytest.mark.parametrize(("table", "expected"), HANGING)
def test_which_may_hang(table: str, expected: str) -> None:
    mounts = [
        Mount("d", path.encode(), fstype, False)
        for path, fstype in (line.split() for line in table.split(", "))
    ]
    assert sorted(may_hang(mounts)) == sorted(expected.encode().split())


FIELD = st.binary(max_size=12).map(lambda raw: raw.replace(b"/", b"/a"))
BROKEN = st.one_of(
    st.binary(max_size=300),
    st.lists(st.lists(FIELD, max_size=7).map(b" ".join), max_size=6).map(b"\n".join),
)


@given(BROKEN, st.sampled_from([b"", b"/host"]))
def test_broken_files_are_refused_or_read(raw: bytes, root: bytes) -> None:
    try:
        mounts = parse(raw, root)
    except ValueError:
        return
    assert len({mount.key for mount in mounts}) == len(mounts)
    assert set(may_hang(mounts)) <= {mount.path for mount in mounts}
    for mount in mounts:
        assert b"\0" not in mount.path
        "".join(mount.key).encode()


@given(st.binary(max_size=80).filter(lambda path: b"\0" not in path))
def test_any_path_comes_back(path: bytes) -> None:
    kernel = b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in path)
    assert parse(b"d /" + kernel + b" x rw 0 0\n")[0].path == b"/" + path
