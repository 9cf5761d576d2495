"""How long a session is listened to, with a clock that the test moves."""

import pytest

from s2cli.client import session
from s2cli.client.session import FREE_HEARTBEATS, LOWEST_BYTES_PER_S, SILENCE_S, Patience
from s2cli.client.sockets import LostError
from s2cli.errors import ProtocolError


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(session, "time", clock)
    return clock


def test_a_message_that_trickles_is_given_up(clock):
    patience = Patience(None)
    for size in 1000, 2000, 3000:
        clock.now += 10
        patience.on_data(0, size, 0, counts=True)
    clock.now += 10
    with pytest.raises(LostError, match="the server sent only 4000 bytes of a message in 30 s"):
        patience.on_data(0, 4000, 0, counts=True)


def test_a_message_that_is_slow_and_large_is_waited_for(clock):
    patience = Patience(None)
    for size in range(LOWEST_BYTES_PER_S, 300 * LOWEST_BYTES_PER_S, LOWEST_BYTES_PER_S):
        clock.now += 1
        patience.on_data(0, size, 0, counts=True)


def test_a_new_message_has_its_own_time(clock):
    """Also where it begins in the piece that ends the one before, and what lies between was the output's time."""
    patience = Patience(None)
    for messages in range(100):
        clock.now += 1000
        patience.on_data(messages, 10, 0, counts=True)


def test_heartbeats_may_come_at_their_pace_and_no_faster(clock):
    patience = Patience(None)
    for count in range(1, 5000):
        clock.now += 5
        patience.on_data(count, 0, count, counts=True)
    with pytest.raises(ProtocolError, match="only heartbeats"):
        patience.on_data(0, 0, 5000 * 5 + FREE_HEARTBEATS, counts=True)


def test_signs_of_life_are_no_answer_to_who_waits_for_records(clock):
    patience = Patience(None)
    began = patience.heard
    clock.now += 10
    patience.on_data(1, 0, 1, counts=False)
    assert patience.heard == began
    patience.on_data(2, 0, 0, counts=True)
    assert patience.heard == clock.now


def test_the_head_has_a_time_of_its_own(clock):
    assert Patience(5).limit_s(False) == 5
    assert Patience(5).limit_s(True) == SILENCE_S
    assert Patience(None).limit_s(False) == SILENCE_S
