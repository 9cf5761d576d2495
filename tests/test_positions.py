"""Positions in a stream, and times, from text."""

import datetime
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli.errors import BadValueError
from s2cli.positions import Position, parse_position, parse_time_ms

NOW_MS = 1_700_000_000_000


@pytest.fixture
def in_berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("start", "start", 0),
        ("end", "end", 0),
        ("0", "seq_num", 0),
        ("1700000000000", "seq_num", 1_700_000_000_000),
        ("20260131", "seq_num", 20_260_131),
        ("-5", "tail_offset", 5),
        ("-0", "tail_offset", 0),
        ("now", "timestamp", NOW_MS),
        ("5m", "timestamp", NOW_MS - 300_000),
        ("1 hour ago", "timestamp", NOW_MS - 3_600_000),
        ("5m ago", "timestamp", NOW_MS - 300_000),
        ("1h30m ago", "timestamp", NOW_MS - 5_400_000),
        ("100y ago", "timestamp", 0),
        ("@1700000000", "timestamp", 1_700_000_000_000),
        ("@1700000000123", "timestamp", 1_700_000_000_123),
        ("@0", "timestamp", 0),
        ("2026-01-31T12:00:00Z", "timestamp", 1_769_860_800_000),
        ("2026-01-31t12:00:00.123456z", "timestamp", 1_769_860_800_123),
        ("2026-01-31T12:00:00.5+01:00", "timestamp", 1_769_857_200_500),
        ("2026-01-31 12:00:00-05:30", "timestamp", 1_769_880_600_000),
        ("2026-01-31T12:00Z", "timestamp", 1_769_860_800_000),
    ],
)
def test_position(text, kind, value):
    assert parse_position(text, NOW_MS) == Position(kind, value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "yesterday 25:00",
        "yesterday10:00",
        "today tomorrow",
        "1:00",
        "10:60",
        "--5",
        "5x",
        "@",
        "@-1",
        "@x",
        "1e3",
        "2026-13-01",
        "2026-02-30",
        "2025-02-29",
        "2026-00-10",
        "2026-01-00",
        "2026-01-31T25:00Z",
        "2026-01-31T12Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00+25:00",
        "2026-01-31X12:00Z",
        "1969-12-31T23:59:59Z",
        "99999999999999999999999",
        "2026-1-31",
        "20a6-01-31",
    ],
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(BadValueError):
        parse_position(text, NOW_MS)


@pytest.mark.usefixtures("in_berlin")
def test_times_without_a_zone_are_local():
    assert parse_position("2026-01-31", NOW_MS).value == 1_769_814_000_000
    assert parse_position("2026-07-01T00:00:00", NOW_MS).value == 1_782_856_800_000
    assert os.environ["TZ"] == "Europe/Berlin"


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("today", "2026-03-30"),
        ("yesterday", "2026-03-29"),  # the day with 23 hours
        ("10:00", "2026-03-30T10:00"),
        ("10:00:30", "2026-03-30T10:00:30"),
        ("10:00Z", "2026-03-30T10:00Z"),
        ("today 23:59", "2026-03-30T23:59"),
        ("yesterday 10:00:00.5", "2026-03-29T10:00:00.5"),
    ],
)
def test_days_and_times_of_day_are_local(text, date):
    now_ms = parse_time_ms("2026-03-30T00:30")
    assert parse_position(text, now_ms) == Position("timestamp", parse_time_ms(date))


@given(st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(9999, 12, 30)), st.integers(-14 * 60, 14 * 60))
def test_times_are_those_of_datetime(moment, offset_minutes):
    zoned = moment.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=offset_minutes)))
    expected = (zoned - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(milliseconds=1)
    assert parse_time_ms(zoned.isoformat()) == expected


@given(st.text(max_size=12))
def test_any_text_is_a_position_or_a_bad_value(text):
    try:
        assert parse_position(text, NOW_MS).value >= 0
    except BadValueError:
        pass
