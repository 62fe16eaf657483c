"""The web configuration file: its faults, and what it does to a server."""

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

from fleetpulse.errors import ConfigError, StartError
from fleetpulse.values import ListenAddress
from fleetpulse.web.gate import TokenBucket
from fleetpulse.web.http import Route, text
from fleetpulse.web.rules import RulesFile, load_rules
from fleetpulse.web.server import WebServer
from fleetpulse.web.suites import TLS12_SUITES
from fleetpulse.web.webfile import RateLimit
from tests.bridge_fakes import make_certificate

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

HASH = "$2y$10$" + "a" * 53
PAIR = "cert_file: cert.pem, key_file: key.pem"


def faults_of(folder: Path, content: str) -> list[str]:
    """Each without the folder's name."""
    file = folder / "web.yml"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_rules(file)
    return [fault.replace(f"{folder}/", "") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param("tls_server_confg: {}", "did you mean tls_server_config?", id="unknown key"),
        pytest.param("tls_server_config: {cert_file: c}", "key_file: missing", id="no key"),
        pytest.param("tls_server_config: {key_file: k}", "cert_file: missing", id="no cert"),
        pytest.param(
            "tls_server_config: {min_version: TLS13}", "cert_file: missing", id="TLS without both"
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, cert: x}}", "keep one of the two", id="file and inline"
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, client_auth_type: RequireAnyClientCert}}",
            "client_auth_type: RequireAnyClientCert asks for a certificate that is not verified, "
            "which is not supported; write RequireAndVerifyClientCert",
            id="certificates that nobody verifies",
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, client_auth_type: Never}}",
            "none of NoClientCert, VerifyClientCertIfGiven, RequireAndVerifyClientCert",
            id="no policy",
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, client_ca_file: ca.pem}}",
            "client_ca_file: has no effect without client_auth_type",
            id="a CA without a policy",
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, client_allowed_sans: [a]}}",
            "client_allowed_sans: has no effect without client_auth_type",
            id="names without a policy",
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, min_version: TLS11}}", "write TLS12", id="old version"
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, min_version: TLS13, max_version: TLS12}}",
            "min_version: must not be above max_version",
            id="no version is left",
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}",
            "cipher_suites[0]: 'TLS_RSA_WITH_RC4_128_SHA' is none of",
            id="a suite that is not safe",
        ),
        pytest.param(
            f"tls_server_config: {{{PAIR}, curve_preferences: [X25519, CurveP256]}}",
            "curve_preferences: Python's TLS takes a single curve",
            id="two curves",
        ),
        pytest.param(
            "http_server_config: {headers: {X-Frame-Options: allow}}",
            "headers.X-Frame-Options: 'allow' is not possible; write deny or sameorigin",
            id="a header's value",
        ),
        pytest.param(
            "http_server_config: {headers: {Server: x}}",
            "headers.Server: cannot be set here",
            id="another header",
        ),
        pytest.param(
            'http_server_config: {headers: {X-XSS-Protection: "a\\nb"}}',
            "has a character that no header can have",
            id="a line break in a header",
        ),
        pytest.param("http_server_config: {http2: maybe}", "neither true nor false", id="a switch"),
        pytest.param(
            "basic_auth_users: [a]", "write a mapping of user names", id="a list of users"
        ),
        pytest.param(
            f'basic_auth_users: {{"a:b": "{HASH}"}}', "colon can never log in", id="a colon"
        ),
        pytest.param(
            f"basic_auth_users: {{007: '{HASH}'}}", "write it in quotes", id="a number as name"
        ),
        pytest.param(
            f"basic_auth_users: {{a: '{HASH.replace('$10', '$31')}'}}",
            "a cost of 31 is not possible",
            id="a cost of hours",
        ),
        pytest.param("rate_limit: {interval: 1s}", "burst: with 0 no request", id="no burst"),
        pytest.param("rate_limit: {interval: 1, burst: 2}", "has no unit", id="no unit"),
        pytest.param("a: [", "not valid YAML", id="no YAML"),
    ],
)
def test_a_fault_says_where_it_is_and_how_to_mend_it(
    tmp_path: Path, content: str, fault: str
) -> None:
    faults = faults_of(tmp_path, content)
    assert any(fault in one for one in faults), faults
    assert all(one.startswith("web.yml:1: ") for one in faults)


def test_all_faults_come_at_once_and_by_line(tmp_path: Path) -> None:
    content = "tls_server_config:\n  cert_fil: x\nbasic_auth_users:\n  a: open sesame\n  b: ''\n"
    faults = faults_of(tmp_path, content)
    assert [fault.split(" ")[0] for fault in faults] == ["web.yml:2:", "web.yml:4:", "web.yml:5:"]
    assert "sesame" not in "".join(faults)


@needs_openssl
def test_faults_of_certificates_and_keys(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    make_certificate(other)
    locked = ["openssl", "pkey", "-in", "key.pem", "-aes256", "-passout", "pass:x", "-out", "l.pem"]
    subprocess.run(locked, cwd=tmp_path, check=True, capture_output=True)
    verify = "client_auth_type: RequireAndVerifyClientCert"
    for keys, fault in [
        (
            "cert_file: none.pem, key_file: no.pem",
            "web.yml:1: tls_server_config.cert_file: none.pem",
        ),
        ("cert_file: none.pem, key_file: no.pem", "web.yml:1: tls_server_config.key_file: no.pem"),
        ("cert_file: cert.pem, key_file: other/key.pem", "key values mismatch"),
        ("cert_file: key.pem, key_file: key.pem", "no certificate with its key"),
        ("cert_file: cert.pem, key_file: l.pem", "without a password"),
        (f"{PAIR}, {verify}, client_ca_file: none.pem", "client_ca_file: no certificates in PEM"),
        (f"{PAIR}, {verify}, client_ca_file: key.pem", "client_ca_file: no certificates in PEM"),
        (f"{PAIR}, {verify}, client_ca: x", "client_ca: no certificates in PEM"),
    ]:
        faults = faults_of(tmp_path, f"tls_server_config: {{{keys}}}")
        assert any(fault in one for one in faults), faults


def test_an_empty_file_asks_for_nothing(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("")
    assert load_rules(file).pipe() is None


@needs_openssl
def test_suites_and_curves_are_known_to_openssl(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    file = tmp_path / "web.yml"
    suites = ", ".join([*TLS12_SUITES, "TLS_AES_128_GCM_SHA256"])
    for more in (f"cipher_suites: [{suites}]", "curve_preferences: [X25519]", "max_version: TLS12"):
        file.write_text(f"tls_server_config: {{{PAIR}, {more}}}")
        context = load_rules(file).context
        assert context is not None
        if "suites" in more:
            names = {cipher["name"] for cipher in context.get_ciphers()}
            assert names >= set(TLS12_SUITES.values())
    file.write_text(f"tls_server_config: {{{PAIR}, cipher_suites: [TLS_AES_128_GCM_SHA256]}}")
    context = load_rules(file).context
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3


# Changes while the server runs


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_changed_file_is_taken_up_and_a_wrong_one_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "web.yml", Ticks()

    def after(content: str) -> set[str]:
        file.write_text(content)
        clock.now += 1
        return set(rules.current().config.basic_auth_users)

    file.write_text(f"basic_auth_users: {{a: '{HASH}'}}")
    rules = RulesFile(file, clock)
    assert set(rules.load().config.basic_auth_users) == {"a"}
    assert after(f"basic_auth_users: {{a: '{HASH}', bc: '{HASH}'}}") == {"a", "bc"}
    assert caplog.text == ""
    assert after("basic_auth_users: {d: no hash}") == {"a", "bc"}
    clock.now += 1
    rules.current()
    assert caplog.text.count("web.yml:1: basic_auth_users.d: this is no bcrypt hash") == 1
    assert after("") == {"a", "bc"}
    assert "basic_auth_users: is no longer there; restart" in caplog.text
    file.unlink()
    clock.now += 1
    assert set(rules.current().config.basic_auth_users) == {"a", "bc"}
    assert after(f"basic_auth_users: {{defg: '{HASH}'}}") == {"defg"}


def test_a_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "web.yml", Ticks()
    file.write_text(f"basic_auth_users: {{a: '{HASH}'}}")
    rules = RulesFile(file, clock)
    before = rules.load()
    file.write_text(f"basic_auth_users: {{abc: '{HASH}'}}")
    clock.now += 0.9
    assert rules.current() is before
    clock.now += 0.1
    assert rules.current() is not before


def test_a_bucket_gives_a_burst_and_then_one_each_interval() -> None:
    bucket = TokenBucket(RateLimit(interval=2.0, burst=3), 0.0)
    taken = [bucket.take(at) for at in (0, 0, 0, 0, 1, 2, 3, 4, 100, 100, 100, 100)]
    assert taken == [True] * 3 + [False, False, True, False, True] + [True] * 3 + [False]


def test_without_a_limit_a_bucket_is_never_empty() -> None:
    bucket = TokenBucket(RateLimit(), 0.0)
    assert all(bucket.take(0.0) for _ in range(1000))


# A server with a file

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
