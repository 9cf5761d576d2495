"""Times as people read them."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from s2cli.formats.rfc3339 import TimeFormatter


@given(st.lists(st.integers(0, 253_402_300_799_999), max_size=5))
def test_times_are_those_of_the_gregorian_calendar(times_ms):
    formatter = TimeFormatter()
    for time_ms in times_ms:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
        expected = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert formatter.format(time_ms) == expected


def test_what_no_calendar_has_is_a_number():
    formatter = TimeFormatter()
    assert formatter.format(253_402_300_800_000) == "@253402300800000"
    assert formatter.format((1 << 64) - 1) == "@18446744073709551615"
    assert formatter.format(0) == "1970-01-01T00:00:00.000Z"
