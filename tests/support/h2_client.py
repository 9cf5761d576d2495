"""A client of HTTP/2 whose frames a test sends one by one."""

import h2.config
import h2.connection
import h2.events


class H2Client:
    """One connection; what `open` and `send` are told leaves at once."""

    def __init__(self, connection):
        self.connection = connection
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.state.initiate_connection()
        self.flush()

    def flush(self):
        self.connection.sendall(self.state.data_to_send())

    def open(self, path="/", headers=()):
        stream_id = self.state.get_next_available_stream_id()
        head = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "x"), *headers]
        self.state.send_headers(stream_id, head)
        self.flush()
        return stream_id

    def send(self, stream_id, data, end=False):
        self.state.send_data(stream_id, data, end_stream=end)
        self.flush()

    def until(self, wanted):
        """Events up to the first for which `wanted` holds."""
        events = []
        while not any(wanted(event) for event in events):
            data = self.connection.recv(65536)
            assert data, f"closed after {events}"
            events += self.state.receive_data(data)
            self.flush()
        return events
