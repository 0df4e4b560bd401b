"""Certificates of a fake vendor: one that its client may trust, and one that nobody should.

Owns how they are made. Must never be used for anything that matters: the key lies beside the
certificate, and both are made anew for every test. Never used by production code.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
_LASTS = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate: `server` shows it, `client` trusts it and nothing else."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def self_signed(folder: Path, *, name: str = "localhost", expired: bool = False) -> Certificate:
    """Make a certificate for `name`, its files in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ends = _BEGINS + (timedelta(days=1) if expired else _LASTS)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINS)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown, hidden = folder / f"{name}.pem", folder / f"{name}.key"
    shown.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    hidden.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown, hidden)
    return Certificate(server, ssl.create_default_context(cafile=str(shown)))
