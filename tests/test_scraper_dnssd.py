"""dns_sd_configs: records to targets, and asking a real name server on loopback."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scraper.dnssd import DnsAsker, Record, groups_of, resolve
from scraper.sdconfig import DnsSdConfig, TargetGroup
from scraper.sources import DiscoveryError

RECORDS = [
    pytest.param(
        "SRV",
        Record("web-1.example.", 9100),
        "web-1.example:9100",
        {"srv_record_target": "web-1.example.", "srv_record_port": "9100"},
        id="SRV names host and port",
    ),
    pytest.param("A", Record("192.0.2.1"), "192.0.2.1:80", {}, id="A with the port configured"),
    pytest.param("AAAA", Record("2001:db8::1"), "[2001:db8::1]:80", {}, id="AAAA in brackets"),
    pytest.param(
        "MX",
        Record("mail.example."),
        "mail.example:80",
        {"mx_record_target": "mail.example."},
        id="MX",
    ),
    pytest.param(
        "NS", Record("ns1.example."), "ns1.example:80", {"ns_record_target": "ns1.example."},
        id="NS",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "record", "address", "labels"), RECORDS)
def test_a_record_is_a_target(
    kind: str, record: Record, address: str, labels: dict[str, str]
) -> None:
    (group,) = groups_of("x.example", kind, 80, [record])
    assert group.targets == (address,)
    meta = {f"__meta_dns_{name}": value for name, value in labels.items()}
    assert group.labels == {"__meta_dns_name": "x.example", **meta}


def test_the_order_of_records_makes_no_difference() -> None:
    records = [Record("b."), Record("a."), Record("b.")]
    assert groups_of("x", "NS", 1, records) == groups_of("x", "NS", 1, records[1:])


class NameServer:
    """Answers over UDP what zone has: texts of records by name and type; None is a failure."""

    def __init__(self) -> None:
        self.zone: dict[tuple[str, str], list[str] | None] = {}
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "NameServer":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while (got := self._socket.recvfrom(4096))[0]:
            if not self.silent:
                self._socket.sendto(self._answer(got[0]), got[1])

    def _answer(self, wire: bytes) -> bytes:
        import dns.flags
        import dns.message
        import dns.rcode
        import dns.rdatatype
        import dns.rrset

        query = dns.message.from_wire(wire)
        asked = query.question[0]
        name, kind = asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        found = self.zone.get((name, kind), [])
        if found is None:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif found:
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *found))
        elif not any(known == name for known, _ in self.zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()


@pytest.fixture
def server() -> Iterator[NameServer]:
    pytest.importorskip("dns.resolver", reason="dnspython is not installed")
    with NameServer() as server:
        server.zone = {
            ("_node._tcp.example.", "SRV"): ["0 0 9100 web-1.example.", "0 0 9101 web-2.example."],
            ("web.example.", "A"): ["192.0.2.1", "192.0.2.2"],
            ("web.example.", "AAAA"): ["2001:db8::1"],
            ("example.", "MX"): ["10 mail.example."],
            ("example.", "NS"): ["ns1.example."],
            ("sick.example.", "A"): None,
        }
        yield server


def ask(server: NameServer, name: str, kind: str, seconds: float = 5.0) -> tuple[TargetGroup, ...]:
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
    resolver.search = [dns.name.from_text("example.")]

    def asked(name: str, kind: str, _seconds: float) -> Any:
        return resolve(name, kind, seconds, resolver=resolver)

    config = DnsSdConfig.model_validate({"names": [name], "type": kind, "port": 80})
    return DnsAsker(config, name, asked).ask()


ASKED = [
    pytest.param("_node._tcp.example", "srv", ["web-1.example:9100", "web-2.example:9101"]),
    pytest.param("web.example", "A", ["192.0.2.1:80", "192.0.2.2:80"]),
    pytest.param("web", "AAAA", ["[2001:db8::1]:80"], id="in the search domain"),
    pytest.param("example", "MX", ["mail.example:80"]),
    pytest.param("example.", "NS", ["ns1.example:80"]),
    pytest.param("nowhere.example", "A", [], id="a name that is not"),
    pytest.param("example", "A", [], id="a name without such a record"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("name", "kind", "addresses"), ASKED)
def test_a_name_server_is_asked(
    server: NameServer, name: str, kind: str, addresses: list[str]
) -> None:
    groups = ask(server, name, kind)
    assert [address for group in groups for address in group.targets] == addresses
    assert {group.labels["__meta_dns_name"] for group in groups} <= {name}


@pytest.mark.integration
def test_a_name_server_that_fails_or_is_silent_gives_no_answer(server: NameServer) -> None:
    with pytest.raises(DiscoveryError):
        ask(server, "sick.example", "A")
    server.silent = True
    with pytest.raises(DiscoveryError):
        ask(server, "web.example", "A", seconds=0.3)
