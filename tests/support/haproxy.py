"""HAProxy with the example configuration of tests/deploy/, where only the addresses are others."""

import http.client
import subprocess
from pathlib import Path

from support.ports import choose_port
from support.waiting import TIMEOUT_S, until

EXAMPLE = Path(__file__).parents[1] / "deploy/haproxy.cfg"
NODES = """    server node1 127.0.0.1:8081
    server node2 127.0.0.1:8082
"""


class HaProxy:
    """HAProxy in front of servers at these ports of 127.0.0.1. Its configuration lies in `place`."""

    host = "127.0.0.1"

    def __init__(self, place: Path, node_ports) -> None:
        self.port, self._holder = choose_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._config = place / "haproxy.cfg"
        nodes = "".join(f"    server node{number} 127.0.0.1:{port}\n" for number, port in enumerate(node_ports, 1))
        text = EXAMPLE.read_text()
        for example, wanted in ((NODES, nodes), ("bind :8080", f"bind 127.0.0.1:{self.port}")):
            assert text.count(example) == 1, f"the example does not have {example!r} once"
            text = text.replace(example, wanted)
        self._config.write_text(text)
        self._process = None

    def start(self) -> None:
        self._process = subprocess.Popen(["haproxy", "-db", "-f", str(self._config)])
        until(lambda: self._process.poll() is not None or self.request("GET", "/health") == 200)
        assert self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def request(self, method, path, headers=None, body=None) -> int | None:
        """The status of the answer; None without one."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def env(self) -> dict[str, str]:
        return {"S2_ACCOUNT_ENDPOINT": self.url, "S2_BASIN_ENDPOINT": self.url, "S2_ACCESS_TOKEN": "ignored"}

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._holder is not None:
            self._holder.close()
