import errno

import pytest

from s2cli.errors import ExitCode, describe, file_error


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (errno.ENOENT, ExitCode.USAGE),
        (errno.EACCES, ExitCode.USAGE),
        (errno.EISDIR, ExitCode.USAGE),
        (errno.ENOSPC, ExitCode.FAILURE),
        (errno.EIO, ExitCode.FAILURE),
    ],
)
def test_a_file_that_cannot_be_opened_was_named_wrongly_unless_the_disk_is_at_fault(number, exit_code):
    error = file_error("cannot open x", OSError(number, "Some Reason", "x"), hint="try y")
    assert (error.exit_code, error.message, error.hint) == (exit_code, "cannot open x: some reason", "try y")


def test_an_error_of_the_system_is_described_without_its_number_and_file():
    assert describe(FileNotFoundError(errno.ENOENT, "No such file or directory", "x")) == "no such file or directory"
    assert describe(OSError("Not one of the system")) == "not one of the system"
