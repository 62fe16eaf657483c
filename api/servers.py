"""GET /api/v1/servers and /api/v1/servers/NAME."""

import time
from collections.abc import Callable
from dataclasses import asdict

from flask import Blueprint, Response, request

from api.inventory import Inventory
from api.respond import Refusal, success


def blueprint(inventory: Inventory, now: Callable[[], float] = time.time) -> Blueprint:
    bp = Blueprint("servers", __name__)

    @bp.get("/servers")
    def servers() -> Response:
        state = request.args.get("state")
        found = inventory.servers(round(now() * 1000))
        return success([asdict(one) for one in found if not state or one.state == state])

    @bp.get("/servers/<path:name>")
    def server(name: str) -> Response:
        job = request.args.get("job")
        for one in inventory.servers(round(now() * 1000), name):
            if not job or one.job == job:
                return success(asdict(one))
        raise Refusal(404, f"server {name[:100]!r} is not known; /api/v1/servers lists all")

    return bp
