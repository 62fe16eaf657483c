"""Asks statvfs(2) for a parent that must not hang; run by path, never imported by the exporter.

Reads paths, each ended by a NUL, from standard input and answers each with a line before it goes on
to the next: the numbers of FIELDS, or an errno alone. Ends with its input.

posix and not os, which would make the process larger by a fifth of a megabyte.
"""

import posix

FIELDS = ("f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree")
_CHUNK = 64 << 10


def answer(path: bytes) -> bytes:
    try:
        told = posix.statvfs(path)
    except OSError as err:
        return b"%d\n" % (err.errno or 0)
    return " ".join([str(getattr(told, field)) for field in FIELDS]).encode() + b"\n"


def main() -> None:
    rest = b""
    while chunk := posix.read(0, _CHUNK):
        *paths, rest = (rest + chunk).split(b"\0")
        for path in paths:
            posix.write(1, answer(path))


if __name__ == "__main__":
    main()
