"""A pretended Identity-Aware Proxy: what `gcloud compute start-iap-tunnel` talks to, by the protocol that gcloud speaks.

The protocol is that of gcloud's own client (`iap_tunnel_websocket_utils.py` in its SDK): one WebSocket per TCP connection; its
target stands in the URL; frames are a 16-bit tag and what belongs to it; a refusal is a close code.
"""

from __future__ import annotations

import ipaddress
import selectors
import shutil
import socket
import ssl
import struct
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request
from wsproto.utilities import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Self

_SUBPROTOCOL = "relay.tunnel.cloudproxy.app"
_CONNECTED, _DATA, _ACKNOWLEDGED = 1, 4, 7
_MOST_FRAME_BYTES = 16384
_STOP_POLL_SECONDS = 0.02


class IapTarget(NamedTuple):
    """What a tunnel is to lead to, in gcloud's words."""

    project: str
    zone: str
    instance: str
    port: int


class IapRefusalError(Exception):
    """The proxy refuses, with a code (4003: nothing accepts the connection, 4033: not authorized, 4047: no such instance) and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class IapRelay(ThreadingTCPServer):
    """Serves tunnels on a port of loopback; a context manager.

    Args:
        directory: for its certificate, which is its own authority.
        resolve: the address of a target, or `IapRefusalError`.

    Attributes:
        certificate: for gcloud's property `core/custom_ca_certs_file`.
        targets: of every tunnel that was asked for, in order.
        url: for gcloud's `--iap-tunnel-url-override`.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, directory: Path, resolve: Callable[[IapTarget], tuple[str, int]]) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.certificate = directory / "iap.pem"
        self.certificate.write_bytes(_certificate())
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.certificate)
        self.resolve = resolve
        self.targets: list[IapTarget] = []
        self.url = f"wss://127.0.0.1:{self.server_address[1]}/v4"
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_STOP_POLL_SECONDS,), name="lab-iap", daemon=True
        )
        self._thread.start()

    def open(self, target: IapTarget) -> socket.socket:
        """Connect to a target.

        Raises:
            IapRefusalError: it does not exist, or does not accept the connection.
        """
        self.targets.append(target)
        address = self.resolve(target)
        try:
            return socket.create_connection(address, timeout=10)
        except OSError as error:
            raise IapRefusalError(4003, "failed to connect to backend") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Tunnel(BaseRequestHandler):
    server: IapRelay

    def handle(self) -> None:
        """Carry one tunnel to its end."""
        websocket = WSConnection(ConnectionType.SERVER)
        try:
            client = self.server.tls.wrap_socket(self.request, server_side=True)
        except OSError:
            return
        try:
            query = self._handshake(client, websocket)
            target = IapTarget(query["project"], query["zone"], query["instance"], int(query["port"]))
            with self.server.open(target) as host:
                client.sendall(_frame(websocket, struct.pack(">HI3s", _CONNECTED, 3, b"lab")))
                self._carry(client, websocket, host)
            self._say_goodbye(client, websocket, 1000, "")
        except IapRefusalError as refusal:
            self._say_goodbye(client, websocket, refusal.code, refusal.reason)
        except OSError:
            pass  # either side has gone; the other one sees it by the closed sockets
        finally:
            client.close()

    @staticmethod
    def _say_goodbye(client: ssl.SSLSocket, websocket: WSConnection, code: int, reason: str) -> None:
        """Close in order, once gcloud has read everything: bytes that it has not are lost with a reset."""
        with suppress(OSError, LocalProtocolError):  # it has gone already
            client.sendall(websocket.send(CloseConnection(code=code, reason=reason)))
            while client.recv(_MOST_FRAME_BYTES):
                pass

    @staticmethod
    def _handshake(client: ssl.SSLSocket, websocket: WSConnection) -> Mapping[str, str]:
        while True:
            websocket.receive_data(client.recv(_MOST_FRAME_BYTES) or None)
            for event in websocket.events():
                if not isinstance(event, Request):
                    raise ConnectionAbortedError
                client.sendall(websocket.send(AcceptConnection(subprotocol=_SUBPROTOCOL)))
                return {name: values[-1] for name, values in parse_qs(urlsplit(event.target).query).items()}

    @staticmethod
    def _carry(client: ssl.SSLSocket, websocket: WSConnection, host: socket.socket) -> None:
        received = 0
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(host, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is host:
                        data = host.recv(_MOST_FRAME_BYTES)
                        if not data:
                            return
                        client.sendall(_frame(websocket, struct.pack(">HI", _DATA, len(data)) + data))
                        continue
                    data = client.recv(_MOST_FRAME_BYTES)
                    while client.pending():
                        data += client.recv(_MOST_FRAME_BYTES)
                    websocket.receive_data(data or None)
                    for event in websocket.events():
                        if isinstance(event, CloseConnection):
                            return
                        if isinstance(event, Ping):
                            client.sendall(websocket.send(event.response()))
                        if isinstance(event, BytesMessage) and struct.unpack(">H", event.data[:2]) == (_DATA,):
                            sent = bytes(event.data[6:])
                            host.sendall(sent)
                            received += len(sent)
                            client.sendall(_frame(websocket, struct.pack(">HQ", _ACKNOWLEDGED, received)))


def gcloud_with_iap(directory: Path, relay: IapRelay, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which the real gcloud finds this proxy, by flag and token that it has for such tests, and is otherwise as it was.

    Args:
        directory: for the `gcloud` that is first on PATH there.
        relay: the proxy.
        environment: gcloud's, as the lab has it.
    """
    program = directory / "gcloud"
    token = directory / "token"
    token.write_text("lab", encoding="utf-8")
    real = shutil.which("gcloud", path=environment["PATH"])
    program.write_text(
        f"""#!/bin/sh
for word; do
    if [ "$word" = start-iap-tunnel ]; then
        export CLOUDSDK_AUTH_DISABLE_CREDENTIALS=false CLOUDSDK_AUTH_ACCESS_TOKEN_FILE={token}
        export CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE={relay.certificate}
        exec {real} "$@" --iap-tunnel-url-override={relay.url}
    fi
done
exec {real} "$@"
""",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return {**environment, "PATH": f"{directory}:{environment['PATH']}"}


def _frame(websocket: WSConnection, data: bytes) -> bytes:
    return websocket.send(BytesMessage(data=data))


def _certificate() -> bytes:
    """A key and a certificate for 127.0.0.1 that it has signed itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab-iap")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
