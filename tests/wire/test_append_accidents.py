"""Appends through accidents of every kind, in an order that a random generator chooses."""

import random

import pytest
from append_model import Stream, Wire, Writer, records, unacknowledged

from s2cli.wire.append_session import ALONE, AppendSession


def accidents(seed: int, lines: list[bytes], others: list[bytes]) -> tuple[Stream, AppendSession]:
    """One append of `lines` through accidents of every kind; what is still on its way at the end arrives too."""
    dice = random.Random(seed)
    stream = Stream()
    stream.write(*dice.sample(lines, min(2, len(lines))))
    writer = Writer(stream)
    pending, late = list(lines), []
    while pending or writer.session.in_flight:
        if writer.wire is None:
            writer.connect()
        step = dice.randrange(12)
        if step < 3 and pending and writer.session.can_add:
            count = dice.randint(1, 3)
            writer.session.add(records(*pending[:count]))
            del pending[:count]
        elif step < 5:
            writer.send(dice.choice((1, 1 << 30)))
        elif step < 7:
            writer.wire.deliver(dice.randint(0, 2))
        elif step < 9:
            writer.receive(dice.randint(0, 2))
        elif step == 9:
            writer.cut(keep=dice.random() < 0.7)
            late, writer.lost = late + writer.lost, []
        elif step == 10 and late:
            dice.choice(late).deliver(dice.randint(0, 2))
        elif step == 11 and others and dice.random() < 0.3:
            stream.write(others.pop())
    for wire in late:
        wire.deliver()
    return stream, writer.session


@pytest.mark.parametrize("seed", range(150))
def test_alone_every_line_is_there_exactly_once_and_in_order(seed):
    lines = [b"line %d" % (number // 2) for number in range(40)]  # each twice: content alone proves nothing
    stream, session = accidents(seed, lines, [])
    assert stream.bodies[2:] == lines
    assert (session.durable, session.repeated, session.state) == (40, [], ALONE)
    assert (session.first_seq_num, session.last_seq_num) == (2, 41)


@pytest.mark.parametrize("seed", range(150))
def test_beside_another_writer_nothing_is_lost_and_what_may_be_repeated_is_named(seed):
    lines = [b"line %d" % number for number in range(40)]
    others = [b"other %d" % number for number in range(10)]
    stream, session = accidents(seed, lines, list(others))
    named = {line for first, last in session.repeated for line in range(first, last + 1)}
    bodies = stream.bodies[2:]
    for number, line in enumerate(lines, 1):
        assert bodies.count(line) == 1 or (bodies.count(line) > 1 and number in named)
    assert session.durable == 40


@pytest.mark.parametrize("seed", range(150))
def test_beside_a_writer_of_the_same_lines_the_count_is_exact_or_the_lines_are_named(seed):
    others = [b"same"] * 5
    stream, session = accidents(seed, [b"same"] * 20, others)
    ours = len(stream.bodies) - 2 - (5 - len(others))
    repeated, recognized = (
        sum(last - first + 1 for first, last in ranges) for ranges in (session.repeated, session.recognized)
    )
    assert ours == 20 or (ours > 20 and repeated) or (20 - recognized <= ours < 20)
    assert session.durable == 20


def test_wire_poisons_a_session_at_its_first_error():
    """The model itself: what follows a refused frame is not applied."""
    stream = Stream()
    writer, wire = unacknowledged(stream, [b"a"], [b"b"])
    stream.write(b"x")
    wire.deliver()
    assert stream.bodies == [b"x"]
    assert isinstance(wire, Wire)
    assert len(wire.answers) == 1
    assert writer.session.in_flight == 2
