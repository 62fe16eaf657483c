"""GET /api/v1/targets, targets/metadata and scrape_pools, as in Prometheus."""

from collections.abc import Sequence

from flask import Blueprint, Response, request

from api import params
from api.asking import Question, ask_all, chosen, unavailable
from api.respond import success
from api.scrapers import Ask, ask_targets, gather
from fleetpulse.values import ListenAddress

_FILTERS = ("state", "scrapePool")
_METADATA = Question("scraper", "targets/metadata")
_POOLS = Question("scraper", "scrape_pools", ("scrapePools",))


def blueprint(scrapers: Sequence[ListenAddress], ask: Ask = ask_targets) -> Blueprint:
    bp = Blueprint("targets", __name__)

    @bp.get("/targets")
    def targets() -> Response:
        query = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
        answers = gather(scrapers, query, ask)
        if not answers.answered:
            raise unavailable(answers.warnings, "scrapers")
        return success(answers.data, answers.warnings)

    @bp.get("/targets/metadata")
    def metadata() -> Response:
        most = params.most(request, "limit")
        query = chosen(request.args, ("metric", "match_target", "limit"))
        answers, warnings = ask_all(scrapers, lambda address: _METADATA.ask(address, query))
        if not answers:
            raise unavailable(warnings, "scrapers")
        return success([entry for answer in answers for entry in answer][:most], warnings)

    @bp.get("/scrape_pools")
    def scrape_pools() -> Response:
        answers, warnings = ask_all(scrapers, lambda address: _POOLS.ask(address, ()))
        if not answers:
            raise unavailable(warnings, "scrapers")
        names = {name for answer in answers for name in answer["scrapePools"]}
        return success({"scrapePools": sorted(names)}, warnings)

    return bp
