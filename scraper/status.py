"""What the scraper tells of its targets, in the shapes of Prometheus' HTTP API, as WSGI pages."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import Labels, Metadata
from fleetpulse.values import format_duration
from scraper.maker import Scraped
from scraper.schedule import next_turn
from scraper.targets import TargetSet

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which Prometheus answers before the first scrape


# Most entries that one answer about metrics has: thousands of targets have some hundred each.
_MOST = 100_000

Arguments = Mapping[str, Sequence[str]]


def routes(
    active: Callable[[], Sequence[Scraped]],
    found: Callable[[], TargetSet],
    jobs: Callable[[], Sequence[str]],
    tick: float,
    now: Callable[[], float] = time.time,
) -> dict[str, "WSGIApplication"]:
    """The pages by their paths."""
    return {
        "/api/v1/targets": _page(lambda asked: _targets(active(), found(), asked, now(), tick)),
        "/api/v1/targets/metadata": _page(lambda asked: _metadata(active(), asked)),
        "/api/v1/scrape_pools": _page(lambda _asked: {"scrapePools": sorted(jobs())}),
    }


def _page(answer: Callable[[Arguments], Any]) -> "WSGIApplication":
    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        status, body = "200 OK", dict[str, Any](status="success")
        try:
            body["data"] = answer(parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=100))
        except ValueError as err:
            status = "400 Bad Request"
            body = {"status": "error", "errorType": "bad_data", "error": str(err)}
        encoded = json.dumps(body).encode()
        length = ("Content-Length", str(len(encoded)))
        start_response(status, [("Content-Type", "application/json"), length])
        return [encoded]

    return app


def _single(asked: Arguments, name: str, default: str = "") -> str:
    return asked.get(name, [default])[-1]


def _targets(
    active: Sequence[Scraped], found: TargetSet, asked: Arguments, now: float, tick: float
) -> dict[str, Any]:
    """`?state=active|dropped|any` and `?scrapePool=JOB` choose, as in Prometheus."""
    state, pool = _single(asked, "state", "any").lower(), _single(asked, "scrapePool")
    return {
        "activeTargets": _active(active, pool, now, tick) if state in ("any", "active") else [],
        "droppedTargets": _dropped(found, pool) if state in ("any", "dropped") else [],
        "droppedTargetCounts": dict(found.dropped_counts),
    }


def _metadata(active: Sequence[Scraped], asked: Arguments) -> list[dict[str, Any]]:
    """What targets say of their metrics; `metric`, `match_target` and `limit` choose."""
    metric, limit = _single(asked, "metric"), _single(asked, "limit", str(_MOST))
    try:
        most = int(limit)
    except ValueError:
        raise ValueError("limit must be a number") from None
    matchers = _matchers(_single(asked, "match_target"))
    chosen = (one for one in active if all_match(matchers, one.target.labels))
    entries = (entry for one in chosen for entry in _told(one, metric))
    return list(islice(entries, _MOST if most < 0 else min(most, _MOST)))


def _matchers(text: str) -> Sequence[Matcher]:
    if not text:
        return ()
    # Not above: nearly all scrapers do without the parser.
    from fleetpulse.promql.seriesselector import parse_selector

    try:
        return parse_selector(text)
    except QueryError as err:
        raise ValueError(f'invalid parameter "match_target": {err}') from err


def _told(scraped: Scraped, metric: str) -> Iterator[dict[str, Any]]:
    target, known = scraped.target.labels.as_dict(), scraped.pages.metadata
    if not metric:
        for name, entry in known.items():
            yield {"target": target, "metric": name, **_entry(entry)}
    elif metric in known:
        yield {"target": target, **_entry(known[metric])}


def _entry(entry: Metadata) -> dict[str, str]:
    kind = "unknown" if entry.type == "untyped" else entry.type
    return {"type": kind, "help": entry.help, "unit": entry.unit}


def _active(scraped: Sequence[Scraped], pool: str, now: float, tick: float) -> list[dict[str, Any]]:
    chosen = [one for one in scraped if pool in ("", one.target.job.name)]
    chosen.sort(key=lambda one: (one.target.job.name, one.target.url))
    return [_target(one, now, tick) for one in chosen]


def _target(scraped: Scraped, now: float, tick: float) -> dict[str, Any]:
    target, health = scraped.target, scraped.health
    following = next_turn(now, target.interval, target.offset, tick)
    return {
        "discoveredLabels": target.discovered.as_dict(),
        "labels": target.labels.as_dict(),
        "scrapePool": target.job.name,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": health.error,
        "lastScrape": _rfc3339(health.at) if health.at else _NEVER,
        "lastScrapeDuration": health.duration,
        "health": health.state,
        "nextScrape": _rfc3339(following),  # which Prometheus does not tell
        "scrapeInterval": format_duration(target.interval),
        "scrapeTimeout": format_duration(target.timeout),
    }


def _dropped(found: TargetSet, pool: str) -> list[dict[str, Any]]:
    def entry(job: str, labels: Labels) -> dict[str, Any]:
        return {"discoveredLabels": labels.as_dict(), "scrapePool": job}

    return [entry(job, labels) for job, labels in found.dropped if pool in ("", job)]


def _rfc3339(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
