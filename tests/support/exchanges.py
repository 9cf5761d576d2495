"""A request as handlers get it, without a host."""

from s2cli.server.http.http2_exchange import Http2Exchange
from s2cli.server.http.memory_budget import Share


class GivenExchange(Http2Exchange):
    """One with these parts. `send` is granian's: it takes a message and gives what to wait for."""

    def __init__(self, method="GET", path="/", query=b"", headers=(), send=None):
        scope = {"method": method, "raw_path": path.encode(), "query_string": query, "headers": headers}
        super().__init__(scope, None, send, Share(), lambda size_bytes: None)
