"""Puts the bridge behind its HTTP API."""

import logging

from flask import Flask
from prometheus_client import CollectorRegistry
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from alertmanager_bridge import api, api_history, api_silences
from alertmanager_bridge.amconfig import AlertmanagerFile, check_bridge_file, load_amconfig
from alertmanager_bridge.bridge import Bridge
from alertmanager_bridge.config import BridgeConfig
from alertmanager_bridge.guard import guard
from alertmanager_bridge.receivers.build import build_integrations
from fleetpulse.telemetry import health_routes

__all__ = [
    "AlertmanagerFile",
    "Bridge",
    "BridgeConfig",
    "build_integrations",
    "check_bridge_file",
    "create_app",
    "load_amconfig",
]

log = logging.getLogger(__name__)


def create_app(bridge: Bridge, config: BridgeConfig, registry: CollectorRegistry) -> Flask:
    """The API of a bridge that the caller starts and stops."""
    app = Flask("alertmanager_bridge", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = config.max_body
    app.json.sort_keys = False  # type: ignore[attr-defined]
    guard(app, config)
    app.register_blueprint(api.blueprint(bridge), url_prefix="/api/v2")
    app.register_blueprint(api_silences.blueprint(bridge), url_prefix="/api/v2")
    app.register_blueprint(api_history.blueprint(bridge), url_prefix="/api/v1")
    pages = dict(health_routes(registry, bridge.ready))
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, pages)  # type: ignore[method-assign]
    if not config.listen.is_loopback:
        log.warning(
            "the bridge listens on %s and asks for no password: everyone who reaches it may send "
            "alerts and silence them; let a firewall or a proxy decide who does",
            config.listen,
        )
    return app
