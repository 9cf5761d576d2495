"""Names, tokens and record rules: what passes, and the words for what does not."""

import pytest

from s2cli.errors import BadValueError
from s2cli.wire import names, record_rules


@pytest.mark.parametrize("name", ["abcdefgh", "a-b-c-d-1", "0" * 48])
def test_basin_names_that_pass(name):
    names.check_basin_name(name)


@pytest.mark.parametrize(
    "name", ["", "abcdefg", "a" * 49, "-abcdefgh", "abcdefgh-", "Abcdefgh", "abc_defgh", "äbcdefgh"]
)
def test_basin_names_that_do_not(name):
    with pytest.raises(BadValueError, match="Basin name"):
        names.check_basin_name(name)


@pytest.mark.parametrize("name", ["a", "a/b/c", "x" * 512, "ä" * 256, "...", "\x01", " "])
def test_stream_names_that_pass(name):
    names.check_stream_name(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Stream name must be between 1 and 512 bytes"),
        ("x" * 513, "Stream name must be between 1 and 512 bytes"),
        ("ä" * 257, "Stream name must be between 1 and 512 bytes"),
        (".", 'stream name must not be "." or ".."'),
        ("..", 'stream name must not be "." or ".."'),
        ("a\0b", "stream name must not contain NUL bytes"),
        ("\udc80", "stream name must be valid UTF-8"),
    ],
)
def test_stream_names_that_do_not(name, message):
    with pytest.raises(BadValueError) as caught:
        names.check_stream_name(name)
    assert caught.value.message == message


def test_prefixes_may_be_what_names_may_not():
    for text in ("", ".", "..", "x" * 512):
        names.check_stream_prefix(text, "prefix")
    for text in ("", "a", "abc-"):
        names.check_basin_prefix(text, "prefix")
    with pytest.raises(BadValueError, match="prefix must not contain NUL bytes"):
        names.check_stream_prefix("\0", "prefix")
    with pytest.raises(BadValueError, match="access token start_after must not contain NUL bytes"):
        names.check_token_prefix("\0", "start_after")
    for text in ("-a", "A", "a" * 49):
        with pytest.raises(BadValueError, match="basin start_after"):
            names.check_basin_prefix(text, "start_after")


def test_tokens_have_at_most_36_bytes():
    names.check_fencing_token("")
    names.check_fencing_token("ä" * 18)
    names.check_request_token("x" * 36)
    for check in (names.check_fencing_token, names.check_request_token):
        with pytest.raises(BadValueError, match="36"):
            check("x" * 37)
    with pytest.raises(BadValueError):
        names.check_request_token("")


def test_metered_size_is_that_of_the_protocol():
    assert record_rules.metered_bytes(b"") == 8
    assert record_rules.metered_bytes(b"abc", [(b"n", b"value"), (b"", b"")]) == 8 + 2 * 2 + 6 + 3


@pytest.mark.parametrize(
    ("body", "headers", "command"),
    [
        (b"anything", [], None),
        (b"", [(b"name", b"")], None),
        (b"token", [(b"", b"fence")], record_rules.FENCE),
        (b"", [(b"", b"fence")], record_rules.FENCE),
        (record_rules.encode_trim_point(5), [(b"", b"trim")], record_rules.TRIM),
    ],
)
def test_records_that_pass(body, headers, command):
    assert record_rules.check_record(body, headers) == command


@pytest.mark.parametrize(
    ("body", "headers", "message"),
    [
        (b"", [(b"", b"reset")], "unknown command"),
        (b"", [(b"", b"fence"), (b"a", b"b")], "empty name"),
        (b"", [(b"a", b"b"), (b"", b"fence")], "empty name"),
        (b"x" * 37, [(b"", b"fence")], "37 bytes"),
        (b"\xff", [(b"", b"fence")], "UTF-8"),
        (b"1234567", [(b"", b"trim")], "must be 8"),
        (b"x" * (1 << 20), [], "exceeds 1 MiB"),
    ],
)
def test_records_that_do_not(body, headers, message):
    with pytest.raises(BadValueError, match=message):
        record_rules.check_record(body, headers)


def test_a_record_may_just_fill_a_batch():
    assert record_rules.check_record(b"x" * ((1 << 20) - 8), []) is None


def test_batches_have_1_to_1000_records_and_1_mib():
    record_rules.check_batch(1000, 1 << 20)
    for count, size in ((0, 0), (1001, 1001 * 8), (1, (1 << 20) + 1)):
        with pytest.raises(BadValueError, match="batch must not"):
            record_rules.check_batch(count, size)
