"""The checker of histories accepts what a correct stream may show, and rejects what each kind of bug shows."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linearizability.checker import linearize
from linearizability.history import (
    Append,
    Appended,
    CheckTail,
    FencingTokenMismatch,
    Found,
    Operation,
    Read,
    SeqNumMismatch,
    Tail,
)
from linearizability.stream_model import StreamModel, is_linearizable


def batch(*bodies, **conditions):
    return Append(tuple(("", body.encode()) for body in bodies), **conditions)


def trim(seq_num):
    return Append((("trim", seq_num.to_bytes(8, "big")),))


def fence(token, **conditions):
    return Append((("fence", token.encode()),), **conditions)


def found(first, *bodies):
    return Found(tuple((first + number, ("", body.encode())) for number, body in enumerate(bodies)))


def history(*rows):
    """Rows are (called, returned, request, answer)."""
    return [Operation(request, called, returned, answer) for called, returned, request, answer in rows]


A_THEN_B = (
    (0, 1, batch("a"), Appended(0, 1)),
    (2, 3, batch("b"), Appended(1, 2)),
)
CORRECT = {
    "nothing": (),
    "one after the other": (
        *A_THEN_B,
        (4, 5, Read(0, 10), found(0, "a", "b")),
        (6, 7, CheckTail(), Tail(2)),
        (8, 9, Read(2, 10), Tail(2)),
        (10, 11, Read(1, 1), found(1, "b")),
    ),
    "two at once, the later call first": (
        (0, 5, batch("a"), Appended(1, 2)),
        (1, 4, batch("b"), Appended(0, 1)),
        (6, 7, Read(0, 10), found(0, "b", "a")),
    ),
    "a read that sees an append before its ack": (
        (0, 9, batch("a"), Appended(0, 1)),
        (1, 2, Read(0, 10), found(0, "a")),
    ),
    "a read that began before an append was acknowledged": (
        (0, 9, Read(0, 10), Tail(0)),
        (1, 2, batch("a"), Appended(0, 1)),
    ),
    "no answer, and it took effect": (
        (0, None, batch("a"), None),
        (1, 2, CheckTail(), Tail(0)),
        (3, 4, batch("b"), Appended(1, 2)),
        (5, 6, Read(0, 10), found(0, "a", "b")),
    ),
    "no answer, and it did not": (
        (0, None, batch("a"), None),
        (1, 2, batch("b"), Appended(0, 1)),
        (3, 4, CheckTail(), Tail(1)),
    ),
    "the conditions": (
        *A_THEN_B,
        (4, 5, batch("c", match_seq_num=1), SeqNumMismatch(2)),
        (6, 7, fence("t", match_seq_num=2), Appended(2, 3)),
        (8, 9, batch("d", fencing_token=""), FencingTokenMismatch("t")),
        (10, 11, batch("e", fencing_token="t", match_seq_num=3), Appended(3, 4)),
        (12, 13, batch("f"), Appended(4, 5)),
    ),
    "a trim": (
        *A_THEN_B,
        (4, 5, trim(1), Appended(2, 3)),
        (6, 7, Read(0, 1), found(1, "b")),
        (8, 9, trim(0), Appended(3, 4)),
        (10, 11, trim(99), Appended(4, 5)),
        (12, 13, Read(0, 1), Found(())),
        (14, 15, CheckTail(), Tail(5)),
    ),
}
PLANTED = {
    "an ack before the commit, and a crash between": (
        (0, 1, batch("a"), Appended(0, 1)),
        (2, 3, CheckTail(), Tail(0)),
    ),
    "the same, and another record in its place": (
        (0, 1, batch("a"), Appended(0, 1)),
        (2, 3, batch("b"), Appended(0, 1)),
    ),
    "a tail that is told before the records are durable, and a crash": (
        (0, None, batch("a"), None),
        (1, 2, CheckTail(), Tail(1)),
        (3, 4, CheckTail(), Tail(0)),
    ),
    "a record that is read before it is durable, and a crash": (
        (0, None, batch("a"), None),
        (1, 2, Read(0, 10), found(0, "a")),
        (3, 4, batch("b"), Appended(0, 1)),
    ),
    "a stale read": (
        *A_THEN_B,
        (4, 5, Read(0, 10), found(0, "a")),
    ),
    "a stale tail": (*A_THEN_B, (4, 5, CheckTail(), Tail(1))),
    "reads that go back": (
        (0, 9, batch("a"), Appended(0, 1)),
        (1, 2, Read(0, 10), found(0, "a")),
        (3, 4, Read(0, 10), Tail(0)),
    ),
    "an append twice": (
        (0, 1, batch("a"), Appended(0, 1)),
        (2, 3, Read(0, 10), found(0, "a", "a")),
    ),
    "the same of one without an answer": (
        (0, None, batch("a"), None),
        (1, 2, batch("b"), Appended(1, 2)),
        (3, 4, Read(0, 10), found(0, "a", "b", "a")),
    ),
    "a place that is given twice": (
        (0, 3, batch("a"), Appended(0, 1)),
        (1, 2, batch("b"), Appended(0, 1)),
    ),
    "a hole": (
        (0, 1, batch("a"), Appended(0, 1)),
        (2, 3, batch("b"), Appended(2, 3)),
    ),
    "a batch that is torn": (
        (0, None, batch("a", "b"), None),
        (1, 2, CheckTail(), Tail(1)),
    ),
    "records in another order": (
        *A_THEN_B,
        (4, 5, Read(0, 10), found(0, "b", "a")),
    ),
    "a record from nowhere": (
        (0, 1, batch("a"), Appended(0, 1)),
        (2, 3, Read(0, 10), found(0, "x")),
    ),
    "a condition on the place that is not checked": (
        *A_THEN_B,
        (4, 5, batch("c", match_seq_num=1), Appended(2, 3)),
    ),
    "a condition that fails on what is not durable, and a crash": (
        (0, None, batch("a"), None),
        (1, 2, batch("b", match_seq_num=0), SeqNumMismatch(1)),
        (3, 4, CheckTail(), Tail(0)),
    ),
    "a fence that is not checked": (
        (0, 1, fence("t"), Appended(0, 1)),
        (2, 3, batch("a", fencing_token="old"), Appended(1, 2)),
    ),
    "a fence that is forgotten": (
        (0, 1, fence("t"), Appended(0, 1)),
        (2, 3, batch("a", fencing_token="t"), FencingTokenMismatch("")),
    ),
    "trimmed records that come back": (
        *A_THEN_B,
        (4, 5, trim(1), Appended(2, 3)),
        (6, 7, Read(0, 1), found(0, "a")),
    ),
    "more trimmed than was asked for": (
        *A_THEN_B,
        (4, 5, trim(1), Appended(2, 3)),
        (6, 7, Read(0, 1), Found(())),
    ),
}


@pytest.mark.parametrize("rows", CORRECT.values(), ids=CORRECT)
def test_what_a_stream_may_show_is_accepted(rows):
    assert is_linearizable(history(*rows))


@pytest.mark.parametrize("rows", PLANTED.values(), ids=PLANTED)
def test_what_a_bug_shows_is_rejected(rows):
    assert not is_linearizable(history(*rows))


class Stream:
    """One that does everything at once, and so correctly; written apart from the model."""

    def __init__(self):
        self.records, self.trim_point, self.token = [], 0, ""

    def ask(self, request):
        tail = len(self.records)
        if isinstance(request, CheckTail):
            return Tail(tail)
        if isinstance(request, Read):
            if request.seq_num >= tail:
                return Tail(tail)
            first = max(self.trim_point, request.seq_num)
            return Found(tuple(enumerate(self.records))[first:][: request.count])
        if request.fencing_token is not None and request.fencing_token != self.token:
            return FencingTokenMismatch(self.token)
        if request.match_seq_num is not None and request.match_seq_num != tail:
            return SeqNumMismatch(tail)
        for record in request.records:
            self.records.append(record)
            if record[0] == "fence":
                self.token = record[1].decode()
            if record[0] == "trim":
                self.trim_point = max(self.trim_point, min(int.from_bytes(record[1], "big"), len(self.records)))
        return Appended(tail, len(self.records))


def requests(dice, number):
    return dice.choice(
        [
            CheckTail(),
            Read(dice.randrange(4), dice.randrange(1, 5)),
            trim(dice.randrange(5)),
            fence(dice.choice("tu"), fencing_token=dice.choice([None, "", "t"])),
            batch(*(f"{number}-{part}" for part in range(dice.randrange(1, 3)))),
            batch(f"{number}", match_seq_num=dice.choice([None, 0, 1, 2])),
            batch(f"{number}", fencing_token=dice.choice(["", "t", "u"])),
        ]
    )


def happened(dice, clients, count):
    """A history of so many clients on a correct stream, each with so many requests, one after the other: each takes
    effect at a moment between its call and its return, and some appends are never answered, or never take effect. In
    the end all is read, when nothing else happens."""
    stream, moments, made = Stream(), [], []
    for client in range(clients):
        now = dice.random()
        for number in range(count):
            called, moment, returned = now, now + dice.random(), now + 1 + dice.random()
            moments.append((moment, called, returned, requests(dice, f"{client}-{number}")))
            now = returned + dice.random()
    for _, called, returned, request in sorted(moments, key=lambda row: row[0]):
        if isinstance(request, Append) and dice.random() < 0.2:
            took_effect = dice.random() < 0.5 and isinstance(stream.ask(request), Appended)
            if took_effect or dice.random() < 0.5:
                made.append(Operation(request, called))
        else:
            made.append(Operation(request, called, returned, stream.ask(request)))
    last = 10 * (count + 1)
    for number, request in enumerate((Read(0, 1000), CheckTail())):
        made.append(Operation(request, last + number, last + number + 0.5, stream.ask(request)))
    dice.shuffle(made)
    return made


@given(st.integers(0, 1 << 32), st.integers(1, 5), st.integers(0, 30))
def test_whatever_happened_on_a_correct_stream_is_accepted(seed, clients, count):
    assert is_linearizable(happened(random.Random(seed), clients, count))


def by_trying_everything(operations):
    """The same answer without any cleverness."""
    returned = [operation for operation in operations if operation.returned is not None]
    silent = [operation for operation in operations if operation.returned is None]
    for count in range(len(silent) + 1):
        for some in itertools.combinations(silent, count):
            for order in itertools.permutations([*returned, *some]):
                early = itertools.combinations(order, 2)
                if any(later.returned is not None and later.returned < sooner.called for sooner, later in early):
                    continue
                stream = Stream()
                if all(
                    stream.ask(operation.request) == operation.answer
                    if operation.returned is not None
                    else isinstance(stream.ask(operation.request), Appended)
                    for operation in order
                ):
                    return True
    return False


def spoil(dice, operations):
    """Another answer for one of them, taken from another one of its kind, or one that is off by one."""
    answered = [operation for operation in operations if operation.returned is not None]
    if not answered:
        return
    operation = dice.choice(answered)
    answer = operation.answer
    if isinstance(answer, Appended):
        operation.answer = Appended(answer.start + 1, answer.end + 1)
    elif isinstance(answer, Found) and answer.records:
        operation.answer = Found(answer.records[:-1])
    elif isinstance(answer, Tail | SeqNumMismatch):
        operation.answer = type(answer)(max(0, answer.seq_num + dice.choice([-1, 1])))


@given(st.integers(0, 1 << 32), st.integers(1, 4))
def test_it_says_what_trying_all_orders_says(seed, clients):
    dice = random.Random(seed)
    operations = happened(dice, clients, 1)
    spoil(dice, operations)
    assert is_linearizable(operations) == by_trying_everything(operations)


def test_appends_that_were_never_answered_do_not_make_it_slow():
    """A hundred of them, of which nothing was ever seen: they are not tried in all combinations."""
    rows = [(number, None, batch(f"lost {number}"), None) for number in range(100)]
    rows += [(200 + 2 * n, 201 + 2 * n, batch(f"kept {n}"), Appended(n, n + 1)) for n in range(100)]
    rows.append((998, 999, CheckTail(), Tail(100)))
    operations = history(*rows)

    class CountingModel(StreamModel):
        steps = 0

        def step(self, state, operation):
            CountingModel.steps += 1
            return super().step(state, operation)

    assert linearize(CountingModel(operations), operations) is not None
    assert CountingModel.steps < 50_000


@pytest.mark.parametrize(("token", "verdict"), [("t9", True), ("never sent", False)])
def test_nor_do_those_that_were_trimmed_before_anybody_read_them(token, verdict):
    """Six records are in the stream of which nobody knows more than that one of them was a fence."""
    rows = [(number, None, batch(f"lost {number}"), None) for number in range(100)]
    rows += [(100 + number, None, fence(f"t{number}"), None) for number in range(10)]
    rows += [
        (200, 201, batch("a"), Appended(6, 7)),
        (202, 203, batch("b", fencing_token="x"), FencingTokenMismatch(token)),
        (204, 205, trim(7), Appended(7, 8)),
        (206, 207, CheckTail(), Tail(8)),
    ]
    operations = history(*rows)
    model = StreamModel(operations)
    assert (linearize(model, operations, 50_000, forgotten=model.unseen) is not None) == verdict
