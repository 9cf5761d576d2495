"""A front of a server, for unary requests, that loses answers: the request has taken effect, and nobody hears of it."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.waiting import TIMEOUT_S

DROPPED = ("connection", "content-length", "transfer-encoding", "keep-alive", "host")


class LossyFront:
    """Loses the next `to_lose` answers to requests of `methods`; `seen` has every request: method, path, headers."""

    def __init__(self, server) -> None:
        self.methods = ("POST", "PATCH", "PUT", "DELETE")
        self.to_lose = 0
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = TIMEOUT_S

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                front.seen.append((self.command, self.path, headers))
                status, answered, answer = front.ask(server, self.command, self.path, headers, body)
                if front.to_lose and self.command in front.methods:
                    front.to_lose -= 1
                    self.close_connection = True
                    return
                lines = [f"HTTP/1.1 {status} X", f"content-length: {len(answer)}"]
                lines += [f"{name}: {value}" for name, value in answered if name.lower() not in DROPPED]
                self.wfile.write("\r\n".join([*lines, "", ""]).encode() + answer)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def ask(self, server, method, path, headers, body):
        connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
        kept = {name: value for name, value in headers.items() if name not in DROPPED}
        connection.request(method, path, body=body or None, headers=kept)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, response.getheaders(), answer

    def env(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self.port}"
        return {"S2_ACCOUNT_ENDPOINT": url, "S2_BASIN_ENDPOINT": url, "S2_ACCESS_TOKEN": "ignored"}

    def tokens(self) -> list[str | None]:
        """The request tokens of the writes seen, in order."""
        return [headers.get("s2-request-token") for method, _, headers in self.seen if method in self.methods]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(TIMEOUT_S)
