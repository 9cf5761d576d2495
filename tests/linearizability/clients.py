"""Clients that use one stream at the same time, in all ways, and record what they were answered."""

import contextlib
import http.client
import json
import random
import socket
import threading
import time

from linearizability.history import (
    Append,
    Appended,
    CheckTail,
    FencingTokenMismatch,
    Found,
    History,
    Read,
    SeqNumMismatch,
    Tail,
)
from support.s2s import Session, append_input

from s2cli.wire.s2_pb2 import AppendAck, ReadBatch

PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}
MOST_RECORDS = 3  # of a batch
MOST_IN_FLIGHT = 3  # batches that a session sends before it waits
RECONNECT_S = 0.02

LOST = (OSError, http.client.HTTPException)


class Address:
    def __init__(self, port, host="127.0.0.1"):
        self.host, self.port = host, port


class RefusedError(Exception):
    """The server has answered with an error."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


def answer_of(refusal):
    """What an error says about the stream; None if it says nothing, and the request may have taken effect. Raises the
    error if the server must not answer so."""
    body = refusal.body
    if refusal.status == 412:
        ((name, value),) = body.items()
        return SeqNumMismatch(value) if name == "seq_num_mismatch" else FencingTokenMismatch(value)
    if refusal.status == 416:
        return Tail(body["tail"]["seq_num"])
    if refusal.status >= 500 or refusal.status == 408:
        return None
    raise refusal


def is_without_effect(refusal):
    return refusal.body.get("code") == "server_draining"


class Client:
    """Makes `count` requests in a thread of its own, chosen at random by the seed. `sends`: "unary" or "session", how
    it appends."""

    def __init__(self, name, history, address, basin, stream, *, seed, count, timeout_s, sends="unary"):
        self._name, self._history, self._address = name, history, address
        self._basin, self._stream = basin, stream
        self._dice = random.Random(f"{seed} {name}")
        self._count, self._timeout_s = count, timeout_s
        self._connection = self._session = None
        self._in_session = sends == "session"
        self._tail, self._token = 0, None  # as far as this client knows
        self.error = None
        self.longest_wait_s = 0.0  # for one answer, or for a server that takes connections
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()

    @property
    def is_done(self):
        return not self._thread.is_alive()

    def join(self, timeout_s):
        self._thread.join(timeout_s)
        assert self.is_done, f"{self._name} hangs"
        if self.error is not None:
            raise self.error

    def _run(self):
        try:
            for number in range(self._count):
                began_s = time.monotonic()
                self._ask(number)
                self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began_s)
        except BaseException as error:
            self.error = error
        self.close()

    def _ask(self, number):
        kind = self._dice.random()
        if kind < 0.2:
            self.read(self._dice.randrange(self._tail + 2), self._dice.choice([1, 10, 1000]))
        elif kind < 0.35:
            self.check_tail()
        elif self._in_session and kind < 0.8:
            self._append_in_session(
                [self._batch(f"{number}.{turn}") for turn in range(self._dice.randint(1, MOST_IN_FLIGHT))]
            )
        else:
            self._append(self._batch(number) if kind < 0.9 else self._command(number))

    # The requests.

    def _batch(self, number):
        records = tuple(
            ("", f"{self._name}.{number}.{part}".encode()) for part in range(self._dice.randint(1, MOST_RECORDS))
        )
        return Append(records, **self._conditions())

    def _command(self, number):
        if self._dice.random() < 0.5:
            return Append((("fence", f"{self._name}.{number}".encode()),), **self._conditions())
        return Append((("trim", self._dice.randint(0, self._tail).to_bytes(8, "big")),), **self._conditions())

    def _conditions(self):
        conditions = {}
        if self._dice.random() < 0.3:
            conditions["match_seq_num"] = self._tail
        if self._token is not None and self._dice.random() < 0.3:
            conditions["fencing_token"] = self._token
        return conditions

    # How they are made.

    def read(self, seq_num, count):
        def decode(body):
            records = ReadBatch.FromString(body).records
            return Found(tuple((record.seq_num, _decoded(record)) for record in records))

        return self._call(Read(seq_num, count), "GET", f"?seq_num={seq_num}&count={count}", None, decode)

    def check_tail(self):
        def decode(body):
            return Tail(json.loads(body)["tail"]["seq_num"])

        return self._call(CheckTail(), "GET", "/tail", None, decode)

    def _append(self, request):
        return self._call(request, "POST", "", _encoded(request), _appended)

    def _call(self, request, method, path, body, decode):
        """Makes a request. Returns its answer, or None if there was none."""
        self._connect()
        operation = self._history.call(request)
        try:
            self._connection.request(
                method, f"/v1/streams/{self._stream}/records{path}", body, PROTOBUF | {"s2-basin": self._basin}
            )
            response = self._connection.getresponse()
            data = response.read()
            if response.status != 200:
                raise RefusedError(response.status, json.loads(data))
            answer = decode(data)
        except LOST:
            self.close()
            answer = None
        except RefusedError as refusal:
            self.close()
            answer = answer_of(refusal)
            if answer is None and is_without_effect(refusal):
                self._history.drop(operation)
                return None
        return self._told(operation, answer)

    def _append_in_session(self, requests):
        """Sends all of them in a session before it waits for any ack."""
        session = self._open_session()
        operations = [self._history.call(request) for request in requests]
        try:
            session.send(*map(_encoded, requests))
            while operations:
                frame = session.frame()
                if frame is None:
                    raise ConnectionError("the session ended")
                if frame.status is not None:
                    raise RefusedError(frame.status, json.loads(frame.message))
                self._told(operations.pop(0), _appended(frame.message))
        except LOST:
            self._leave_session()
        except RefusedError as refusal:
            self._leave_session()
            # The error is for the first without an ack. Those after it were not admitted.
            answer = answer_of(refusal)
            if answer is not None:
                self._told(operations.pop(0), answer)
            if answer is not None or is_without_effect(refusal):
                for operation in operations:
                    self._history.drop(operation)
            # After any other failure they may have taken effect.

    def _told(self, operation, answer):
        if answer is None:
            if not isinstance(operation.request, Append):
                self._history.drop(operation)
            return None
        self._history.end(operation, answer)
        if isinstance(answer, Appended):
            self._tail = max(self._tail, answer.end)
            for command, body in operation.request.records:
                if command == "fence":
                    self._token = body.decode()
        elif isinstance(answer, Tail | SeqNumMismatch):
            self._tail = max(self._tail, answer.seq_num)
        elif isinstance(answer, FencingTokenMismatch):
            self._token = answer.token
        return answer

    # Connections.

    def _connect(self):
        """Connects before a request is recorded: one that was never sent does not belong to the history."""
        deadline_s = time.monotonic() + self._timeout_s
        while self._connection is None:
            connection = http.client.HTTPConnection(self._address.host, self._address.port, timeout=self._timeout_s)
            try:
                connection.connect()
            except OSError:
                connection.close()
                self._wait(deadline_s)
            else:
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connection = connection

    def _open_session(self):
        deadline_s = time.monotonic() + self._timeout_s
        while self._session is None:
            try:
                session = Session(self._address, "POST", self._stream, self._basin)
            except LOST:
                self._wait(deadline_s)
                continue
            if session.status == 200:
                self._session = session
            else:
                session.close()
                assert session.status >= 500, session.body
                self._wait(deadline_s)
        return self._session

    def _wait(self, deadline_s):
        assert time.monotonic() < deadline_s, "no server takes connections"
        time.sleep(RECONNECT_S)

    def close(self):
        self._leave_session()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _leave_session(self):
        if self._session is not None:
            self._session.close()
            self._session = None


def _encoded(request):
    records = [body if not command else (None, [(b"", command.encode())], body) for command, body in request.records]
    return append_input(*records, match_seq_num=request.match_seq_num, fencing_token=request.fencing_token)


def _appended(message):
    ack = AppendAck.FromString(message)
    assert ack.end.seq_num <= ack.tail.seq_num, ack
    return Appended(ack.start.seq_num, ack.end.seq_num)


def _decoded(record):
    command = record.headers[0].value.decode() if record.headers and not record.headers[0].name else ""
    return command, record.body


def last_look(history: History, address, basin, stream, *, timeout_s):
    """Reads all records and the tail, when no other client is running. This shows which requests without an answer have
    taken effect."""
    client = Client("last look", history, address, basin, stream, seed=0, count=0, timeout_s=timeout_s)
    with contextlib.closing(client):
        seq_num = 0
        while isinstance(answer := client.read(seq_num, 1000), Found) and answer.records:
            seq_num = answer.records[-1][0] + 1
        assert answer is not None, "the server does not answer"
        assert client.check_tail() is not None, "the server does not answer"
