"""Whatever a server sends: the command ends, with the right code and a clear line, and takes little memory."""

import re
import sys

import pytest
from hostile_server import CASES, PROMPT_S, walk_into

S2 = [sys.executable, "-m", "s2cli"]


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_a_hostile_server_is_an_error_and_no_harm(case):
    ending = walk_into(case, S2)
    assert ending.code is not None, f"it did not end within {PROMPT_S} s: {ending.said}"
    assert ending.code == case.code, ending.said
    assert ending.peak <= case.limit
    assert "bug in s2" not in ending.said
    assert "Traceback" not in ending.said
    if case.code:
        assert "error: " in ending.said
    assert re.search(case.said, ending.said), ending.said
    assert max(map(len, ending.said.splitlines()), default=0) < 5000
