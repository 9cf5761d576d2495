"""A request as handlers get it, without a host."""

from s2cli.server.http.exchange import Exchange
from s2cli.server.http.memory_budget import Share


class GivenExchange(Exchange):
    """One with these parts, without a body. Its response goes nowhere."""

    is_blocked = False

    def __init__(self, method="GET", path="/", query=b"", headers=()):
        super().__init__(method, path.encode(), query, headers, Share())
        self.has_come = True

    def _go_ahead(self): ...

    def _on_taken(self, size_bytes): ...

    def _break_off(self): ...

    def _start(self, status, headers): ...

    def _send(self, head, data, *, is_end): ...

    def _send_parts(self, head, parts, size_bytes): ...

    def _ended(self): ...
