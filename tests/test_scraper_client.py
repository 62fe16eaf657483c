"""How requests are made: TLS with inline certificates, headers, proxies, over real sockets."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scraper.client import Client, Request
from scraper.fetch import Answer, Fetcher
from scraper.httpconfig import HttpConfig
from scraper.proxies import bypasses, proxy_chooser
from tests.bridge_fakes import make_certificate
from tests.scraper_fakes import Targets
from tests.support import needs


def http(**settings: Any) -> HttpConfig:
    return HttpConfig.model_validate(settings)


def get(
    url: str, config: HttpConfig, environment: Mapping[str, str] | None = None, **more: Any
) -> Answer:
    answers: list[Answer] = []
    fetcher = Fetcher()
    client = Client(config, whose="test", accept="*/*", environment=environment or {}, **more)
    try:
        fetcher.start(client, Request(url, 5.0, 1 << 20), answers.append)
        while not answers:
            fetcher.run(1.0)
    finally:
        fetcher.close()
        client.close()
    return answers[0]


NO_PROXY = [
    pytest.param("web.example", "http://web.example:9100/", True, id="a host"),
    pytest.param("web.example", "http://a.web.example/", True, id="and those below it"),
    pytest.param("web.example", "http://aweb.example/", False, id="but no other"),
    pytest.param(".example", "http://web.example/", True, id="a domain"),
    pytest.param(".example", "http://example/", False, id="which is not in itself"),
    pytest.param("*.example", "http://a.example/", True, id="a domain with a star"),
    pytest.param("web.example:9100", "http://web.example:9100/", True, id="a port"),
    pytest.param("web.example:9100", "http://web.example/", False, id="another port"),
    pytest.param("web.example:443", "https://web.example/", True, id="a scheme's port"),
    pytest.param("192.0.2.0/24", "http://192.0.2.7:1/", True, id="a network"),
    pytest.param("192.0.2.0/24", "http://192.0.3.7/", False, id="another network"),
    pytest.param("192.0.2.7", "http://192.0.2.7/", True, id="an address"),
    pytest.param("2001:db8::1", "http://[2001:db8::1]:1/", True, id="an IPv6 address"),
    pytest.param("[2001:db8::1]:80", "http://[2001:db8::1]:1/", False, id="with another port"),
    pytest.param("a, b ,web.example", "http://WEB.example/", True, id="one of several"),
    pytest.param("*", "http://web.example/", True, id="everything"),
    pytest.param("", "http://web.example/", False, id="nothing"),
    pytest.param("a/b", "http://192.0.2.1/", False, id="a network that is none"),
    pytest.param("x", "http://127.0.0.1:9100/", True, id="this machine"),
    pytest.param("x", "http://localhost/", True, id="this machine by name"),
]


@pytest.mark.parametrize(("no_proxy", "url", "expected"), NO_PROXY)
def test_who_is_asked_without_a_proxy(no_proxy: str, url: str, expected: bool) -> None:
    assert bypasses(no_proxy, url) == expected


PROXIES = [
    pytest.param({}, {"HTTP_PROXY": "http://p"}, "http://a/", "", id="none"),
    pytest.param({"proxy_url": "http://p:1"}, {}, "http://127.0.0.1/", "http://p:1", id="for all"),
    pytest.param(
        {"proxy_url": "http://p:1", "no_proxy": "a"}, {}, "http://a/", "", id="not for a host"
    ),
    pytest.param(
        {"proxy_url": "socks5://p:1"}, {}, "http://a/", "socks5h://p:1",
        id="names are left to SOCKS",
    ),
    pytest.param(
        {"proxy_from_environment": True}, {"http_proxy": "http://p"}, "http://a/", "http://p",
        id="of the environment",
    ),
    pytest.param(
        {"proxy_from_environment": True}, {"HTTP_PROXY": "http://p"}, "https://a/", "",
        id="for the other scheme",
    ),
    pytest.param(
        {"proxy_from_environment": True}, {"HTTPS_PROXY": "http://p", "NO_PROXY": "b,a"},
        "https://a/", "", id="with exceptions",
    ),
    pytest.param(
        {"proxy_from_environment": True}, {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"},
        "http://a/", "", id="not what a web server's client has written",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "environment", "url", "proxy"), PROXIES)
def test_which_proxy(
    settings: dict[str, Any], environment: dict[str, str], url: str, proxy: str
) -> None:
    assert proxy_chooser(http(**settings), environment)(url) == proxy


@pytest.mark.integration
def test_a_request_through_a_proxy_bears_the_targets_login_and_the_proxys() -> None:
    with Targets() as proxy:
        url = f"http://u:hunter2@{proxy.address}"
        config = http(proxy_url=url, authorization={"credentials": "tOken"})
        assert get("http://web.example:9100/metrics", config).body == proxy.page
        path, headers = proxy.requests[0]
        assert path == "http://web.example:9100/metrics"
        assert headers["authorization"] == "bearer token"
        assert headers["proxy-authorization"].startswith("basic ")
        assert "hunter2" not in repr(config)


@pytest.mark.integration
def test_what_a_target_is_told_is_not_for_the_proxy_in_between() -> None:
    with Targets() as proxy:
        config = http(
            proxy_url=f"http://{proxy.address}",
            proxy_connect_header={"X-Via": ["me"]},
            basic_auth={"username": "u", "password": "p"},
            http_headers={"X-Secret": {"secrets": ["s"]}},
        )
        answer = get("https://web.example:9100/metrics", config)
        assert answer.reason  # this proxy makes no tunnels
        path, headers = proxy.requests[0]
        assert path == "web.example:9100"
        assert headers["x-via"] == "me"
        assert not {"authorization", "x-secret"} & headers.keys()


@pytest.mark.integration
def test_the_environments_proxies_are_not_asked_unless_told_to() -> None:
    with Targets() as target, Targets() as proxy:
        environment = {"HTTP_PROXY": f"http://{proxy.address}"}
        assert get(f"http://{target.address}/", http(), environment).body
        assert not proxy.requests
        assert get("http://a.example/", http(proxy_from_environment=True), environment).body
        assert len(proxy.requests) == 1


@pytest.mark.integration
def test_a_proxy_that_is_not_there_is_the_reason() -> None:
    answer = get("http://web.example/", http(proxy_url="http://u:hunter2@127.0.0.1:1"))
    assert answer.reason
    assert "hunter2" not in answer.error


@pytest.mark.integration
def test_headers_of_all_three_kinds(tmp_path: Path) -> None:
    (tmp_path / "value").write_text("from a file\n")
    config = http(
        http_headers={
            "X-Plain": {"values": ["one"]},
            "X-Secret": {"secrets": ["hunter2"]},
            "X-File": {"files": [str(tmp_path / "value")]},
            "X-Empty": {"values": [""]},
            "Accept": {"values": ["text/plain"]},
        }
    )
    assert "hunter2" not in repr(config)
    with Targets() as target:
        assert get(f"http://{target.address}/", config, compressed=False).body
        _, headers = target.requests[0]
        assert headers["x-plain"] == "one"
        assert headers["x-secret"] == "hunter2"
        assert headers["x-file"] == "from a file"
        assert headers["accept"] == "text/plain"
        assert headers["accept-encoding"] == "identity"
        (tmp_path / "value").write_text("a\r\nX-Evil: b")
        answer = get(f"http://{target.address}/", config)
        assert answer.reason == "credentials"
        assert "line break" in answer.error
        (tmp_path / "value").unlink()
        assert "value" in get(f"http://{target.address}/", config).error
        assert len(target.requests) == 1


@pytest.mark.integration
def test_what_comes_packed_unasked_is_unpacked() -> None:
    with Targets() as target:
        answer = get(f"http://{target.address}/zip", http(), compressed=False)
        assert answer.body == target.page


@needs("openssl")
@pytest.mark.integration
def test_certificates_may_stand_in_the_configuration(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    server.load_verify_locations(cert)
    server.verify_mode = ssl.CERT_REQUIRED  # the client shows who it is
    ours = {"ca": cert.read_text(), "cert": cert.read_text(), "key": key.read_text()}
    with Targets(tls=server) as target:
        url = f"https://{target.address}/metrics"
        assert get(url, http(tls_config=ours)).body == target.page
        files = {"ca_file": cert, "cert_file": cert, "key_file": key}
        assert get(url, http(tls_config=files)).body == target.page
        mixed = {"ca_file": cert, "cert": cert.read_text(), "key_file": key}
        assert get(url, http(tls_config=mixed)).body == target.page
        assert get(url, http(tls_config={"ca": cert.read_text()})).reason
        assert get(url, http(tls_config={**ours, "ca": ""})).reason == "tls"
        assert get(url, http(tls_config={**ours, "ca": "no certificate"})).reason
        old = {**ours, "min_version": "TLS10", "max_version": "TLS11"}
        assert get(url, http(tls_config=old)).reason == "tls"
        named = {**ours, "server_name": "localhost"}
        assert get(url, http(tls_config=named)).body == target.page
        assert get(url, http(tls_config={**ours, "server_name": "other"})).reason == "tls"
        unchecked = {**ours, "ca": "", "insecure_skip_verify": True}
        assert get(url, http(tls_config=unchecked)).body == target.page
