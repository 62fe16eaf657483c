"""`fleetpulse targets`: which targets there are, how they are, when their next turn is."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table

from fleetpulse_cli.apiget import get
from fleetpulse_cli.printing import printable, width

_COLUMNS = ("job", "instance", "state", "last scrape", "duration", "next", "error")


def ask_targets(url: str, key: str | None, job: str | None) -> Mapping[str, Any]:
    """The API's answer; QueryRefusedError with its error, StartError where nothing answers."""
    query = {"scrapePool": job} if job else {}
    return get(f"{url}/api/v1/targets?{urlencode(query)}", key)


def show(
    body: Mapping[str, Any],
    style: str,
    state: str | None,
    out: TextIO = sys.stdout,
    now: Callable[[], float] = time.time,
) -> None:
    """Writes the active targets, those of one state if it is given; warnings go to stderr."""
    for note in body.get("warnings", ()):
        print(note, file=sys.stderr)
    chosen = [one for one in body["data"]["activeTargets"] if state in (None, one["health"])]
    if style == "json":
        json.dump(chosen, out, indent=2)
        out.write("\n")
    elif not chosen:
        print("no targets", file=sys.stderr)
    else:
        _table(chosen, out, now())


def _table(targets: Sequence[Mapping[str, Any]], out: TextIO, now: float) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in ("duration", "next") else "left")
    for target in targets:
        table.add_row(*(printable(cell) for cell in _row(target, now)))
    Console(file=out, highlight=False, markup=False, width=width(out)).print(table)


def _row(target: Mapping[str, Any], now: float) -> tuple[str, ...]:
    last, following = _time(target["lastScrape"]), _time(target.get("nextScrape", ""))
    return (
        target["scrapePool"],
        target["labels"].get("instance", target["scrapeUrl"]),
        target["health"],
        f"{max(0.0, now - last):.1f}s ago" if last else "never",
        f"{target['lastScrapeDuration'] * 1000:.0f}ms" if last else "",
        f"in {max(0.0, following - now):.1f}s" if following else "",
        target["lastError"],
    )


def _time(text: str) -> float | None:
    """Unix seconds of an RFC 3339 time; None for Go's zero time and for none."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).timestamp()
