"""Numbers for people: one style, and what was printed can be typed."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import s2cli
from s2cli import amounts
from s2cli.values import parse_duration_ms

PACKAGE = Path(s2cli.__file__).parent


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (6_186_598, "5.9 MiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (5 << 40, "5120.0 GiB"),
    ],
)
def test_sizes(count, text):
    assert amounts.format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.314, "0.31 s"),
        (3.0, "3 s"),
        (9.996, "10 s"),
        (12.44, "12.4 s"),
        (60, "60 s"),
        (3601.25, "3601.2 s"),
    ],
)
def test_measured_times(seconds, text):
    assert amounts.format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (5400, "1h 30m"),
        (604_800, "7d"),
        (2_630_016, "1month"),
        (31_557_600, "1y"),
        (5_184_000, "60d"),
        (129_600, "1d 12h"),
    ],
)
def test_durations(seconds, text):
    assert amounts.format_duration(seconds) == text


@given(st.integers(0, (1 << 40)))
def test_a_printed_duration_is_the_same_one_as_an_option(seconds):
    assert parse_duration_ms(amounts.format_duration(seconds)) == seconds * 1000


def test_rates_and_counts_are_digits_alone():
    assert amounts.format_rate(2_500_000, 2.0, "records") == "1250000 records/s"
    assert amounts.format_rate(5, 0.0, "records") == "0 records/s"
    assert amounts.format_count(1, "record", "records") == "1 record"
    assert amounts.format_count(1_234_567, "record", "records") == "1234567 records"


def test_times_are_in_utc_whatever_the_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert amounts.format_utc(1_769_860_800) == "2026-01-31T12:00:00Z"
    assert amounts.format_utc(1_769_860_800, 7) == "2026-01-31T12:00:00.007Z"
    with pytest.raises((OverflowError, ValueError, OSError)):
        amounts.format_utc(1 << 63)


def test_no_command_formats_numbers_in_a_style_of_its_own():
    """Thousands separators and fractions are decided in amounts alone."""
    own = []
    for place in ("client", "commands"):
        for path in sorted((PACKAGE / place).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
                    spec = ast.unparse(node.format_spec).strip("f'\"")
                    if "," in spec or spec.endswith(("f", "g", "e", "%")):
                        own.append(f"{path.name}:{node.lineno} {spec}")
    assert own == []
