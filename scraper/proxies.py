"""Which proxy, if any, a request goes through: proxy_url, no_proxy, or the environment's.

As golang.org/x/net/http/httpproxy has it, on which Prometheus relies: with no_proxy or the
environment's variables this machine itself is never asked through a proxy.
"""

import ipaddress
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from scraper.httpconfig import HttpConfig

_DEFAULT_PORTS = {"http": 80, "https": 443}

ProxyOf = Callable[[str], str]


def proxy_chooser(http: HttpConfig, environment: Mapping[str, str]) -> ProxyOf:
    """From a URL to the proxy's URL for it, or an empty text for none."""
    if http.proxy_from_environment:
        return _from_environment(environment)
    if http.proxy_url is None:
        return lambda _url: ""
    proxy = _for_libcurl(http.proxy_url.get_secret_value())
    if not http.no_proxy:
        return lambda _url: proxy
    return lambda url: "" if bypasses(http.no_proxy, url) else proxy


def _from_environment(environment: Mapping[str, str]) -> ProxyOf:
    def variable(name: str) -> str:
        return environment.get(name) or environment.get(name.lower()) or ""

    # A CGI program's HTTP_PROXY may come from a client's header.
    plain = "" if environment.get("REQUEST_METHOD") else variable("HTTP_PROXY")
    proxies = {"http": _for_libcurl(plain), "https": _for_libcurl(variable("HTTPS_PROXY"))}
    exempt = variable("NO_PROXY")
    return lambda url: "" if bypasses(exempt, url) else proxies.get(urlsplit(url).scheme, "")


def _for_libcurl(proxy: str) -> str:
    """In Go socks5 leaves names to the proxy, which libcurl calls socks5h."""
    if proxy.startswith("socks5://"):
        return proxy.replace("socks5", "socks5h", 1)
    return proxy


def bypasses(no_proxy: str, url: str) -> bool:
    """Whether a list of hosts, domains, addresses, networks, each with a port or not, has url's."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(_covers(entry, host, port, address) for entry in entries if entry)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _covers(entry: str, host: str, port: int, address: _Address | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and _in_network(entry, address)
    name, wanted = _split_port(entry)
    if wanted and wanted != str(port):
        return False
    listed = _address(name)
    if listed is not None or address is not None:
        return listed is not None and listed == address
    domain = name.removeprefix("*")
    if domain.startswith("."):
        return host.endswith(domain)  # subdomains alone
    return host == domain or host.endswith("." + domain)


def _in_network(entry: str, address: _Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    name, colon, port = entry.rpartition(":")
    if not colon or ":" in name or not port.isdigit():
        return entry, ""
    return name, port
