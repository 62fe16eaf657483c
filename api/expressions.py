"""/api/v1/format_query, parse_query and query_exemplars: what reads an expression only."""

from flask import Blueprint, Request, Response, request

from api import params
from api.respond import bad_data, success
from fleetpulse.errors import QueryError
from fleetpulse.promql.printer import pretty
from fleetpulse.promql.syntax import Expr, Selector, parse, walk
from fleetpulse.promql.syntaxtree import tree_json


def blueprint(*, experimental: bool) -> Blueprint:
    """experimental: whether expressions may have what promql.experimental allows."""
    bp = Blueprint("expressions", __name__)

    @bp.route("/format_query", methods=["GET", "POST"])
    def format_query() -> Response:
        return success(pretty(_named(request, experimental)))

    @bp.route("/parse_query", methods=["GET", "POST"])
    def parse_query() -> Response:
        return success(tree_json(_named(request, experimental)))

    @bp.route("/query_exemplars", methods=["GET", "POST"])
    def exemplars() -> Response:
        """Exemplars are not kept; dashboards ask for them all the same."""
        start_ms = params.time_ms(request, "start", default=params.MIN_MS)
        if params.time_ms(request, "end", default=params.MAX_MS) < start_ms:
            raise bad_data("end timestamp must not be before start timestamp")
        expr = parse(params.value(request, "query"), experimental=experimental)
        if not any(isinstance(node, Selector) for node in walk(expr)):
            return Response(status=204)
        return success([])

    return bp


def _named(req: Request, experimental: bool) -> Expr:
    """The expression; a refusal names the parameter, as Prometheus' does here."""
    try:
        return parse(params.value(req, "query"), experimental=experimental)
    except QueryError as err:
        raise params.invalid("query", str(err)) from err
