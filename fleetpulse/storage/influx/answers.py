"""What InfluxDB's answers to a write mean. Pure.

Sources: the write API of 1.x and 2.x as documented, and the answers of 1.6 and 2.7 themselves.
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from fleetpulse.storage.sending import Fault, SendError

TAKEN = 204  # and no other: a page for people comes with 200
_MOST_TOLD = 300  # characters
_DROPPED = re.compile(r"dropped=(\d+)")
_UNREAD = re.compile(r"unable to parse '(.*?)': ", re.DOTALL)
_CONFLICT = re.compile(r'input field "(.*?)" on measurement "(.*?)" is type', re.DOTALL)
# 1.x answers 500 or 400 where the retention policy is not there, and 503 where a limit is reached.
_SETTINGS = re.compile(
    r"(database|bucket|organization|retention policy)( name \S+)? not found|"
    r"not authorized|authorization failed|read.only",
    re.IGNORECASE,
)
_ANOTHER = "what answers is no InfluxDB, or something stands before it"


def refused(
    store: str, mend: str, status: int, headers: Mapping[str, str], body: bytes
) -> SendError:
    """store: its kind and URL, for people. mend: which keys to look at where settings are wrong."""
    said = said_in(body)
    message = f"{store}: HTTP {status}: {said}"
    after = retry_after(headers.get("Retry-After") or "", _date(headers.get("Date") or ""))
    if _is_page(body) or 200 <= status < 300:
        fault: Fault = "moment" if status >= 500 else "settings"
        return SendError(f"{message}; {_ANOTHER}: check storage.url", fault, retry_after=after)
    if 300 <= status < 400:
        text = f"{message}; redirects are not followed, check storage.url"
        return SendError(text, "settings")
    if status in (401, 403, 404) or _SETTINGS.search(said):
        return SendError(f"{message}; check {mend}", "settings")
    if status == 413:
        return SendError(message, "size")
    if status in (400, 422):
        return _lines_at_fault(message, body)
    return SendError(message, retry_after=after)


def said_in(body: bytes) -> str:
    """The server's words, in one line of bounded length."""
    return " ".join(_words(body).split())[:_MOST_TOLD]


def _words(body: bytes) -> str:
    document = _document(body)
    return str(document.get("error") or document.get("message") or body.decode("utf-8", "replace"))


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _lines_at_fault(message: str, body: bytes) -> SendError:
    words, listed = _words(body), _listed(body)
    dropped = _DROPPED.search(words)
    return SendError(
        message,
        "lines",
        dropped=int(dropped[1]) if dropped else len(listed),
        suspected=_suspected(words, listed),
    )


def _listed(body: bytes) -> frozenset[bytes]:
    """The bad lines that InfluxDB 3 lists; it has taken the others."""
    data = _document(body).get("data")
    if not isinstance(data, list):
        return frozenset()
    lines = (one.get("original_line") for one in data if isinstance(one, dict))
    return frozenset(line.encode() for line in lines if isinstance(line, str))


def _suspected(words: str, listed: frozenset[bytes]) -> Callable[[bytes], bool] | None:
    """Whether a line is one that is quoted, or has a measurement and a field that are named."""
    quoted = listed | {text.encode() for text in _UNREAD.findall(words)}
    if quoted:
        return lambda line: line.rstrip(b"\n") in quoted
    conflict = _CONFLICT.search(words)
    if conflict is None:
        return None
    field = f" {conflict[1]}=".encode()
    begin = conflict[2].replace(",", "\\,").replace(" ", "\\ ").encode()
    begins = (begin + b",", begin + b" ")
    return lambda line: line.startswith(begins) and field in line


def retry_after(header: str, now: float | None = None) -> float | None:
    """Seconds, from a number of them or a date (RFC 9110); None where it is neither.

    now: Unix time by the clock of whoever wrote the date; ours where that is not known.
    """
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    at = _date(header)
    if at is None:
        return None
    return max(0.0, math.ceil(at - (time.time() if now is None else now)))


def _date(header: str) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, IndexError):
        return None


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"
