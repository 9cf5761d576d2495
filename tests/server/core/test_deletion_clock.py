"""Deletion when somebody sets the clock."""

import logging

import pytest

from s2cli.server.core.deletion_clock import DeletionClock, steady_clock_s

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


class Clocks:
    """A clock that is set and one that is not, and deletion between them."""

    def __init__(self, last_used_ms=None, now_ms=1_000 * DAY_MS):
        self.now_ms = now_ms
        self.steady_s = 50.0
        self.deletion_ms = DeletionClock(lambda: self.now_ms, lambda: self.steady_s, last_used_ms)

    def pass_time(self, ms):
        self.now_ms += ms
        self.steady_s += ms / 1000

    @property
    def behind_ms(self):
        return self.now_ms - self.deletion_ms()


@pytest.fixture
def clocks():
    clocks = Clocks()
    assert clocks.behind_ms == 0
    return clocks


def test_it_runs_along(clocks):
    for step_ms in 1, HOUR_MS, 400 * DAY_MS:
        clocks.pass_time(step_ms)
        assert clocks.behind_ms == 0


@pytest.mark.parametrize("step_ms", [-400 * DAY_MS, -1, HOUR_MS, DAY_MS])
def test_small_steps_and_steps_back_are_followed(clocks, step_ms):
    clocks.now_ms += step_ms
    assert clocks.behind_ms == 0


def test_a_large_step_forward_counts_once_it_has_run_for_an_hour(clocks, caplog):
    clocks.now_ms += 3 * DAY_MS
    for _ in range(60):
        assert clocks.behind_ms == 3 * DAY_MS
        clocks.pass_time(HOUR_MS // 60 - 1)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the clock is 3.0 days ahead" in caplog.text
    clocks.pass_time(1000)
    assert clocks.behind_ms == 0
    assert "has run on for an hour" in caplog.text


def test_a_step_that_is_taken_back_has_deleted_nothing(clocks, caplog):
    clocks.now_ms += 3 * DAY_MS
    assert clocks.behind_ms == 3 * DAY_MS
    clocks.now_ms -= 3 * DAY_MS
    clocks.pass_time(2 * HOUR_MS)
    assert clocks.behind_ms == 0
    assert "back where it was expected" in caplog.text


def test_a_second_step_begins_the_hour_anew(clocks):
    clocks.now_ms += 3 * DAY_MS
    assert clocks.behind_ms == 3 * DAY_MS
    clocks.pass_time(HOUR_MS - 1000)
    clocks.now_ms += 3 * DAY_MS
    assert clocks.behind_ms == 6 * DAY_MS
    clocks.pass_time(HOUR_MS - 1000)
    assert clocks.behind_ms == 6 * DAY_MS
    clocks.pass_time(1000)
    assert clocks.behind_ms == 0


def test_from_when_the_data_was_last_used():
    assert Clocks(last_used_ms=999 * DAY_MS).behind_ms == 0
    assert Clocks(last_used_ms=2000 * DAY_MS).behind_ms == 0
    clocks = Clocks(last_used_ms=900 * DAY_MS)
    assert clocks.behind_ms == 100 * DAY_MS
    clocks.pass_time(HOUR_MS)
    assert clocks.behind_ms == 0


def test_the_steady_clock_runs():
    before_s = steady_clock_s()
    while steady_clock_s() == before_s:
        pass
    assert steady_clock_s() > before_s


def test_a_server_keeps_what_only_a_wrong_clock_takes_for_expired(make_thread_server):
    server = make_thread_server(frozen=True)
    basin = server.create_basin()
    server.create_stream(basin, retention_policy={"age": 3600})
    server.create_stream(basin, "other", retention_policy={"infinite": {}})

    def append(body, stream="stream"):
        answer = server.request(
            "POST", f"/v1/streams/{stream}/records", basin=basin, json_body={"records": [{"body": body}]}
        )
        assert answer.status == 200, answer

    def read():
        answer = server.request("GET", "/v1/streams/stream/records?seq_num=0", basin=basin)
        return [record["body"] for record in answer.json()["records"]] if answer.status == 200 else []

    append("kept")
    server.clock.step(3 * 86_400)
    server.clock.advance(70)  # a sweep, and then turns of the writer
    for _ in range(10):
        append("beside", "other")
    assert read() == []
    server.clock.step(-3 * 86_400)
    assert read() == ["kept"]


def test_whoever_knows_that_the_clock_is_right_says_so(clocks, caplog):
    assert clocks.deletion_ms.ahead_ms is None
    clocks.now_ms += 3 * DAY_MS
    assert clocks.deletion_ms.ahead_ms == 3 * DAY_MS
    assert "s2 lite trust-clock" in caplog.text
    clocks.deletion_ms.trust()
    assert clocks.behind_ms == 0
    assert clocks.deletion_ms.ahead_ms is None
    assert "the clock is trusted" in caplog.text
    clocks.pass_time(HOUR_MS)
    assert clocks.behind_ms == 0
