"""A server with a web configuration file: TLS, client certificates, limits, renewal."""

import http.client
import logging
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from fleetpulse.errors import StartError
from fleetpulse.values import ListenAddress
from fleetpulse.web.http import Route, text
from fleetpulse.web.rules import load_rules
from fleetpulse.web.server import WebServer
from tests.bridge_fakes import make_certificate
from tests.web_fakes import Ticks

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

HASH = "$2y$10$" + "a" * 53
PAIR = "cert_file: cert.pem, key_file: key.pem"

Serve = Callable[..., WebServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as undo:

        def start(content: str, **settings: object) -> WebServer:
            file = tmp_path / "web.yml"
            file.write_text(content)
            page = Route(lambda request: text(200, "page" * 20_000))
            where = [ListenAddress("127.0.0.1", 0)]
            server = WebServer("t", where, {"/": page}, web_file=file, **settings)  # type: ignore[arg-type]
            server.start()
            undo.callback(server.stop)
            return server

        yield start


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """cert.pem and key.pem of the server; client.pem of a client, signed by ca.pem."""
    make_certificate(tmp_path)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = "subjectAltName=DNS:prom.example,IP:::1,email:ops@example,URI:spiffe://example/prom"
    for arguments in (
        ["req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca"],
        ["req", *new, "-keyout", "client.key", "-out", "client.csr", "-subj", "/CN=prometheus"],
        ["x509", "-req", "-in", "client.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
         "-CAcreateserial", "-out", "client.crt", "-extfile", "names"],
    ):  # fmt: skip
        (tmp_path / "names").write_text(names)
        subprocess.run(["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True)
    both = [(tmp_path / name).read_text() for name in ("client.crt", "client.key")]
    (tmp_path / "client.pem").write_text("".join(both))
    return tmp_path


def url(server: WebServer, scheme: str = "https") -> str:
    return f"{scheme}://localhost:{server.addresses[0].port}/"


def status(server: WebServer, pki: Path, client: str | None = None) -> int:
    """0 where the connection is refused."""
    cert = str(pki / client) if client else None
    try:
        return requests.get(
            url(server), verify=str(pki / "cert.pem"), cert=cert, timeout=20
        ).status_code
    except (requests.ConnectionError, OSError):
        return 0


@pytest.mark.integration
@needs_openssl
def test_tls_with_headers_and_a_kept_connection(serve: Serve, pki: Path) -> None:
    headers = "http_server_config: {headers: {X-Frame-Options: deny, X-XSS-Protection: ''}}"
    server = serve(f"tls_server_config: {{{PAIR}}}\n{headers}")
    with requests.Session() as session:
        for _ in range(3):
            answer = session.get(url(server), verify=str(pki / "cert.pem"), timeout=20)
            assert answer.text == "page" * 20_000 + "\n"
            assert answer.headers["X-Frame-Options"] == "deny"
            assert "X-XSS-Protection" not in answer.headers
    refused = requests.get(url(server, "http"), timeout=20)
    assert (refused.status_code, "https://" in refused.text) == (400, True)


@pytest.mark.integration
@needs_openssl
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_have_their_bounds(serve: Serve, pki: Path, version: ssl.TLSVersion) -> None:
    server = serve(f"tls_server_config: {{{PAIR}, min_version: TLS13}}")
    context = ssl.create_default_context(cafile=str(pki / "cert.pem"))
    context.maximum_version = version
    client = http.client.HTTPSConnection(
        "localhost", server.addresses[0].port, context=context, timeout=20
    )
    try:
        client.request("GET", "/")
        assert client.getresponse().status == 200
    except ssl.SSLError:
        assert version == ssl.TLSVersion.TLSv1_2
    finally:
        client.close()


@pytest.mark.integration
@needs_openssl
@pytest.mark.parametrize(
    ("keys", "without", "with_one", "with_another"),
    [
        pytest.param("RequireAndVerifyClientCert", 0, 200, 0, id="required"),
        pytest.param("VerifyClientCertIfGiven", 200, 200, 0, id="if given"),
        pytest.param("NoClientCert", 200, 200, 200, id="not looked at"),
        pytest.param(
            "RequireAndVerifyClientCert, client_allowed_sans: [prom.example]", 0, 200, 0, id="DNS"
        ),
        pytest.param(
            "RequireAndVerifyClientCert, client_allowed_sans: ['::1', x]", 0, 200, 0, id="IPv6"
        ),
        pytest.param(
            "RequireAndVerifyClientCert, client_allowed_sans: [ops@example]", 0, 200, 0, id="e-mail"
        ),
        pytest.param(
            "RequireAndVerifyClientCert, client_allowed_sans: ['spiffe://example/prom']",
            0, 200, 0, id="URI",
        ),
        pytest.param(
            "RequireAndVerifyClientCert, client_allowed_sans: [prom]", 0, 0, 0, id="another name"
        ),
        pytest.param(
            "VerifyClientCertIfGiven, client_allowed_sans: [prom]", 200, 0, 0, id="name if given"
        ),
    ],
)  # fmt: skip
def test_client_certificates(
    serve: Serve, pki: Path, keys: str, without: int, with_one: int, with_another: int
) -> None:
    ca = "" if keys.startswith("No") else ", client_ca_file: ca.pem"
    server = serve(f"tls_server_config: {{{PAIR}, client_auth_type: {keys}{ca}}}")
    (pki / "another.pem").write_text((pki / "cert.pem").read_text() + (pki / "key.pem").read_text())
    seen = [status(server, pki, client) for client in (None, "client.pem", "another.pem")]
    assert seen == [without, with_one, with_another]


@pytest.mark.integration
@needs_openssl
def test_certificate_key_and_ca_may_stand_in_the_file(serve: Serve, pki: Path) -> None:
    def inline(name: str, *files: str) -> str:
        content = "".join((pki / file).read_text() for file in files)
        return f"  {name}: |\n" + "".join(f"    {line}\n" for line in content.splitlines())

    server = serve(
        "tls_server_config:\n  client_auth_type: RequireAndVerifyClientCert\n"
        + inline("cert", "cert.pem")
        + inline("key", "key.pem")
        + inline("client_ca", "ca.pem")
    )
    assert [status(server, pki), status(server, pki, "client.pem")] == [0, 200]


@pytest.mark.integration
@needs_openssl
def test_a_renewed_certificate_is_served_to_new_connections(serve: Serve, pki: Path) -> None:
    clock = Ticks()
    server = serve(f"tls_server_config: {{{PAIR}}}", clock=clock)

    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", server.addresses[0].port), timeout=20)

    before = (pki / "cert.pem").read_text()
    assert served() == before
    make_certificate(pki)
    assert served() == before
    clock.now += 1
    assert served() == (pki / "cert.pem").read_text() != before
    renewed = served()
    (pki / "cert.pem").write_text("half a certif")
    clock.now += 1
    assert served() == renewed


@pytest.mark.integration
@needs_openssl
def test_who_does_not_finish_the_handshake_is_cut_off(serve: Serve, pki: Path) -> None:
    server = serve(f"tls_server_config: {{{PAIR}}}", patience=0.2)
    for hello in (b"", b"\x16\x03\x01\x02\x00\x01\x00"):
        with socket.create_connection(
            ("127.0.0.1", server.addresses[0].port), timeout=20
        ) as client:
            client.sendall(hello)
            assert client.recv(100) == b""


@needs_openssl
def test_an_unfinished_handshake_can_be_ended(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "web.yml").write_text(f"tls_server_config: {{{PAIR}}}")
    pipe = load_rules(tmp_path / "web.yml").pipe()
    assert pipe is not None
    assert pipe.goodbye() == b""


@pytest.mark.integration
def test_the_rate_limit_answers_429(serve: Serve) -> None:
    server = serve("rate_limit: {interval: 1h, burst: 2}")
    answers = [requests.get(url(server, "http"), timeout=20).status_code for _ in range(4)]
    assert answers == [200, 200, 429, 429]


@pytest.mark.integration
def test_a_file_that_is_wrong_or_not_there_stops_the_start(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"web\.yml:1: nothing: no such key"):
        serve("nothing: x")
    missing = tmp_path / "none.yml"
    server = WebServer("t", [ListenAddress("127.0.0.1", 0)], {}, web_file=missing)
    with pytest.raises(StartError, match=r"none\.yml:1: cannot be read"):
        server.start()


@pytest.mark.integration
def test_taking_up_a_file_is_logged(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Ticks()
    server = serve("", clock=clock)
    assert requests.get(url(server, "http"), timeout=20).status_code == 200
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{a: '{HASH}'}}")
    clock.now += 1
    assert requests.get(url(server, "http"), timeout=20).status_code == 401
    assert "web.yml and its certificates were read anew" in caplog.text
