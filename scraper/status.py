"""GET /api/v1/targets, in Prometheus' shape: which targets there are and how they are."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from fleetpulse.model import Labels
from fleetpulse.values import format_duration
from scraper.maker import Scraped
from scraper.schedule import next_turn
from scraper.targets import TargetSet

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which Prometheus answers before the first scrape


def targets_wsgi(
    active: Callable[[], Sequence[Scraped]],
    found: Callable[[], TargetSet],
    tick: float,
    now: Callable[[], float] = time.time,
) -> "WSGIApplication":
    """`?state=active|dropped|any` and `?scrapePool=JOB` choose, as in Prometheus."""

    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        state = query.get("state", ["any"])[-1].lower()
        pool = query.get("scrapePool", [""])[-1]
        data = {
            "activeTargets": _active(active(), pool, now(), tick)
            if state in ("any", "active")
            else [],
            "droppedTargets": _dropped(found(), pool) if state in ("any", "dropped") else [],
            "droppedTargetCounts": dict(found().dropped_counts),
        }
        body = json.dumps({"status": "success", "data": data}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return app


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
