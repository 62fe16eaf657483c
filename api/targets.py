"""GET /api/v1/targets, as in Prometheus."""

from collections.abc import Sequence

from flask import Blueprint, Response, request

from api.respond import Refusal, success
from api.scrapers import Ask, ask_targets, gather
from fleetpulse.values import ListenAddress

_FILTERS = ("state", "scrapePool")


def blueprint(scrapers: Sequence[ListenAddress], ask: Ask = ask_targets) -> Blueprint:
    bp = Blueprint("targets", __name__)

    @bp.get("/targets")
    def targets() -> Response:
        query = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
        answers = gather(scrapers, query, ask)
        if not answers.answered:
            raise Refusal(503, "; ".join(answers.warnings) or "no scraper in api.scrapers")
        return success(answers.data, answers.warnings)

    return bp
