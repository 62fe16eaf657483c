"""Request bodies: read and decompressed within bounds, whatever the sender claims."""

import zlib
from io import BytesIO
from typing import IO

from flask import Request

from api.respond import Refusal, bad_data

_CHUNK = 64 << 10
_MEMBERS = 1000  # of a gzip body; each costs a copy of what follows it
_GZIP = 31  # zlib's number for a gzip header and checksum


class FormRequest(Request):
    """A request whose form is read whole or refused (413), also where its length is not told.

    Werkzeug takes such a form to end at the limit: parameters would be cut off without a word.
    """

    def _get_stream_for_parsing(self) -> IO[bytes]:
        stream = super()._get_stream_for_parsing()
        limit = self.max_content_length
        # One that cannot be larger than the limit is told by its length, and refused by it.
        if limit is None or self.content_length is not None:
            return stream
        # Werkzeug's own stream ends at the limit, even in the middle of a body that fills it.
        whole = _read(stream, limit - 1)
        return BytesIO(whole)


def read_body(req: Request, max_body: int, max_decompressed: int) -> bytes:
    """The decoded body. Refusal: 413 over a limit, 415 for an unknown coding, 400 if broken."""
    coding = req.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise Refusal(415, f"Content-Encoding {coding!r} is not known; send gzip or none")
    raw = read_raw(req, max_body)
    return gunzip(raw, max_decompressed) if coding.endswith("gzip") else raw


def read_raw(req: Request, max_body: int) -> bytes:
    """The body as it comes. Refusal (413) over the limit."""
    if (req.content_length or 0) > max_body:
        raise _too_large("the body", max_body)
    return _read(req.stream, max_body)


def _read(stream: IO[bytes], limit: int) -> bytes:
    parts, size = [], 0
    while part := stream.read(min(_CHUNK, limit + 1 - size)):
        size += len(part)
        if size > limit:
            raise _too_large("the body", limit)
        parts.append(part)
    return b"".join(parts)


def gunzip(raw: bytes, limit: int) -> bytes:
    """raw decompressed, several members one after another too, and never more than limit bytes."""
    parts: list[bytes] = []
    size = 0
    while len(parts) < _MEMBERS:
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(raw, limit + 1 - size)
        except zlib.error as err:
            raise bad_data(f"the body is no intact gzip: {err}") from err
        size += len(part)
        if size > limit:
            raise _too_large("the decompressed body", limit)
        if not member.eof:
            raise bad_data("the body is no intact gzip: it ends too early")
        parts.append(part)
        raw = member.unused_data
        if not raw:
            return b"".join(parts)
    raise bad_data(f"the body is gzip of more than {_MEMBERS} members; send one")


def _too_large(what: str, limit: int) -> Refusal:
    return Refusal(413, f"{what} is larger than {limit} bytes; send fewer samples at a time")
