"""Exit codes, and the one tree of exceptions that the tool raises on purpose.

S2Error                         what failed; `hint` says what to type next        exit 1
├── UsageError                  the command line or the configuration is wrong    2
│   └── BadValueError           a text is not a valid name, URI, duration …       2
├── NotFoundError               a basin, stream or token is not there             3
├── AuthError                   no credential, or it was refused                  4
├── PreconditionError           something was not as the request demanded         5
│   ├── SeqNumMismatchError     another writer was there first
│   ├── FencingTokenMismatchError
│   └── RangeNotSatisfiableError    a read that starts at or beyond the tail
├── UnreachableError            no server, or none that answers in time           6
├── BadInputError               an input line is not a valid record              7
├── UndecidedError              nobody can tell whether records are durable       8
├── IncompleteError             something was left out, and the rest was done     8
├── MismatchError               what was read is not what was written             8
├── ProtocolError               the peer broke the protocol                       1
│   ├── FrameError              bytes that are not an S2S frame
│   └── BrokenAckError          an acknowledgement that no server may give
└── ApiError                    an error body of the API, sent or received        by status and code
    ├── MissingKeyError         the stream is encrypted, and there was no key
    └── MissingTimestampError   the stream wants timestamps, and a record had none

Errors of other libraries become one of these at a single seam each (client/connection,
server/store/sqlite).
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class ExitCode:
    """The exit codes of every command. Plain integers: importing `enum` would cost each start 4 ms."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    AUTH = 4
    PRECONDITION = 5
    UNREACHABLE = 6
    BAD_DATA = 7
    UNDECIDED = 8
    INTERRUPTED = 130
    TERMINATED = 143


class S2Error(Exception):
    """Something failed in a way that the tool can explain: `message` says what and why, `hint` what to type next."""

    exit_code: int = ExitCode.FAILURE
    retryable = False  # the same request may succeed later
    no_side_effect = False  # it is known that the request has changed nothing
    retry_after_ms: int | None = None  # not before so much time, as the server asks

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code

    def reworded(self, message: str | None = None, *, hint: str | None = None) -> Self:
        """The same error with another message or hint, for whoever knows more of it than where it was raised."""
        error = type(self).__new__(type(self), message or self.message)
        vars(error).update(vars(self))
        error.message = message or self.message
        error.hint = hint or self.hint
        return error


class UsageError(S2Error):
    exit_code = ExitCode.USAGE


class BadValueError(UsageError):
    pass


def file_error(message: str, error: OSError, *, hint: str | None = None) -> S2Error:
    """For a file or directory that the command line or the configuration names, and that cannot be opened: a
    UsageError, unless the disk is at fault. The reason is put behind `message`."""
    kind = S2Error if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else UsageError
    return kind(f"{message}: {describe(error)}", hint=hint)


def describe(error: OSError) -> str:
    """An error of the operating system in words, without number and file name."""
    return (error.strerror or str(error)).lower()


class NotFoundError(S2Error):
    exit_code = ExitCode.NOT_FOUND


class AuthError(S2Error):
    exit_code = ExitCode.AUTH


class PreconditionError(S2Error):
    exit_code = ExitCode.PRECONDITION


class SeqNumMismatchError(PreconditionError):
    """`match_seq_num` was not the next sequence number, which is `expected` (protocol section 4.6)."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"the next sequence number is {expected}, not the one that the append demanded")
        self.expected = expected


class FencingTokenMismatchError(PreconditionError):
    """The stream is fenced by `token`, and the append gave another one (protocol section 4.6)."""

    def __init__(self, token: str) -> None:
        super().__init__(f'the fencing token of the stream is "{token}", not the one that was given')
        self.token = token


class RangeNotSatisfiableError(PreconditionError):
    """A read that starts at or beyond the tail and may not wait (protocol section 5.3)."""

    def __init__(self, tail_seq_num: int, tail_timestamp: int) -> None:
        super().__init__(f"the read starts at or beyond the tail, which is at sequence number {tail_seq_num}")
        self.tail_seq_num = tail_seq_num
        self.tail_timestamp = tail_timestamp


class UnreachableError(S2Error):
    exit_code = ExitCode.UNREACHABLE


class BadInputError(S2Error):
    """Input that is not a valid record, for this `reason`; `line` counts from 1, and is None where the input has no
    lines."""

    exit_code = ExitCode.BAD_DATA

    def __init__(self, reason: str, *, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}", hint=hint)
        self.reason = reason
        self.line = line


class UndecidedError(S2Error):
    """Nobody can tell whether `what` is so, for this `reason`."""

    exit_code = ExitCode.UNDECIDED

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"nobody can tell whether {what}: {reason}")
        self.reason = reason


class IncompleteError(S2Error):
    exit_code = ExitCode.UNDECIDED


class MismatchError(S2Error):
    exit_code = ExitCode.UNDECIDED


class ProtocolError(S2Error):
    pass


class FrameError(ProtocolError):
    pass


class BrokenAckError(ProtocolError):
    pass


# Protocol section 2.1: the codes of the API, each with its one HTTP status.
STATUS_BY_CODE = {
    "bad_header": 400,
    "bad_path": 400,
    "bad_query": 400,
    "bad_json": 400,
    "bad_proto": 400,
    "bad_frame": 400,
    "decryption_failed": 400,
    "authn": 401,
    "permission_denied": 403,
    "quota_exhausted": 403,
    "access_token_not_found": 404,
    "basin_not_found": 404,
    "stream_not_found": 404,
    "request_timeout": 408,
    "resource_already_exists": 409,
    "basin_deletion_pending": 409,
    "stream_deletion_pending": 409,
    "transaction_conflict": 409,
    "request_token_reused": 409,  # ours: with another request; a client must not retry it
    "invalid": 422,
    "rate_limited": 429,
    "client_hangup": 499,
    "other": 500,
    "storage": 500,
    "not_implemented": 501,
    "hot_server": 502,
    "server_draining": 503,
    "unavailable": 503,
    "upstream_timeout": 504,
}
# A request that got one of these has changed nothing, for certain.
NO_SIDE_EFFECT_CODES = frozenset(
    code for code, status in STATUS_BY_CODE.items() if status < 500 and code not in ("request_timeout", "client_hangup")
) | {"not_implemented", "hot_server", "server_draining"}

RETRYABLE_STATUSES = frozenset((408, 429, 500, 502, 503, 504))


def exit_code_of(status: int) -> int:
    """The exit code for an HTTP error status."""
    if status in (401, 403):
        return ExitCode.AUTH
    if status == 404:
        return ExitCode.NOT_FOUND
    if status in (409, 412, 416):
        return ExitCode.PRECONDITION
    if status in (400, 413, 415, 422):
        return ExitCode.BAD_DATA
    if status in (408, 429) or status >= 500:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILURE


class ApiError(S2Error):
    """An error of the API (protocol section 2.1). The server raises it, the client makes it from a response.
    `without_effect`: it says itself that the request has changed nothing, where its code would not tell. `damaged`: the
    first and the last sequence number of records that cannot be read any more; no attempt helps."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        retry_after_ms: int | None = None,
        without_effect: bool = False,
        damaged: tuple[int, int] | None = None,
    ) -> None:
        self.status = STATUS_BY_CODE[code] if status is None else status
        exit_code = exit_code_of(self.status) if damaged is None else ExitCode.UNDECIDED
        super().__init__(message, exit_code=exit_code)
        self.code = code
        self.retry_after_ms = retry_after_ms
        self.without_effect = without_effect
        self.damaged = damaged
        # Protocol sections 2.1 and 9.2.
        self.retryable = damaged is None and (self.status in RETRYABLE_STATUSES or code == "transaction_conflict")
        # A code is trusted only with its own status.
        known = STATUS_BY_CODE.get(code) == self.status
        self.no_side_effect = known and (without_effect or code in NO_SIDE_EFFECT_CODES)


class MissingKeyError(ApiError):
    """The stream is encrypted, and no key was given (protocol section 11.1). `TEXT` begins the message."""

    CODE, TEXT = "bad_header", "missing encryption key"


class MissingTimestampError(ApiError):
    """The stream wants the timestamps of its writers, and a record had none (protocol section 4.5)."""

    CODE, TEXT = "invalid", "record timestamp was required but was missing"
