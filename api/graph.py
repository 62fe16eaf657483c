"""GET /graph?g0.expr=…: where the links of alerts lead, as Prometheus has them."""

from urllib.parse import urlencode

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue

from api.respond import bad_data


def blueprint() -> Blueprint:
    """Answers with a redirect to the expression's present value; there is no page to draw it."""
    bp = Blueprint("graph", __name__)

    @bp.get("/graph")
    def graph() -> ResponseReturnValue:
        expr = request.args.get("g0.expr", "")
        if not expr:
            raise bad_data("g0.expr: missing; it is the expression to show")
        return redirect(f"/api/v1/query?{urlencode({'query': expr})}", 302)

    return bp
