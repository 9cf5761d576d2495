"""Text to value, and back where that exists."""

import pytest

from s2cli import values
from s2cli.errors import BadValueError


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
