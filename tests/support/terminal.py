"""A command whose questions are answered on a terminal of its own."""

import os
import pty
import select
import sys

from support.waiting import TIMEOUT_S


def answered(arguments, answer, env):
    """The code and the words of a command that is answered on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "s2cli", *arguments], {**os.environ, **env})
    said = b""
    sent = False
    try:
        while select.select([terminal], [], [], TIMEOUT_S)[0]:
            said += os.read(terminal, 4096)
            if not sent and said.endswith((b"[y/N] ", b"to go on: ")):
                os.write(terminal, answer)
                sent = True
    except OSError:
        pass  # the terminal ends with its process
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()
