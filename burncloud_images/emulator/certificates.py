"""A certificate for the emulator's host, and the file with which a client trusts it."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from types import ModuleType

import attrs


@attrs.frozen(kw_only=True)
class ServerCertificate:
    """
    The server's certificate and its authority.

    Attributes:
        authority: A PEM file of the authority, for clients; `close` removes it.
    """

    context: ssl.SSLContext
    authority: Path

    def close(self) -> None:
        """Remove the file of the authority."""
        self.authority.unlink(missing_ok=True)


def issue_certificate(host: str) -> ServerCertificate:
    """
    Issue a certificate for *host* and for `localhost`, signed by a new authority.

    Raises:
        ModuleNotFoundError: trustme is missing.
    """
    trustme = import_trustme()
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, "localhost").configure_cert(context)
    with tempfile.NamedTemporaryFile(prefix="burncloud-images-", suffix=".pem", delete=False) as file:
        file.write(authority.cert_pem.bytes())
    return ServerCertificate(context=context, authority=Path(file.name))


def import_trustme() -> ModuleType:
    try:
        import trustme
    except ImportError as error:
        message = "The emulator issues its certificate with trustme: pip install 'burncloud-images[emulator]'"
        raise ModuleNotFoundError(message, name="trustme") from error
    return trustme
