"""Slack and webhooks against a real server on loopback."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from alertmanager_bridge.bridge import Bridge
from alertmanager_bridge.config import BridgeConfig
from alertmanager_bridge.receivers.base import Notifier
from alertmanager_bridge.receivers.slack import SlackNotifier
from fleetpulse.errors import NotifyError
from tests.bridge_fakes import START, Rig, alert, amfile, built, integration, message
from tests.support import free_port, wait_for

SECRET = "/services/T000/B000/made-up-secret"


@dataclass
class Reply:
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False


class Web:
    """Answers POSTs with the given replies, then with `ok`; keeps what it was sent."""

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.released = threading.Event()
        left, outer = list(replies), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), json.loads(body)))
                reply = left.pop(0) if left else Reply()
                if reply.hang:
                    outer.released.wait(20)
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Web":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def bodies(self) -> list[Any]:
        return [body for _, _, body in self.requests]


def slack(url: str, more: str = "") -> Notifier:
    return built(f"slack_configs: [{{api_url: '{url}{SECRET}' {more}}}]")


# Slack


def test_slacks_body_in_our_own_words() -> None:
    notifier = slack("http://x", ", channel: '#ops'")
    assert isinstance(notifier, SlackNotifier)
    one = alert(host="<web>", severity="page")
    body = notifier.body(message(one, alert(host="b", at=START - 60, ends=START - 1)))
    (attachment,) = body["attachments"]
    assert (body["channel"], body["username"]) == ("#ops", "FleetPulse")
    assert attachment["color"] == "danger"
    assert attachment["title"] == "[FIRING:1] Down"
    assert attachment["title_link"] == "http://bridge.example/api/v2/alerts"
    assert "*FIRING* Down is bad" in attachment["text"]
    assert "`host=&lt;web&gt;` `severity=page`" in attachment["text"]
    assert "*RESOLVED*" in attachment["text"]


def test_slacks_body_when_all_is_over() -> None:
    notifier = slack("http://x")
    assert isinstance(notifier, SlackNotifier)
    (attachment,) = notifier.body(message(alert(at=START - 60, ends=START)))["attachments"]
    assert attachment["color"] == "good"
    assert attachment["title"] == "[RESOLVED] Down"


def test_slacks_body_in_users_words() -> None:
    notifier = slack(
        "http://x",
        ", title: '{{ .CommonLabels.host }}!', text: '{{ .Status | toUpper }}', color: '#123456',"
        " username: bot, short_fields: true, fields: [{title: T, value: '{{ .Status }}'},"
        " {title: U, value: V, short: false}], actions: [{type: button, text: x, url: 'http://r'}],"
        " link_names: true, mrkdwn_in: [text], footer: f, pretext: p, fallback: fb",
    )
    assert isinstance(notifier, SlackNotifier)
    assert notifier.body(message(alert(host="web"))) == {
        "username": "bot",
        "link_names": True,
        "attachments": [
            {
                "title": "web!",
                "title_link": "http://bridge.example/api/v2/alerts",
                "pretext": "p",
                "text": "FIRING",
                "fallback": "fb",
                "footer": "f",
                "color": "#123456",
                "mrkdwn_in": ["text"],
                "fields": [
                    {"title": "T", "value": "firing", "short": True},
                    {"title": "U", "value": "V", "short": False},
                ],
                "actions": [{"type": "button", "text": "x", "url": "http://r"}],
            }
        ],
    }


def test_a_channel_that_does_not_fit_the_message_is_not_retried() -> None:
    with pytest.raises(NotifyError, match="can't evaluate field Nope") as caught:
        slack("http://127.0.0.1:9", ", channel: '{{ .Nope }}'").notify(message())
    assert not caught.value.retriable


def test_words_that_do_not_fit_the_message_are_replaced(caplog: pytest.LogCaptureFixture) -> None:
    notifier = slack("http://x", ", text: '{{ .Nope }}', title: '{{ .Status }}'")
    assert isinstance(notifier, SlackNotifier)
    (attachment,) = notifier.body(message())["attachments"]
    assert (attachment["title"], "Down is bad" in attachment["text"]) == ("firing", True)
    assert "can't evaluate field Nope" in caplog.text


@pytest.mark.integration
def test_slack_answers_500_then_200_and_has_the_message_once(tmp_path: Path) -> None:
    with Web(Reply(500, b"oops")) as web:
        with Rig(tmp_path, integration("ear", slack(web.url))) as rig:
            rig.post(alert(host="a", at=START - 60))
            rig.run(0)
            assert len(web.requests) == 1
            rig.run(3600)
        assert len(web.requests) == 2
        assert web.bodies[0] == web.bodies[1]
        assert web.requests[0][0] == SECRET


REPLIES = [
    pytest.param(Reply(400, b"invalid_payload"), False, None, ": invalid_payload", id="400"),
    pytest.param(Reply(404, b"no_team"), False, None, "HTTP 404", id="404"),
    pytest.param(Reply(500), True, None, "HTTP 500", id="500"),
    pytest.param(Reply(429, headers={"Retry-After": "30"}), True, 30.0, "HTTP 429", id="429"),
    pytest.param(Reply(429, headers={"Retry-After": "999999"}), True, 3600.0, "429", id="429 long"),
    pytest.param(
        Reply(503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), True, 0.0, "503",
        id="Retry-After as a date",
    ),
    pytest.param(Reply(429, headers={"Retry-After": "\xb2"}), True, None, "429", id="no digit"),
    pytest.param(Reply(429, headers={"Retry-After": "soon"}), True, None, "429", id="garbage"),
    pytest.param(
        Reply(302, headers={"Location": "http://127.0.0.1:9/"}), False, None, "redirects",
        id="redirect",
    ),
    pytest.param(Reply(200, b"channel_not_found"), False, None, "channel_not_found", id="200 no"),
    pytest.param(
        Reply(200, b'{"ok": false, "error": "nope"}', {"Content-Type": "application/json"}),
        False, None, "nope", id="200 with JSON that says no",
    ),
    pytest.param(
        Reply(200, b"{", {"Content-Type": "application/json"}), True, None, "unreadable",
        id="200 with broken JSON",
    ),
    pytest.param(Reply(400, SECRET.encode()), False, None, "<secret>", id="a secret echoed"),
]  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize(("reply", "retriable", "after", "said"), REPLIES)
def test_slacks_answers(reply: Reply, retriable: bool, after: float | None, said: str) -> None:
    with Web(reply) as web:
        with pytest.raises(NotifyError) as caught:
            slack(web.url).notify(message())
        assert len(web.requests) == 1
    error = caught.value
    assert (error.retriable, error.retry_after) == (retriable, after)
    assert said in str(error)
    assert "SECRET" not in str(error)


@pytest.mark.integration
def test_an_answer_in_an_unknown_charset_is_an_answer() -> None:
    with Web(Reply(200, b"ok", {"Content-Type": "text/plain; charset=utf8mb4"})) as web:
        slack(web.url).notify(message())
        assert len(web.requests) == 1


@pytest.mark.integration
def test_nobody_there() -> None:
    with pytest.raises(NotifyError, match="cannot connect") as caught:
        slack(f"http://127.0.0.1:{free_port()}").notify(message())
    assert caught.value.retriable
    assert "SECRET" not in str(caught.value)


@pytest.mark.integration
def test_a_hanging_slack_is_left_after_the_time_limit() -> None:
    with Web(Reply(hang=True)) as web:
        with pytest.raises(NotifyError, match="no answer within the time limit") as caught:
            slack(web.url, ", timeout: 200ms").notify(message())
        assert caught.value.retriable


@pytest.mark.integration
def test_a_hanging_receiver_does_not_hold_up_the_other(tmp_path: Path) -> None:
    text = (
        "route: {receiver: ops, group_wait: 0s}\nreceivers:\n- name: ops\n"
        "  slack_configs: [{api_url: '%s/x'}]\n  webhook_configs: [{url: '%s'}]\n"
    )
    with Web(Reply(hang=True)) as stuck, Web() as good:
        file = amfile(text % (stuck.url, good.url))
        bridge = Bridge(BridgeConfig(), tmp_path / "two.db", CollectorRegistry(), amconfig=file)
        bridge.start()
        try:
            bridge.post([alert(at=time.time() - 60, ends=time.time() + 600)])
            wait_for("the message at the good receiver", lambda: good.requests)
            wait_for("the attempt at the stuck receiver", lambda: stuck.requests)
        finally:
            stuck.released.set()
            bridge.stop()
        assert len(good.requests) == 1


# Webhook


@pytest.mark.integration
def test_webhook_body_and_header() -> None:
    with Web(Reply(204, b"")) as web:
        notifier = built(f"webhook_configs: [{{url: '{web.url}/hook', max_alerts: 1}}]")
        sent = message(alert(host="a"), alert(host="b"))
        notifier.notify(sent)
        ((path, headers, body),) = web.requests
    assert path == "/hook"
    assert headers["Idempotency-Key"] == sent.id
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"].startswith("FleetPulse/")
    assert (body["version"], body["truncatedAlerts"], len(body["alerts"])) == ("4", 1, 1)
    assert body["alerts"][0]["endsAt"] == "0001-01-01T00:00:00Z"
    assert body["alerts"][0]["fingerprint"] == alert(host="a").fingerprint


AUTHS = [
    pytest.param("basic_auth: {username: a, password: b}", "Basic YTpi", id="basic"),
    pytest.param("authorization: {credentials: tok}", "Bearer tok", id="bearer"),
    pytest.param("authorization: {type: Key, credentials: tok}", "Key tok", id="own type"),
    pytest.param("bearer_token: tok", "Bearer tok", id="old bearer"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("config", "expected"), AUTHS)
def test_http_authorization(config: str, expected: str) -> None:
    with Web() as web:
        built(f"webhook_configs: [{{url: '{web.url}', http_config: {{{config}}}}}]").notify(
            message()
        )
        assert web.requests[0][1]["Authorization"] == expected


URL_AUTHS = [
    pytest.param("", "Basic YTpiIGM=", id="of the URL"),
    pytest.param("bearer_token: tok", "Bearer tok", id="a token wins"),
    pytest.param(
        "basic_auth: {username: x, password: y}", "Basic eDp5", id="the configured one wins"
    ),
]


@pytest.mark.integration
@pytest.mark.parametrize(("config", "expected"), URL_AUTHS)
def test_a_name_and_password_in_the_url(config: str, expected: str) -> None:
    with Web() as web:
        url = web.url.replace("://", "://a:b%20c@")
        built(f"webhook_configs: [{{url: '{url}', http_config: {{{config}}}}}]").notify(message())
        assert web.requests[0][1]["Authorization"] == expected


@pytest.mark.integration
def test_a_secret_file_is_read_anew_each_time(tmp_path: Path) -> None:
    with Web() as web:
        file = tmp_path / "url"
        notifier = built(f"webhook_configs: [{{url_file: '{file}'}}]")
        with pytest.raises(NotifyError, match="cannot read the secret") as caught:
            notifier.notify(message())
        assert caught.value.retriable
        file.write_text(f"{web.url}/later\n")
        notifier.notify(message())
        assert web.requests[0][0] == "/later"
