"""Reads as server-sent events, over HTTP/1.1, as a browser speaks it."""

import contextlib
import http.client
import json

from support.waiting import TIMEOUT_S


class EventStream:
    """One exchange. `status`, `headers` and, where it is no event stream, `body` are there at once."""

    def __init__(self, server, basin, query, stream, headers):
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
        headers = {"accept": "text/event-stream", "s2-basin": basin, **headers}
        path = f"/v1/streams/{stream}/records"
        self._connection.request("GET", f"{path}?{query}" if query else path, headers=headers)
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}
        self.body = None
        if self.headers["content-type"] != "text/event-stream":
            self.body = json.loads(self._response.read())

    def close(self):
        self._connection.close()

    def event(self):
        """The next event as (name or None, id or None, data); None at the end."""
        fields = {}
        while line := self._response.readline():
            line = line.decode().removesuffix("\n")
            if not line:
                return fields.get("event"), fields.get("id"), fields["data"]
            name, separator, value = line.partition(": ")
            assert separator, line
            assert name not in fields, line
            fields[name] = value
        assert not fields, f"the stream ended within an event: {fields}"
        return None

    def batch(self):
        """The next event, which must be a batch: its id as numbers, sequence numbers and bodies, the tail or None."""
        name, position, data = self.event()
        assert name == "batch", (name, data)
        batch = json.loads(data)
        records = [(record["seq_num"], record.get("body", "")) for record in batch["records"]]
        tail = batch.get("tail")
        return tuple(map(int, position.split(","))), records, tail and tail["seq_num"]

    def ping(self):
        """The next event, which must be a ping: the sequence number of the tail."""
        name, position, data = self.event()
        assert (name, position) == ("ping", None), data
        ping = json.loads(data)
        assert isinstance(ping["timestamp"], int)
        return ping["tail"]["seq_num"]

    def batches(self):
        """The data of all batches, to the clean end."""
        found = []
        while (event := self.event()) != (None, None, "[DONE]"):
            assert event is not None, "the stream ended without [DONE]"
            assert event[0] == "batch", event
            found.append(json.loads(event[2]))
        assert self.event() is None
        return found


def open_events(server, basin, query="", stream="stream", headers=None):
    return contextlib.closing(EventStream(server, basin, query, stream, headers or {}))
