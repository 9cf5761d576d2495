"""Commands on terminals of their own: one whose questions are answered, and one that is watched."""

import os
import pty
import re
import select
import signal
import subprocess
import sys

from support.waiting import TIMEOUT_S, until_readable


def answered(arguments, answer, env):
    """The code and the words of a command that is answered on a terminal. Blanks that fill a row up behind a line are
    taken out."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "s2cli", *arguments], {**os.environ, **env})
    said = b""
    sent = False
    try:
        while select.select([terminal], [], [], TIMEOUT_S)[0]:
            said += os.read(terminal, 4096)
            if not sent and said.endswith((b"[y/N] ", b"to continue: ")):
                os.write(terminal, answer)
                sent = True
    except OSError:
        pass  # the terminal ends with its process
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), re.sub(" +", " ", said.decode())


class Watcher:
    """Somebody who watches the stderr of a command on a terminal."""

    def __init__(self, arguments, env, stdout=subprocess.DEVNULL, columns=200):
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "s2cli", *map(str, arguments)],
            env={**os.environ, **env, "TERM": "xterm", "COLUMNS": str(columns)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=theirs,
        )
        os.close(theirs)
        self.said = ""

    def until_says(self, words):
        # A line that is longer than a row is filled up with blanks.
        while words not in re.sub(" +", " ", self.said):
            until_readable(self._terminal, self.said)
            self.said += os.read(self._terminal, 4096).decode()

    def until_matches(self, pattern):
        while not (found := re.search(pattern, self.said)):
            until_readable(self._terminal, self.said)
            self.said += os.read(self._terminal, 4096).decode()
        return found

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        self.until_says("to resume: ")
        assert self.process.wait(TIMEOUT_S) == 130

    def close(self):
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        os.close(self._terminal)
