"""How much work SQLite does for a statement, whatever the machine is busy with."""

import contextlib


@contextlib.contextmanager
def counting_steps(connection, counts):
    """Adds to the list `counts` how many instructions of SQLite's machine were run inside."""
    steps = 0

    def on_step():
        nonlocal steps
        steps += 1

    connection.set_progress_handler(on_step, 1)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        counts.append(steps)
