"""The web configuration file: its faults, and what it does to a server."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from fleetpulse.errors import ConfigError
from fleetpulse.web.gate import TokenBucket
from fleetpulse.web.rules import RulesFile, load_rules
from fleetpulse.web.suites import TLS12_SUITES
from fleetpulse.web.webfile import RateLimit
from tests.bridge_fakes import make_certificate
from tests.web_fakes import Ticks

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
