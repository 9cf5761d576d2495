"""The way to the server of the `local` profile: one that runs already, or one that is started now.

Every `s2 --local …` passes here, so the common path reads one small file, connects once, and imports next to nothing;
all that starting and stopping needs is in client/local_start.py.
"""

from __future__ import annotations

from s2cli.client.local_probe import data_dir, is_outdated, probe, read_note


def ensure_server() -> str:
    """The Unix socket of the running server, after starting one if there is none. Where the directory is served by a
    server without a socket for us, its origin (`http://…`). Raises S2Error; never waits for ever."""
    directory = data_dir()
    note = read_note(directory)
    if note is not None and not is_outdated(note) and "socket" in note and probe(note["socket"]) is None:
        return note["socket"]
    from s2cli.client.local_start import start_server

    return start_server(directory)
