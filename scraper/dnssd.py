"""dns_sd_configs: records of a name in the DNS are targets.

The servers asked and the domains tried are those of /etc/resolv.conf; /etc/hosts plays no part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scraper.sdconfig import DnsSdConfig, TargetGroup
from scraper.sources import DiscoveryError

_MAX_SECONDS = 10.0  # for one answer, whatever servers and domains have to be tried
_META = "__meta_dns_"


@dataclass(frozen=True, slots=True)
class Record:
    """What a record points to: an address, or a host as it is written there; port for SRV."""

    host: str
    port: int = 0


# Name, type and seconds → records. None at all where there are none; DiscoveryError: nobody knows.
Resolve = Callable[[str, str, float], Sequence[Record]]


class DnsAsker:
    """One name of a dns_sd_config: names fail and answer by themselves."""

    mechanism = "dns"

    def __init__(self, config: DnsSdConfig, name: str, resolve: Resolve) -> None:
        self._config, self._name, self._resolve = config, name, resolve
        self.subject = f"{config.type} records of {name}"

    def ask(self) -> tuple[TargetGroup, ...]:
        config = self._config
        seconds = min(config.refresh_interval, _MAX_SECONDS)
        records = self._resolve(self._name, config.type, seconds)
        return groups_of(self._name, config.type, config.port, records)


def groups_of(
    name: str, kind: str, port: int, records: Sequence[Record]
) -> tuple[TargetGroup, ...]:
    """A group for each record, as each has its own labels. Records come in any order."""
    return tuple(
        TargetGroup(
            targets=(_address(record, record.port if kind == "SRV" else port),),
            labels=_labels(name, kind, record),
        )
        for record in sorted(set(records), key=lambda record: (record.host, record.port))
    )


def _address(record: Record, port: int) -> str:
    host = record.host.rstrip(".")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _labels(name: str, kind: str, record: Record) -> dict[str, str]:
    labels = {_META + "name": name}
    if kind == "SRV":
        labels[_META + "srv_record_target"] = record.host
        labels[_META + "srv_record_port"] = str(record.port)
    elif kind in ("MX", "NS"):
        labels[f"{_META}{kind.lower()}_record_target"] = record.host
    return labels


def resolve(name: str, kind: str, seconds: float, *, resolver: Any = None) -> list[Record]:
    """Asks the system's name servers; those of a dns.resolver.Resolver, if one is given."""
    try:
        import dns.exception
        import dns.resolver
    except ImportError:
        raise DiscoveryError("dnspython is missing: pip install 'fleetpulse[server]'") from None
    try:
        resolver = resolver or dns.resolver.Resolver()
        answer = resolver.resolve(
            name, kind, lifetime=seconds, search=True, raise_on_no_answer=False
        )
    except dns.resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError) as err:
        raise DiscoveryError(str(err)[:300]) from None
    return [_record(kind, data) for data in answer.rrset or ()]


_HOST = {"A": "address", "AAAA": "address", "SRV": "target", "MX": "exchange", "NS": "target"}


def _record(kind: str, data: Any) -> Record:
    return Record(str(getattr(data, _HOST[kind])), data.port if kind == "SRV" else 0)
