"""The memory of this process: how much it is, and that what is free is given back."""

import sys

import pytest

from s2cli.server import heap
from s2cli.server.heap import Heap, resident_bytes
from s2cli.server.http.memory_budget import MIB


def test_what_is_free_is_given_back_once_the_process_is_too_large(monkeypatch):
    size_bytes, given_back = [100 * MIB], []

    def trim(kept_bytes):
        given_back.append(kept_bytes)
        size_bytes[0] -= 30 * MIB

    monkeypatch.setattr(heap, "resident_bytes", lambda: size_bytes[0])
    monkeypatch.setattr(heap, "PAUSE_FACTOR", 0)
    own = Heap(trim, 80 * MIB)
    size_bytes[0] += 70 * MIB
    assert (own.added_bytes(), given_back) == (70 * MIB, [])
    size_bytes[0] += MIB
    assert (own.added_bytes(), given_back) == (41 * MIB, [0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the size of a process in /proc/self/statm")
def test_the_size_of_this_process():
    assert MIB < resident_bytes() < 4096 * MIB
    own = heap.bounded(MIB)
    assert own is None or own.added_bytes() <= 64 * MIB
