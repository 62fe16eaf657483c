"""What the API's answer to a page means for the page."""

import email.utils
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The page itself is at fault; sent again it would be refused again.
_PAGE_FAULTS = frozenset({400, 409, 411, 413, 415, 422})
_DENIED = frozenset({401, 403})
_NOT_THE_API = "this is no answer of the API; does push.url name it?"
_MENDS = {
    401: "the key is not accepted; put a valid one of scope push into push.key_file",
    403: "the key may not push for this server; is it on the API's whitelist, the key its own?",
    404: "nothing there takes pushes; does push.url name the API?",
    405: "nothing there takes pushes; does push.url name the API?",
}


class Verdict(enum.Enum):
    """What to do with the page."""

    SENT = enum.auto()
    LATER = enum.auto()  # keep it and try again
    REFUSED = enum.auto()  # set it aside, go on with the next


@dataclass(frozen=True, slots=True)
class Answer:
    """text is for the log; retry_after in seconds; rejected counts samples of a page sent.

    paced: the API only asks for a slower pace, as it will when many pages come at once.
    denied: a person has to do something about the key or its rights first.
    status: of HTTP, 0 where no answer came.
    """

    verdict: Verdict
    text: str = ""
    retry_after: float | None = None
    rejected: int = 0
    paced: bool = False
    denied: bool = False
    status: int = 0


def judge(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
    """What a response means for the page that was sent.

    A page is given away, or up, only on the word of the API itself, which is a JSON object: a
    proxy's or a portal's own page says nothing about it, whatever its status.
    """
    fields = _fields(body)
    if 200 <= status < 300 and fields is not None:
        return Answer(Verdict.SENT, rejected=_rejected(fields), status=status)
    if status in _PAGE_FAULTS and fields is not None:
        return Answer(Verdict.REFUSED, f"HTTP {status}: {_excerpt(body, fields)}", status=status)
    return Answer(
        Verdict.LATER,
        f"HTTP {status}: {_told(status, headers, body, fields)}",
        retry_after(headers.get("Retry-After", ""), now),
        paced=status == 429,
        denied=status in _DENIED,
        status=status,
    )


def retry_after(value: str, now: float) -> float | None:
    """Seconds in a Retry-After header (RFC 9110, 10.2.3): a number or a date."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def _told(
    status: int, headers: Mapping[str, str], body: bytes, fields: Mapping[str, Any] | None
) -> str:
    if 300 <= status < 400:
        where = _printable(headers.get("Location", "another address"))
        return f"moved to {where}; put that into push.url"
    mend = _MENDS.get(status)
    if mend is None and fields is None and status < 500 and status not in (408, 429):
        mend = _NOT_THE_API
    return "; ".join(filter(None, (mend, _excerpt(body, fields))))


def _rejected(fields: Mapping[str, Any]) -> int:
    rejected = fields.get("rejected")
    if isinstance(rejected, list):  # the API may tell them one by one
        return len(rejected)
    return rejected if isinstance(rejected, int) else 0


def _excerpt(body: bytes, fields: Mapping[str, Any] | None) -> str:
    """What the API says is wrong, or the beginning of whatever else answered."""
    error = (fields or {}).get("error")
    return _printable(error if isinstance(error, str) else body.decode(errors="replace"))


def _fields(body: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _printable(text: str) -> str:
    """A line for the log, whatever a stranger wrote: no control characters, no novel."""
    words = " ".join(text.split())
    return "".join(char for char in words if char.isprintable())[:200]
