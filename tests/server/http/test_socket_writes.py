"""Large writes: what the socket takes is sent without a copy, the rest is left to the transport, in order."""

import asyncio
import socket

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import TIMEOUT_S

from s2cli.server.http import socket_writes
from s2cli.server.http.socket_writes import LEAST_BYTES, MAX_PARTS, behind


class Transport:
    """On a socket; what it was given to write is kept."""

    def __init__(self, own, buffered_bytes=0):
        self._own, self._buffered_bytes = own, buffered_bytes
        self.written = []

    def get_extra_info(self, name):
        return {"socket": self._own}[name]

    def get_write_buffer_size(self):
        return self._buffered_bytes

    def write(self, data):
        self.written.append(data)


@pytest.fixture
def pair():
    own, other = socket.socketpair()
    own.setblocking(False)
    other.setblocking(False)
    with own, other:
        yield own, other


def received(other):
    data = b""
    while True:
        try:
            data += other.recv(1 << 20)
        except BlockingIOError:
            return data


def write(transport, *parts):
    socket_writes.write(transport, parts, sum(map(len, parts)))


def test_what_the_socket_takes_is_not_given_to_the_transport(pair):
    own, other = pair
    transport = Transport(own)
    write(transport, b"head", memoryview(bytes(LEAST_BYTES))[1:], b"end")
    assert transport.written == []
    assert received(other) == b"head" + bytes(LEAST_BYTES - 1) + b"end"


def test_what_it_does_not_take_is_copied_for_the_transport(pair):
    own, other = pair
    transport = Transport(own)
    large = bytes(range(256)) * 4096
    write(transport, b"head", memoryview(large), memoryview(large), b"end")
    (rest,) = transport.written
    assert type(rest) is bytes
    assert received(other) + rest == b"head" + large + large + b"end"


def test_behind_what_the_transport_has_nothing_overtakes(pair):
    own, other = pair
    transport = Transport(own, buffered_bytes=1)
    large = bytes(LEAST_BYTES)
    write(transport, large, large)
    assert transport.written == [large + large]
    assert received(other) == b""


def test_small_writes_and_many_parts_are_left_to_the_transport(pair):
    own, other = pair
    transport = Transport(own)
    write(transport, b"a", b"b")
    write(transport, *[bytes(64)] * (MAX_PARTS + 1))
    assert transport.written == [b"ab", bytes(64 * (MAX_PARTS + 1))]
    assert received(other) == b""


def test_a_socket_that_is_broken_is_left_to_the_transport(pair):
    own, other = pair
    other.close()
    transport = Transport(own)
    write(transport, bytes(LEAST_BYTES), b"end")
    assert transport.written == [bytes(LEAST_BYTES) + b"end"]


@given(st.lists(st.binary(max_size=5)), st.integers(0, 30))
def test_the_rest_of_parts(parts, size_bytes):
    assert b"".join(behind(parts, size_bytes)) == b"".join(parts)[size_bytes:]


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_pieces_of_any_size_arrive_in_order_at_a_slow_reader(new_loop):
    sizes = [10, 200_000, 5, 1_000_000, LEAST_BYTES, 1, 300_000, 50]
    sent = b"".join(bytes([number]) * size for number, size in enumerate(sizes)) * 3

    async def main():
        own, other = socket.socketpair()
        own.setblocking(False)
        other.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=own)
        got = b""
        with other:
            at = 0
            for size in sizes * 3:
                piece = sent[at : at + size]
                middle = size // 2
                write(transport, piece[:middle], memoryview(piece)[middle:])
                at += size
                if at % 3 == 0:
                    got += await loop.sock_recv(other, 70_000)
            transport.close()
            while data := await loop.sock_recv(other, 1 << 20):
                got += data
        assert got == sent

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(main(), TIMEOUT_S))
