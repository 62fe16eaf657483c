"""The TLS context that a web configuration file asks for."""

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

from fleetpulse.web.suites import CURVES, TLS12_SUITES
from fleetpulse.web.webfile import REQUIRED, TlsConfig

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

Fault = tuple[str, str]  # key of tls_server_config, message


def make_context(tls: TlsConfig) -> tuple[ssl.SSLContext, list[Fault]]:
    """A server's context, and what is wrong with the certificates and keys it names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _set_protocol(context, tls)
    return context, [*_load_pair(context, tls), *_set_clients(context, tls)]


def _set_protocol(context: ssl.SSLContext, tls: TlsConfig) -> None:
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    if tls.cipher_suites:
        names = [TLS12_SUITES[suite] for suite in tls.cipher_suites if suite in TLS12_SUITES]
        if names:
            context.set_ciphers(":".join(names))
        else:  # only those of TLS 1.3 are named
            context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not tls.prefer_server_cipher_suites:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if len(set(tls.curve_preferences)) == 1:
        context.set_ecdh_curve(CURVES[tls.curve_preferences[0]])


def _load_pair(context: ssl.SSLContext, tls: TlsConfig) -> Iterator[Fault]:
    faults = [
        (f"{name}_file", why)
        for name, file in (("cert", tls.cert_file), ("key", tls.key_file))
        if file is not None and (why := _unreadable(file)) is not None
    ]
    yield from faults
    if faults:
        return
    inline_key = tls.key.get_secret_value() if tls.key is not None else None
    try:
        with (
            _on_file(tls.cert, tls.cert_file) as cert,
            _on_file(inline_key, tls.key_file) as own,
        ):
            # A password that is wrong: without one, OpenSSL would ask for it at the terminal.
            context.load_cert_chain(cert, own, password="")
    except (OSError, ValueError) as err:  # ssl.SSLError is an OSError
        where = "cert_file" if tls.cert is None else "cert"
        yield where, f"no certificate with its key, without a password, in PEM: {_reason(err)}"


def _set_clients(context: ssl.SSLContext, tls: TlsConfig) -> Iterator[Fault]:
    if not tls.verifies:
        return
    required = tls.client_auth_type == REQUIRED
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    # As in Go, a certificate in the file is trusted even if it is no root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.client_ca is None and tls.client_ca_file is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    name = "client_ca_file" if tls.client_ca is None else "client_ca"
    try:
        pem = tls.client_ca or (tls.client_ca_file or Path()).read_text("ascii")
        context.load_verify_locations(cadata=pem)
    except (OSError, ValueError) as err:
        yield name, f"no certificates in PEM: {_reason(err)}"


def _unreadable(file: Path) -> str | None:
    try:
        file.open("rb").close()
    except OSError as err:
        return f"{file} cannot be read: {err.strerror}"
    return None


def _reason(err: OSError | ValueError) -> str:
    if isinstance(err, ssl.SSLError):
        return (err.reason or "unknown").replace("_", " ").lower()
    return (err.strerror if isinstance(err, OSError) else None) or str(err)


@contextmanager
def _on_file(text: str | None, file: Path | None) -> Iterator[Path]:
    """A file that holds the text: ssl reads nothing else. In memory where the system can."""
    if text is None:
        assert file is not None
        yield file
    elif hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("pem"), "w") as memory:
            memory.write(text)
            memory.flush()
            yield Path(f"/proc/self/fd/{memory.fileno()}")
    else:
        import tempfile  # large, and rarely needed

        handle, name = tempfile.mkstemp()  # readable for the owner alone
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(text)
            yield Path(name)
        finally:
            with suppress(OSError):
                Path(name).unlink()


def unwanted(tls: ssl.SSLObject, allowed: Sequence[str]) -> str | None:
    """Why a client whose certificate was verified may not go on; None where it may.

    One of the certificate's alternative names (DNS, IP, e-mail or URI) must be allowed. A client
    without a certificate is only here where none is required.
    """
    certificate = tls.getpeercert()
    if not allowed or not certificate:
        return None
    pairs: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())  # type: ignore[assignment]
    names = {_plain(kind, name) for kind, name in pairs}
    if names & set(allowed):
        return None
    return f"none of the client certificate's names is allowed: {', '.join(sorted(names))}"


def _plain(kind: str, name: str) -> str:
    """OpenSSL writes IPv6 addresses in full, people write them short."""
    if kind == "IP Address":
        with suppress(ValueError):
            return str(ip_address(name.strip()))
    return name
