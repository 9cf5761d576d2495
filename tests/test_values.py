"""Text to value, and back where that exists."""

import datetime
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2cli import values
from s2cli.errors import BadValueError
from s2cli.values import Position, parse_position

NOW_MS = 1_700_000_000_000


@pytest.fixture
def in_berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "basin", "stream"),
    [
        ("s2://my-basin/s", "my-basin", "s"),
        ("s2://my-basin/a/b//c", "my-basin", "a/b//c"),
        ("s2://my-basin/s2://x", "my-basin", "s2://x"),
        ("s2://my-basin/ ü?#%2F", "my-basin", " ü?#%2F"),
    ],
)
def test_stream_uri(text, basin, stream):
    uri = values.parse_uri(text)
    assert (uri.basin, uri.stream) == (basin, stream)
    assert str(uri) == text


@pytest.mark.parametrize(
    "text", ["", "my-basin/s", "my-basin", "s2:/my-basin/s", "http://b/s", "s2://my-basin", "s2://b/", "s2:///s"]
)
def test_what_is_no_stream_uri_is_refused_and_the_scheme_named(text):
    with pytest.raises(BadValueError, match="s2://"):
        values.parse_uri(text)


@pytest.mark.parametrize("text", ["my-basin", "s2://my-basin", "s2://my-basin/"])
def test_basin(text):
    assert values.parse_basin(text) == "my-basin"


@pytest.mark.parametrize("text", ["", "s2://", "s2://my-basin/s", "my-basin/s", "s3://my-basin"])
def test_what_is_no_basin_is_refused(text):
    with pytest.raises(BadValueError):
        values.parse_basin(text)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("30s", 30_000),
        ("5m", 300_000),
        ("2h 30m", 9_000_000),
        ("2h30m", 9_000_000),
        ("1 day 1 hour", 90_000_000),
        ("14days", 1_209_600_000),
        ("1w", 604_800_000),
        ("1month", 2_630_016_000),
        ("1M", 2_630_016_000),
        ("1y", 31_557_600_000),
        ("500ms", 500),
        ("0s", 0),
        (" 0 ", 0),
        ("1us", 1),
        ("  5s ", 5000),
    ],
)
def test_duration(text, milliseconds):
    assert values.parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", " ", "5", "s", "5x", "-5s", "1.5h", "5s 3", "5 s s", "٣s", "99999999999999999999s", "5M5"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(BadValueError, match="not a duration"):
        values.parse_duration_ms(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65536),
        ("512KiB", 524288),
        ("4MiB", 4 << 20),
        ("1 GiB", 1 << 30),
        ("2M", 2 << 20),
        ("1kB", 1000),
        ("7b", 7),
    ],
)
def test_size(text, size):
    assert values.parse_size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "4 XB", "1e6", "٣"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(BadValueError, match="not a size"):
        values.parse_size_bytes(text)


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
    now_ms = values.parse_time_ms("2026-03-30T00:30")
    assert parse_position(text, now_ms) == Position("timestamp", values.parse_time_ms(date))


@given(st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(9999, 12, 30)), st.integers(-14 * 60, 14 * 60))
def test_times_are_those_of_datetime(moment, offset_minutes):
    zoned = moment.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=offset_minutes)))
    expected = (zoned - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(milliseconds=1)
    assert values.parse_time_ms(zoned.isoformat()) == expected


@given(st.text(max_size=12))
def test_any_text_is_a_position_or_a_bad_value(text):
    try:
        assert parse_position(text, NOW_MS).value >= 0
    except BadValueError:
        pass
