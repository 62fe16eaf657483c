"""A remote write request's body: which message it is, and its bytes out of snappy's block format.

The only door to cramjam, which decompresses about 2 GB/s and comes with wheels for all platforms
(python-snappy is a wrapper around it).
"""

from typing import Literal

import cramjam
from flask import Request

from api.body import read_raw
from api.remotewrite.wire import WireError, varint
from api.respond import Refusal, bad_data

Version = Literal["1.0", "2.0"]

_MESSAGES: dict[str, Version] = {
    "": "1.0",
    "prometheus.WriteRequest": "1.0",
    "io.prometheus.write.v2.Request": "2.0",
}
_TYPE = "application/x-protobuf"


def message_of(req: Request) -> Version:
    """Which message the headers announce. Refusal (415) for what is none of the two.

    A sender that names neither type nor encoding is taken to send version 1.0, as Prometheus does.
    """
    message = req.mimetype_params.get("proto", "")
    if req.mimetype not in ("", _TYPE):
        raise Refusal(415, f"{req.mimetype}: send {_TYPE}, as remote write does")
    if message not in _MESSAGES:
        raise Refusal(415, f"proto={message[:100]} is not known; send {' or '.join(_MESSAGES)[4:]}")
    coding = req.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "snappy"):
        # vmagent tries zstd first, and goes on with snappy after this answer.
        raise Refusal(415, f"Content-Encoding {coding[:100]!r} is not known; send snappy")
    return _MESSAGES[message]


def read(req: Request, max_body: int, max_decompressed: int) -> bytes:
    """The decompressed body. Refusal: 413 over a limit, 400 if broken."""
    req.max_content_length = max_body
    return unsnap(read_raw(req, max_body), max_decompressed)


def unsnap(packed: bytes, limit: int) -> bytes:
    """What the snappy block holds. Its first bytes say how much that is: nothing is decompressed
    that is over the limit.
    """
    try:
        size, _ = varint(packed, 0, min(len(packed), 5))
    except WireError as err:
        raise bad_data("the body is no snappy block; send remote write's block format") from err
    if size > limit:
        raise Refusal(
            413, f"{size} bytes when decompressed; send at most {limit} at a time, in fewer samples"
        )
    try:
        return bytes(cramjam.snappy.decompress_raw(packed))
    except cramjam.DecompressionError as err:
        raise bad_data(f"the body is no intact snappy block: {err}") from err
