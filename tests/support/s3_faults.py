"""What a proxy in front of an S3 server does wrong, chosen by rules and a seed; and what it counts. No I/O."""

import dataclasses
import random
import threading
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import parse_qsl

# Instead of the server's answer, which never hears of the request.
SLOW_DOWN = "slow-down"  # 503 SlowDown
EXPIRED = "expired"  # 403 ExpiredToken
NO_BUCKET = "no-bucket"  # 404 NoSuchBucket
SILENT = "silent"  # no answer, until the client gives up
UNREACHABLE = "unreachable"  # the connection is reset
LIE = "lie"  # 200 to a put, which is not stored
# After the server has done what was asked.
LOST_REPLY = "lost-reply"  # the connection is reset
ERROR_AFTER = "error-after"  # 500 InternalError
CONFLICT_AFTER = "conflict-after"  # 409 ConditionalRequestConflict, for a conditional put that was done
FAILED_AFTER = "failed-after"  # 412 PreconditionFailed, for a conditional put that was done

ANSWERS = {
    SLOW_DOWN: (503, "SlowDown", "Please reduce your request rate."),
    EXPIRED: (403, "ExpiredToken", "The provided token has expired."),
    NO_BUCKET: (404, "NoSuchBucket", "The specified bucket does not exist"),
    ERROR_AFTER: (500, "InternalError", "We encountered an internal error. Please try again."),
    CONFLICT_AFTER: (409, "ConditionalRequestConflict", "A conflicting operation is under way. Please try again."),
    FAILED_AFTER: (412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
}
BEFORE = (SLOW_DOWN, EXPIRED, NO_BUCKET, SILENT, UNREACHABLE, LIE)
AFTER = (LOST_REPLY, ERROR_AFTER, CONFLICT_AFTER, FAILED_AFTER)
OF_PUTS = (LIE,)
OF_CONDITIONAL_PUTS = (CONFLICT_AFTER, FAILED_AFTER)

# The kinds of requests, as a bill has them; HEAD costs as much as GET, POST as much as PUT.
KINDS = ("PUT", "POST", "LIST", "GET", "HEAD", "DELETE")


class Request(NamedTuple):
    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case

    @property
    def kind(self) -> str:
        """One of `KINDS`. Many objects deleted at once are one DELETE."""
        names = dict(parse_qsl(self.query, keep_blank_values=True))
        if self.method == "GET" and self.path.strip("/").count("/") == 0 and "location" not in names:
            return "LIST"
        if self.method == "POST" and "delete" in names:
            return "DELETE"
        return self.method

    @property
    def is_conditional_put(self) -> bool:
        conditions = self.headers.keys() & {"if-none-match", "if-match"}
        return bool(conditions) and self.method in ("PUT", "POST")

    @property
    def body_bytes(self) -> int:
        return int(self.headers.get("content-length", 0))


def parse_request(head: bytes) -> Request:
    """The request whose head, up to the empty line, is `head`."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    pairs = (line.partition(":") for line in lines if line)
    return Request(method, path, query, {name.strip().lower(): value.strip() for name, _, value in pairs})


@dataclasses.dataclass
class Rule:
    """A share of the requests of these kinds (all, if none are named), whose path has `part` in it, suffer `fault`, at
    most so many `times`."""

    fault: str
    share: float = 1.0
    times: int | None = None
    kinds: Collection[str] = ()
    part: str = ""

    def __post_init__(self) -> None:
        assert self.fault in BEFORE + AFTER, self.fault
        assert set(self.kinds) <= set(KINDS), self.kinds

    def covers(self, request: Request) -> bool:
        return (
            self.times != 0
            and (not self.kinds or request.kind in self.kinds)
            and self.part in request.path
            and (request.kind == "PUT" or self.fault not in OF_PUTS)
            and (request.is_conditional_put or self.fault not in OF_CONDITIONAL_PUTS)
        )


class Faults:
    """The rules in force; the first that covers a request and is drawn for it decides. For use by several threads."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def set(self, *rules: Rule) -> None:
        """These rules, and no others from now on."""
        with self._lock:
            self._rules = list(rules)

    def choose(self, request: Request) -> str | None:
        with self._lock:
            for rule in self._rules:
                if rule.covers(request) and self._random.random() < rule.share:
                    if rule.times is not None:
                        rule.times -= 1
                    return rule.fault
        return None


class Counts:
    """How many requests came, by kind, with how many bytes of bodies; and how many suffered which fault."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.sent_bytes: Counter[str] = Counter()  # by clients
        self.received_bytes: Counter[str] = Counter()  # by clients
        self.faults: Counter[str] = Counter()
        self.under_way = 0
        self.most_under_way = 0

    def began(self, request: Request, fault: str | None) -> None:
        self.requests[request.kind] += 1
        self.sent_bytes[request.kind] += request.body_bytes
        if fault is not None:
            self.faults[fault] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)

    def as_json(self) -> dict[str, object]:
        return {
            "requests": dict(self.requests),
            "sent_bytes": dict(self.sent_bytes),
            "received_bytes": dict(self.received_bytes),
            "faults": dict(self.faults),
            "most_under_way": self.most_under_way,
        }
