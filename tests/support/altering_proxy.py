"""A TCP proxy that changes what a server answers, as a broken server would."""

import contextlib
import socket
import threading

from support.ports import stop_accepting
from support.waiting import TIMEOUT_S


class AlteringProxy:
    """Listens on a free port of its own and passes connections on to `port`. What the server says goes through
    `alter(data)`, piece by piece as it came."""

    def __init__(self, port: int, alter) -> None:
        self._upstream = port
        self._alter = alter
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream), TIMEOUT_S)
                server.settimeout(None)
                self._sockets += [client, server]
                for source, target, alter in ((client, server, bytes), (server, client, self._alter)):
                    thread = threading.Thread(target=self._pass, args=(source, target, alter), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket, alter) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(alter(data))
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def env(self) -> dict[str, str]:
        return {"S2_ACCOUNT_ENDPOINT": self.url, "S2_BASIN_ENDPOINT": self.url, "S2_ACCESS_TOKEN": "ignored"}

    def close(self) -> None:
        stop_accepting(self._listener, self._thread)
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        for end in self._sockets:
            end.close()
