"""Asks the kernel for its TCP sockets: netlink's sock_diag, which needs no privilege.

include/uapi/linux/netlink.h, sock_diag.h and inet_diag.h have the messages' shapes.
"""

import os
import socket
import struct
from collections.abc import Iterator

INET, INET6 = 2, 10  # address families as Linux numbers them

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST, _DUMP = 0x001, 0x300
_ERROR, _DONE = 2, 3
_TCP = 6
# All states up to CLOSING; a connection that is yet to be made is told as SYN_RECV.
_ALL_STATES = 0xFFF

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, sender
_QUESTION = struct.Struct("=BBBxI48x")  # family, protocol, extensions, states, any socket
# What an answer begins with: length, type; family, state, timer, retries, id; expiry, queues.
_ANSWER = struct.Struct("=IH10xxB2x48x4xII")
_ERRNO = struct.Struct("=i")

_RECEIVE = 1 << 16  # a kernel's piece of an answer is never larger than 32 KB
_PATIENCE = 2.0  # seconds for a piece; the kernel answers at once

# State; bytes to be read (of one that listens: connections); bytes to be sent (likewise: room).
Socket = tuple[int, int, int]


def tcp_sockets(family: int) -> Iterator[Socket]:
    """OSError where the kernel cannot or will not; ValueError for an answer that is none."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG
    ) as netlink:
        netlink.settimeout(_PATIENCE)
        netlink.sendto(question(family), (0, 0))
        more = True
        while more:
            sockets, more = parse(netlink.recv(_RECEIVE))
            yield from sockets


def question(family: int) -> bytes:
    body = _QUESTION.pack(family, _TCP, 0, _ALL_STATES)
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST | _DUMP, 1, 0) + body


def parse(piece: bytes) -> tuple[list[Socket], bool]:
    """Sockets of one piece of the answer, and whether more pieces follow."""
    sockets: list[Socket] = []
    at = 0
    while at + _HEADER.size <= len(piece):
        length, kind = struct.unpack_from("=IH", piece, at)
        if length < _HEADER.size or at + length > len(piece):
            raise ValueError(f"netlink: a message of {length} bytes where {len(piece) - at} are")
        if kind == _DONE:
            return sockets, False
        if kind == _ERROR:
            raise _refusal(piece, at)
        if length < _ANSWER.size:
            raise ValueError(f"netlink: {length} bytes are too few for a socket")
        _, _, state, received, sent = _ANSWER.unpack_from(piece, at)
        sockets.append((state, received, sent))
        at += (length + 3) & ~3  # the next one is aligned
    if at < len(piece) or not piece:
        raise ValueError("netlink: a piece that ends amid a message")
    return sockets, True


def _refusal(piece: bytes, at: int) -> OSError:
    if len(piece) < at + _HEADER.size + _ERRNO.size:
        raise ValueError("netlink: an error without a number")
    (code,) = _ERRNO.unpack_from(piece, at + _HEADER.size)
    return OSError(-code, f"netlink: {os.strerror(-code)}")
