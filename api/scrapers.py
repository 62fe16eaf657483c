"""Asks the scrapers what they know of their targets, over HTTP, and puts the answers together.

Not by way of the store: what a target's state is changes with each scrape, and is of no use later.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode

from fleetpulse.values import ListenAddress

_TIMEOUT = 5.0  # seconds for each scraper
_MAX_BODY = 64 << 20
_LISTS = ("activeTargets", "droppedTargets")


class NoAnswerError(Exception):
    """A scraper that does not answer, or not with targets; the message is for people."""


Ask = Callable[[ListenAddress, Mapping[str, str]], Mapping[str, Any]]


def ask_targets(address: ListenAddress, query: Mapping[str, str]) -> Mapping[str, Any]:
    """One scraper's targets. Asked directly, whatever proxy the environment names."""
    connection = HTTPConnection(address.reachable, address.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", f"/api/v1/targets?{urlencode(query)}")
        answer = connection.getresponse()
        body = answer.read(_MAX_BODY + 1)
    except (OSError, HTTPException) as err:
        raise NoAnswerError(f"no answer from the scraper at {address}: {err}") from err
    finally:
        connection.close()
    try:
        if answer.status != 200 or len(body) > _MAX_BODY:
            raise ValueError
        data: dict[str, Any] = json.loads(body)["data"]
        if not all(isinstance(data[name], list) for name in _LISTS):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        message = f"what answers at {address} is no scraper of FleetPulse"
        raise NoAnswerError(message) from None
    return data


@dataclass(frozen=True, slots=True)
class Answers:
    """data in the shape of Prometheus; warnings: of scrapers that did not answer."""

    data: Mapping[str, Any]
    warnings: Sequence[str]
    answered: int


def gather(
    addresses: Sequence[ListenAddress], query: Mapping[str, str], ask: Ask = ask_targets
) -> Answers:
    """The targets of all scrapers. Shards find the same targets and drop the same ones."""
    active: list[Any] = []
    dropped: dict[str, Any] = {}
    counts: dict[str, int] = {}
    warnings: list[str] = []
    for address in addresses:
        try:
            data = ask(address, query)
        except NoAnswerError as err:
            warnings.append(str(err))
            continue
        active += data["activeTargets"]
        dropped |= {json.dumps(one, sort_keys=True): one for one in data["droppedTargets"]}
        for job, count in data.get("droppedTargetCounts", {}).items():
            counts[job] = max(count, counts.get(job, 0))
    active.sort(key=lambda one: (str(one.get("scrapePool")), str(one.get("scrapeUrl"))))
    found = {
        "activeTargets": active,
        "droppedTargets": list(dropped.values()),
        "droppedTargetCounts": counts,
    }
    return Answers(found, warnings, len(addresses) - len(warnings))
