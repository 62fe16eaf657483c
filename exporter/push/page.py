"""A page as it lies on the spool."""

import gzip
import json
import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PushPage:
    """at: Unix seconds; body: the text format, gzipped. The API knows a repeat by batch_id."""

    batch_id: str
    at: float
    body: bytes

    @classmethod
    def made(cls, text: bytes, at: float) -> "PushPage":
        # Level 1 is a third of the default's CPU for a page a tenth larger; mtime for equal bytes.
        return cls(uuid.uuid4().hex, at, gzip.compress(text, 1, mtime=0))

    def encode(self) -> bytes:
        head = json.dumps({"batch_id": self.batch_id, "at": self.at})
        return head.encode() + b"\n" + self.body

    @classmethod
    def decode(cls, payload: bytes) -> "PushPage":
        """ValueError where payload is none of encode()'s."""
        head, _, body = payload.partition(b"\n")
        try:
            fields = json.loads(head)
            return cls(str(fields["batch_id"]), float(fields["at"]), body)
        except (ValueError, TypeError, KeyError, RecursionError) as err:
            raise ValueError(f"not a page of ours: {err}") from err
