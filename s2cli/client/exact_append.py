"""The poll loop of `append --exactly-once`, and of `copy`. After a lost connection, and when it resumes an earlier run,
it compares the records in the stream with the input before it sends anything. With `--state` it saves how far it has
come."""

from __future__ import annotations

import select

from s2cli.client.append_loop import AppendLoop, Stopped
from s2cli.client.stream_client import is_forbidden
from s2cli.errors import AuthError, RangeNotSatisfiableError, S2Error
from s2cli.wire.append_session import START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s2cli.client.append_loop import AppendOptions, Feed, RecordInput
    from s2cli.client.checkpoint import Checkpoint
    from s2cli.client.connection import Connection
    from s2cli.client.retry import Interrupts
    from s2cli.client.stream_client import StreamClient
    from s2cli.wire.exact_session import ExactSession

WAIT_S = 3600.0  # for input: a signal ends it


class ExactAppendLoop(AppendLoop):
    """An AppendLoop whose session is exact. The caller resumes the session before run(), and calls checkpoint.finish()
    after it."""

    def __init__(
        self,
        stream: StreamClient,
        session: ExactSession,
        source: RecordInput,
        inputs: Feed,
        options: AppendOptions,
        interrupts: Interrupts,
        notice: Callable[[str], None],
        detail: Callable[[str], None],
        tick: Callable[[], None] | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        super().__init__(stream, session, source, inputs, options, interrupts, notice, detail, tick)
        self._exact = session
        self._checkpoint = checkpoint
        self.has_begun = False  # something may have been sent

    def _prepare(self, connection: Connection) -> None:
        super()._prepare(connection)
        if self._exact.state == START:
            raise AuthError(
                "the access token does not allow check-tail, which --exactly-once needs",
                hint="a token with the operations append, read and check-tail",
            )
        if self._checkpoint is not None and not self.has_begun:
            self._checkpoint.save(self._exact, clean=False)
        self.has_begun = True

    def _resolve(self, connection: Connection) -> int:
        session, before = self._exact, self._exact.durable
        try:
            session.begin_comparison(self._stream.check_tail(connection, self._waiter)[0])
            while not session.is_compared:
                if session.in_flight:
                    session.compare(self._stream.read(connection, self._waiter, *session.wanted))
                else:
                    self._add_next()
        except RangeNotSatisfiableError as error:
            session.begin_comparison(error.tail_seq_num)  # which raises: the stream has become shorter
        except S2Error as error:
            if not (is_forbidden(error) or getattr(error, "code", "") == "decryption_failed"):
                raise
            raise session.unreadable(f"cannot read the stream to see what arrived: {error.message}") from error
        if session.durable > before:
            self._detail(f"{session.durable - before} records were in the stream already")
        return session.durable - before

    def _add_next(self) -> None:
        """Adds the next batch of the input to those that are compared with the stream. Waits until the input has
        one."""
        if self._ready:
            self._session.add(self._ready.pop(0))
        elif self._input_open:
            self._retry.calm()
            while not self._waiter.wait(self._input_fd, select.POLLIN, WAIT_S):
                pass
            self._read()
            if self._source.has_rest:
                self._ready.append(self._source.take_rest())
            self._retry.expect()
        elif self._interrupts.count:
            raise Stopped
        elif self._source.error is not None:
            raise self._source.error
        else:
            if self._checkpoint is not None:
                self._checkpoint.end_of_input(self._source.lines)
            raise self._exact.foreign(self._exact.floor)

    def _receive(self, connection: Connection, ready: int) -> bool:
        before = self._exact.durable
        came = super()._receive(connection, ready)
        if self._checkpoint is not None and self._exact.durable > before:
            self._checkpoint.note(self._exact)
        return came
