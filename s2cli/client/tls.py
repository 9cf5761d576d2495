"""TLS over a plain socket, and the client's one TLS context. Imported only for https:// URLs."""

from __future__ import annotations

import os
import select
import ssl

from s2cli.client.sockets import CONNECT_TIMEOUT_S, LostError, PlainSocket
from s2cli.errors import UnreachableError, UsageError, describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.client.retry import Waiter
    from s2cli.client.sockets import Peer

RECORD_BYTES = 16 * 1024  # the most that one TLS record carries


def client_context(ca_file: str | None, alpn: list[str]) -> ssl.SSLContext:
    """What unary calls and sessions verify servers with: `ca_file` if it is given, else SSL_CERT_FILE and SSL_CERT_DIR,
    else the system's certificates, else those of certifi. Raises UsageError where a file cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(alpn)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Recommended since it became the default of CPython 3.13; not every older OpenSSL knows it.
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    cafile = ca_file or os.environ.get("SSL_CERT_FILE")
    capath = None if ca_file else os.environ.get("SSL_CERT_DIR")
    if cafile or capath:
        try:
            context.load_verify_locations(cafile or None, capath or None)
        except ssl.SSLError as error:
            raise UsageError(f"there are no certificates in {cafile or capath}") from error
        except OSError as error:
            raise UsageError(f"cannot read the certificates in {cafile or capath}: {describe(error)}") from error
        return context
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:
        # A Python from python.org on macOS has no store of its own.
        import certifi

        context.load_verify_locations(certifi.where())
    else:
        context.set_default_verify_paths()
    return context


class TlsSocket:
    """TLS over a PlainSocket, with the same face."""

    __slots__ = ("_incoming", "_outgoing", "_plain", "_tls", "fd", "protocol")

    def __init__(self, plain: PlainSocket, context: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self.fd = plain.fd
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.protocol = ""

    def handshake(self, peer: Peer, waiter: Waiter) -> None:
        """Raises LostError, or UnreachableError where the server is not to be trusted."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                raise UnreachableError(
                    f"the certificate of {peer} is not trusted: {error.verify_message}",
                    hint="to trust the certificates in a file: --ca-file FILE",
                ) from error
            except ssl.SSLError as error:
                raise LostError(f"no TLS connection to {peer}: {error.reason or error}") from error
            self._send_pending()
            events = select.POLLIN | (select.POLLOUT if self._plain.pending else 0)
            if not waiter.wait(self.fd, events, CONNECT_TIMEOUT_S):
                raise LostError(f"no TLS connection to {peer}: it does not answer")
            self._plain.flush()
            data = self._plain.receive()
            if data is None:
                raise LostError(f"no TLS connection to {peer}: it closed the connection")
            self._incoming.write(data)
        self._send_pending()
        self.protocol = self._tls.selected_alpn_protocol() or ""

    @property
    def receive_bytes(self) -> int:
        return self._plain.receive_bytes

    @receive_bytes.setter
    def receive_bytes(self, value: int) -> None:
        self._plain.receive_bytes = value

    @property
    def pending(self) -> bool:
        return self._plain.pending

    def send(self, parts: list[bytes]) -> None:
        data = b"".join(parts)
        if data:
            self._tls.write(data)  # into memory, always the whole
        self._send_pending()

    def _send_pending(self) -> None:
        if self._outgoing.pending:
            self._plain.send([self._outgoing.read()])

    def flush(self) -> None:
        self._plain.flush()

    def receive(self) -> bytes | None:
        data = self._plain.receive()
        if data == b"":
            return data
        if data is None:
            self._incoming.write_eof()
        else:
            self._incoming.write(data)
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(RECORD_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            if not pieces:
                return None
        except ssl.SSLError as error:
            raise LostError(f"the connection broke: {error.reason or error}") from error
        self._send_pending()
        if data is None and not pieces:
            return None
        return b"".join(pieces)

    def close(self) -> None:
        self._plain.close()


def start_tls(plain: PlainSocket, peer: Peer, waiter: Waiter) -> TlsSocket:
    """Closes `plain` if it raises."""
    try:
        secured = TlsSocket(plain, client_context(peer.ca_file, ["h2", "http/1.1"]), peer.host)
        secured.handshake(peer, waiter)
    except BaseException:
        plain.close()
        raise
    return secured
