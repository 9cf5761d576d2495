"""The standard streams: colour, closed and full pipes, and text that must not drive a terminal."""

import contextlib
import os
import re
import threading

import pytest
from support.waiting import TIMEOUT_S

from s2cli.cli import console
from s2cli.errors import ApiError, BadInputError, NotFoundError, S2Error, SeqNumMismatchError, UsageError


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    configure()
    yield
    configure()


def configure(quiet=False, verbose=False, color=None, json_errors=False):
    console.configure(quiet=quiet, verbose=verbose, color=color, json_errors=json_errors)


@contextlib.contextmanager
def piped(descriptor: int):
    """A standard stream as a pipe; gives the other end, for the caller to close."""
    saved = os.dup(descriptor)
    read_end, write_end = os.pipe()
    os.dup2(write_end, descriptor)
    os.close(write_end)
    try:
        yield read_end
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


@pytest.fixture
def stdout(capfd):
    return lambda: capfd.readouterr().out


@pytest.fixture
def stderr(capfd):
    return lambda: capfd.readouterr().err


@pytest.fixture
def terminals(monkeypatch):
    """Descriptors that count as terminals."""
    which = {1, 2}
    monkeypatch.setattr(console, "_is_terminal", lambda descriptor: descriptor in which)
    return which


@pytest.mark.parametrize(
    ("environ", "color", "expected"),
    [
        ({}, None, True),
        ({}, "auto", True),
        ({}, "never", False),
        ({"TERM": "dumb"}, None, False),
        ({"TERM": "dumb"}, "always", True),
        ({"NO_COLOR": "1"}, None, False),
        ({"NO_COLOR": ""}, None, True),
        ({"NO_COLOR": "1"}, "always", True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, None, False),
        ({"CLICOLOR": "0"}, None, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, None, True),
    ],
)
def test_colour_on_a_terminal(monkeypatch, terminals, environ, color, expected):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    configure(color=color)
    assert console.has_color(2) is expected


@pytest.mark.parametrize(
    ("environ", "color", "expected"),
    [
        ({}, None, False),
        ({}, "always", True),
        ({"FORCE_COLOR": "1"}, None, True),
        ({"FORCE_COLOR": ""}, None, False),
        ({"CLICOLOR_FORCE": "1"}, None, True),
        ({"CLICOLOR_FORCE": "0"}, None, False),
        ({"FORCE_COLOR": "1"}, "never", False),
    ],
)
def test_colour_elsewhere(monkeypatch, terminals, environ, color, expected):
    terminals.clear()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    configure(color=color)
    assert console.has_color(1) is expected


def test_each_stream_decides_for_itself(terminals):
    terminals.remove(1)
    assert (console.has_color(1), console.has_color(2)) == (False, True)


def test_only_labels_have_colours_and_those_can_be_read_on_any_background(stderr):
    configure(color="always")
    console.warn("one")
    console.error(NotFoundError("two", hint="three"))
    said = stderr()
    assert re.sub(r"\x1b\[[0-9;]*m", "", said) == "warning: one\nerror: two\nhint: three\n"
    assert re.findall(r"\x1b\[[1-9;]*m([a-z]+:)\x1b\[0m ", said) == ["warning:", "error:", "hint:"]
    colours = {code for codes in re.findall(r"\x1b\[([0-9;]*)m", said) for code in codes.split(";")}
    assert not colours & {"30", "33", "34", "37", "90", "93", "94", "97"}


def test_notices_are_silenced_and_warnings_are_not(stderr):
    console.notice("one")
    console.detail("hidden")
    configure(verbose=True)
    console.detail("two")
    configure(quiet=True)
    console.notice("hidden")
    console.warn("three")
    assert stderr() == "one\ntwo\nwarning: three\n"


def test_an_error_is_one_line_and_its_hint_another(stderr):
    console.error(UsageError("no " + "x" * 200, hint="type this"))
    console.error(NotFoundError("two\nlines\x1b[2J"))
    assert stderr() == "error: no " + "x" * 200 + "\nhint: type this\nerror: two\\x0alines\\x1b[2J\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiError("basin_not_found", "m"), "basin_not_found"),
        (S2Error("m"), "failure"),
        (UsageError("m"), "usage"),
        (SeqNumMismatchError(5), "seq_num_mismatch"),
        (BadInputError("m", line=3), "bad_input"),
    ],
)
def test_errors_in_json_have_a_code(stderr, error, code):
    configure(json_errors=True)
    console.error(error)
    assert f'"code": "{code}"' in stderr()


def test_printable_keeps_letters_and_shows_the_rest():
    assert console.printable("grün ✓ 語") == "grün ✓ 語"
    assert console.printable("a\x1b]0;x\x07\r\n\x7f\u202e") == "a\\x1b]0;x\\x07\\x0d\\x0a\\x7f\\u{202e}"
    assert console.printable("\udcff\ud800") == "\\xff\\u{d800}"


def test_a_full_pipe_is_waited_for():
    data = os.urandom(1 << 20)
    taken = bytearray()

    def drain(read_end: int) -> None:
        while len(taken) < len(data):
            taken.extend(os.read(read_end, 65536))

    with piped(1) as read_end:
        os.set_blocking(1, False)
        reader = threading.Thread(target=drain, args=(read_end,))
        reader.start()
        console.write(data)
        reader.join(TIMEOUT_S)
        os.close(read_end)
    assert bytes(taken) == data


def test_a_closed_stdout_is_told():
    with piped(1) as read_end:
        os.close(read_end)
        with pytest.raises(console.ClosedOutput):
            console.write(b"x")


def test_stderr_that_nobody_reads_stops_nothing(monkeypatch):
    monkeypatch.setattr(console, "STDERR_WAIT_MS", 1)
    with piped(2) as read_end:
        os.set_blocking(2, False)
        for _ in range(30):
            console.notice("x" * 10_000)
        os.close(read_end)
        console.notice("nobody")


def test_the_status_line_is_taken_away_before_a_notice(stderr, terminals):
    console.status("12 records\n")
    console.notice("done")
    console.status("again")
    console.status("")
    assert stderr() == "\r\x1b[K12 records\\x0a\r\x1b[Kdone\n\r\x1b[Kagain\r\x1b[K"


def test_live_lines_take_the_place_of_those_before(stderr, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    console.status_block([["one"], ["two", "three", "four"]], "  ")
    console.status_block([["1"], ["2"], ["3"]], "  ")
    console.notice("said")
    console.status_block([["5"]], "  ")
    console.status("")
    assert stderr() == ("\r\x1b[Kone\r\ntwo\r\x1b[1A\x1b[J1\r\n2\r\n3\r\x1b[2A\x1b[Jsaid\n\r\x1b[K5\r\x1b[K")


def test_there_is_no_status_line_elsewhere(stderr):
    console.status("12 records")
    assert stderr() == ""


def test_a_dumb_terminal_has_no_status_line(stderr, terminals, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console.status("12 records")
    console.notice("done")
    assert stderr() == "done\n"


def test_the_status_line_is_no_wider_than_the_terminal(stderr, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    for parts in ("012", "345", "6"), ("012", "3456", "x"), ("0123456789abcdef",), ("größe 日",), ("größe 日本", "x"):
        console.status(*parts)
    console.status("日本", "日")
    assert stderr().split("\r\x1b[K")[1:] == ["012, 345", "012, 3456", "", "größe 日", "", "日本, 日"]


def test_a_table_elsewhere_has_tabs_and_no_cut_cell(stdout):
    table = console.Table(("NAME", "STATE"))
    table.add([("a" * 300, "x\ty"), ("b", "z")])
    table.add([("c", "")])
    assert stdout() == "NAME\tSTATE\n" + "a" * 300 + "\tx\\x09y\nb\tz\nc\t\n"


def test_wide_characters_take_two_columns_of_a_terminal(stdout, terminals):
    table = console.Table(("NAME", "STATE"), show_headers=False)
    table.add([("日本", "active"), ("e\u0301", "active"), ("longest", "active")])
    assert stdout() == "日本     active\ne\u0301        active\nlongest  active\n"


def test_a_table_on_a_terminal_is_aligned_and_grows_with_its_pages(stdout, terminals):
    configure(color="never")
    table = console.Table(("NAME", "STATE"), show_headers=False)
    table.add([("a", "x"), ("bbb", "y")])
    table.add([("ccccc", "z"), ("d", "w")])
    assert stdout() == "a    x\nbbb  y\nccccc  z\nd      w\n"


def test_figures_on_a_terminal_are_aligned_to_the_right(stdout, terminals):
    configure(color="never")
    console.Table(("NAME", "VALUE", "UNIT"), figures={1}).add([("a", "1", "bytes"), ("b", "1234567", "")])
    assert stdout() == "NAME    VALUE  UNIT\na           1  bytes\nb     1234567\n"


def test_a_row_that_is_wider_than_the_terminal_is_a_block_with_whole_cells(stdout, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    configure(color="never")
    table = console.Table(("NAME", "STATE", "AT"))
    table.add([("a", "x", "1")])
    table.add([("a name that is long", "active", "2"), ("b", "y", "3")])
    assert stdout() == (
        "NAME  STATE  AT\na     x      1\na name that is long\n  STATE  active\n  AT     2\nb\n  STATE  y\n  AT     3\n"
    )
    table = console.Table(("NAME", "STATE"), show_headers=False)
    table.add([("another long name", "active")])
    assert stdout() == "another long name\n  active\n"


def rows(text, width):
    """What stands in the rows of a terminal."""
    return [text[at : at + width] for at in range(0, len(text), width)]


def test_no_word_breaks_at_the_edge_of_a_terminal_and_a_line_stays_one_line(stderr, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console.notice("takes a live line away that may be there")
    stderr()
    console.notice("to resume: s2 append s2://basin/stream -H 'key=a value' -q")
    text = stderr()
    assert rows(text.removesuffix("\n"), 20) == [
        "to resume: s2       ",
        "append              ",
        "s2://basin/stream   ",
        "-H 'key=a value' -q",
    ]
    assert text.split() == "to resume: s2 append s2://basin/stream -H 'key=a value' -q".split()
    configure(color="never")
    console.error(UsageError("this is longer than a row is", hint="type less"))
    assert stderr() == "error: this is      longer than a row   is\nhint: type less\n"


@pytest.mark.parametrize("amount", ["(2.8 KiB,", "0.03 s)", "24 %", "12 MiB/s;", "9 records/s", "5 ms"])
def test_a_number_and_its_unit_stay_in_one_row(amount, stderr, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    first = "x" * (18 - amount.index(" "))  # a row that has room for the number alone
    console.notice(f"{first} {amount} in all")
    assert rows(stderr(), 20)[:2] == [first.ljust(20), f"{amount} in all\n"]


def test_a_word_longer_than_a_row_begins_where_the_one_before_it_ends(stderr, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    console.notice("see s2://basin/stream or not")
    assert stderr() == "see s2://basin/stream or not\n"
    console.notice("at s2://basin/stream not")  # it ends with its row
    assert stderr() == "at s2://basin/stream not\n"


def test_colour_takes_no_room_in_a_row(stderr, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console.warn("this is more than a row has")
    assert stderr() == "\x1b[1;35mwarning:\x1b[0m this is    more than a row has\n"


def test_what_is_told_after_an_interrupt_begins_a_row(stderr, terminals):
    console.begin_row(after_line=True)
    assert stderr() == "\r\x1b[K"
    console.begin_row(after_line=False)
    assert stderr() == "\n"
    terminals.clear()
    for after_line in (True, False):
        console.begin_row(after_line=after_line)
    assert stderr() == ""


@pytest.mark.parametrize("where", ["a pipe", "a dumb terminal", "JSON"])
def test_a_long_line_is_left_as_it_is(where, stderr, terminals, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    if where == "a pipe":
        terminals.discard(2)
    if where == "a dumb terminal":
        monkeypatch.setenv("TERM", "dumb")
    if where == "JSON":
        configure(json_errors=True)
    console.error(UsageError("this is more than a row has"))
    assert "this is more than a row has" in stderr()
