"""HTTP/2 without a socket: joined to h2's own server end."""

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hyperframe.frame
import pytest

from s2cli.client.http2 import MAX_FRAME_BYTES, WINDOW_BYTES, Http2
from s2cli.client.sockets import LostError
from s2cli.errors import ProtocolError


class Server:
    """The other end; `settings` are what it announces."""

    def __init__(self, **settings):
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        codes = {h2.settings.SettingCodes[name.upper()]: value for name, value in settings.items()}
        self.connection.local_settings = h2.settings.Settings(client=False, initial_values=codes)
        self.connection.max_inbound_frame_size = settings.get("max_frame_size", 16_384)
        self.connection.initiate_connection()
        self.events = []
        self.client = Http2("host:80", "http")

    def hears(self, data):
        """Takes what the client sends."""
        data = b"".join(data) if isinstance(data, list) else data
        self.events += self.connection.receive_data(data)
        return self

    def says(self):
        """Gives the client what is there to be sent, and takes what it answers; the body that came."""
        body = self.client.receive(self.connection.data_to_send())
        self.hears(self.client.take())
        return body

    def body(self):
        return b"".join(event.data for event in self.events if isinstance(event, h2.events.DataReceived))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def request(server, method="POST", body=None):
    server.hears(server.client.request(method, "/v1/x", [("s2-basin", "b")], body))
    server.says()
    return server.of(h2.events.RequestReceived)[-1].stream_id


def test_an_exchange_in_both_directions():
    server = Server()
    stream = request(server)
    headers = dict(server.of(h2.events.RequestReceived)[0].headers)
    assert headers[b":path"] == b"/v1/x"
    assert headers[b":authority"] == b"host:80"
    assert headers[b"s2-basin"] == b"b"
    server.connection.send_headers(stream, [(":status", "200"), ("x-a", "1"), ("x-a", "2")])
    server.says()
    assert (server.client.status, server.client.headers) == (200, {"x-a": "1, 2"})
    server.hears(server.client.body([b"ab", b"c"]))
    assert server.body() == b"abc"
    server.connection.send_data(stream, b"answer")
    assert server.says() == b"answer"
    server.hears(server.client.end())
    assert server.of(h2.events.StreamEnded)
    server.connection.end_stream(stream)
    server.says()
    assert (server.client.ended, server.client.reusable) == (True, True)


@pytest.mark.parametrize("body", [b"", b"body"])
def test_a_whole_request(body):
    server = Server()
    request(server, "PUT", body)
    assert server.body() == body
    assert server.of(h2.events.StreamEnded)


def test_a_body_waits_for_the_servers_windows():
    server = Server(initial_window_size=100_000, max_frame_size=20_000)
    stream = request(server)
    server.hears(server.client.body([b"x" * 150_000]))
    server.hears(server.client.end())
    assert len(server.body()) == 65_535  # the connection's own window
    assert server.client.pending
    server.connection.increment_flow_control_window(1_000_000)
    server.says()
    assert len(server.body()) == 100_000
    assert not server.of(h2.events.StreamEnded)
    server.connection.increment_flow_control_window(1_000_000, stream)
    server.says()
    assert server.body() == b"x" * 150_000
    assert server.of(h2.events.StreamEnded)
    assert not server.client.pending


def test_receive_windows_are_large_and_are_given_back():
    server = Server()
    stream = request(server, "GET", b"")
    server.connection.send_headers(stream, [(":status", "200")])
    assert WINDOW_BYTES >= 10 * 1024 * 1024
    assert server.connection.local_flow_control_window(stream) == WINDOW_BYTES
    received = 0
    for _ in range(3 * WINDOW_BYTES // MAX_FRAME_BYTES):
        server.connection.send_data(stream, b"x" * MAX_FRAME_BYTES)
        received += len(server.says())
    assert received == 3 * WINDOW_BYTES
    assert server.connection.local_flow_control_window(stream) > WINDOW_BYTES // 2


def test_pings_are_answered():
    server = Server()
    request(server)
    server.connection.ping(b"12345678")
    server.says()
    assert server.of(h2.events.PingAckReceived)


def test_a_reset_is_a_loss_unless_the_answer_is_whole():
    server = Server()
    stream = request(server)
    server.connection.reset_stream(stream, 8)
    with pytest.raises(LostError, match="code 8"):
        server.says()
    server = Server()
    stream = request(server)
    server.connection.send_headers(stream, [(":status", "404")])
    server.connection.send_data(stream, b"{}", end_stream=True)
    server.connection.reset_stream(stream, 0)
    assert server.says() == b"{}"
    assert (server.client.status, server.client.ended) == (404, True)
    server.client.body([b"more"])  # nobody wants it any more, and that is no loss


def test_a_goaway_lets_the_exchange_end_and_no_other_begin():
    server = Server()
    stream = request(server)
    server.connection.send_headers(stream, [(":status", "200")])
    goaway = hyperframe.frame.GoAwayFrame(0, last_stream_id=stream)
    server.client.receive(server.connection.data_to_send() + goaway.serialize())
    assert not server.client.reusable
    assert not server.client.ended


def test_a_goaway_that_passes_over_the_exchange_is_a_loss():
    server = Server()
    request(server)
    goaway = hyperframe.frame.GoAwayFrame(0, last_stream_id=0)
    with pytest.raises(LostError, match="closing"):
        server.client.receive(goaway.serialize())


def test_the_end_of_the_connection_is_a_loss():
    server = Server()
    request(server)
    with pytest.raises(LostError, match="closed"):
        server.client.receive(None)


def test_an_answer_in_another_version_is_a_broken_protocol():
    client = Http2("h", "http")
    client.request("GET", "/", [], b"")
    with pytest.raises(ProtocolError, match="does not speak HTTP/2"):
        client.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_bytes_that_are_no_http2_are_a_loss():
    client = Http2("h", "http")
    client.request("GET", "/", [], b"")
    with pytest.raises(LostError):
        client.receive(b"\0\0\1\4\0\0\0\0\1" + b"x" * 100)


def test_h2_still_writes_out_every_frame_that_it_receives(monkeypatch):
    """Why duplex_h2 replaces Frame.__repr__. When this fails, h2 has stopped, and the replacement can go."""
    written = []
    monkeypatch.setattr(hyperframe.frame.Frame, "__repr__", lambda frame: written.append(frame) or "")
    server = Server()
    stream = request(server, "GET", b"")
    server.connection.send_headers(stream, [(":status", "200")])
    server.connection.send_data(stream, b"x")
    server.says()
    assert any(isinstance(frame, hyperframe.frame.DataFrame) for frame in written)


def test_what_comes_after_a_goaway_is_taken():
    server = Server()
    stream = request(server)
    server.connection.send_headers(stream, [(":status", "200")])
    server.connection.send_data(stream, b"one")
    goaway = hyperframe.frame.GoAwayFrame(0, last_stream_id=stream).serialize()
    before = server.connection.data_to_send()
    server.connection.send_data(stream, b"two", end_stream=True)
    assert server.client.receive(before + goaway + server.connection.data_to_send()) == b"onetwo"
    assert (server.client.ended, server.client.reusable) == (True, False)


def test_a_refused_request_was_not_processed():
    server = Server()
    stream = request(server)
    server.connection.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
    with pytest.raises(LostError, match="refused") as caught:
        server.says()
    assert caught.value.no_side_effect
    other = Server()
    request(other)
    with pytest.raises(LostError) as caught:
        other.client.receive(hyperframe.frame.GoAwayFrame(0, last_stream_id=0).serialize())
    assert caught.value.no_side_effect


def test_signs_of_life():
    server = Server()
    request(server)
    server.hears(server.client.ping())
    assert server.of(h2.events.PingReceived)
    with pytest.raises(LostError, match="does not answer"):
        server.client.ping()
    server.says()
    server.hears(server.client.ping())
    assert len(server.of(h2.events.PingReceived)) == 2
