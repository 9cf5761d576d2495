"""What a ledger says of a stream that is not what was sent and acked."""

import json

import pytest
from faults.load import Acked, Ledger, body_of
from faults.tally import Tally, as_json, table

SENT = 10


@pytest.fixture
def ledger():
    """Ten records were sent, and the first six acked, in two batches."""
    ledger = Ledger("stream")
    ledger.sent = SENT
    ledger.ack(Acked(0, 0, 2, log_bytes=100))
    ledger.ack(Acked(2, 2, 4, log_bytes=200))
    return ledger


def stream(*numbers):
    return [(place, body_of("stream", number)) for place, number in enumerate(numbers)]


@pytest.mark.parametrize(
    ("numbers", "log_bytes", "lost", "duplicated", "reordered"),
    [
        (range(10), 200, 0, 0, 0),
        (range(6), 200, 0, 0, 0),
        ([*range(6), 8, 9], 200, 0, 0, 0),  # those between were sent and never acked
        (range(5), 200, 1, 0, 0),
        (range(2), 199, 0, 0, 0),  # the second ack came later
        (range(1), 100, 1, 0, 0),
        ([], 99, 0, 0, 0),
        ([*range(6), 5], 200, 0, 1, 0),
        ([*range(6), 7, 6], 200, 0, 0, 1),
        ([0, 1, 2, 3, 5, 4], 200, 2, 0, 1),
        ([*range(6), 10], 200, 0, 0, 1),  # never sent
    ],
)
def test_it_compares(ledger, numbers, log_bytes, lost, duplicated, reordered):
    tally = ledger.compare(stream(*numbers), log_bytes)
    assert (tally.lost, tally.duplicated, tally.reordered) == (lost, duplicated, reordered)


def test_a_record_that_was_changed_is_lost(ledger):
    found = stream(*range(6))
    found[3] = (3, found[3][1] + b"x")
    tally = ledger.compare(found, 200)
    assert (tally.lost, tally.reordered) == (1, 1)


def test_a_hole_in_the_numbers_is_found(ledger):
    found = [(place + (place > 5), body) for place, body in stream(*range(8))]
    assert ledger.compare(found, 200).reordered == 2


def test_after_a_power_failure_only_what_was_acked_before_counts(ledger):
    after = ledger.went_on(150)
    assert after.acked_count == 2
    assert after.compare(stream(0, 1), 0).lost == 0
    assert after.compare(stream(0), 0).lost == 1


def test_what_was_read_counts_as_acked(ledger):
    ledger.read(stream(*range(8)), 300)
    assert ledger.acked_count == 8
    assert ledger.compare(stream(*range(7)), 300).lost == 1
    assert ledger.compare(stream(*range(6)), 299).lost == 0


def test_tallies_add_up_to_a_table():
    sum_of_all = Tally()
    sum_of_all += Tally(runs=1, faults=3, records=10, acked=6, stall_s=1.5)
    sum_of_all += Tally(runs=1, lost=2, stall_s=0.5)
    assert not sum_of_all.is_clean
    assert json.loads(as_json({"a fault": sum_of_all}))["a fault"]["faults"] == 3
    head, row = table({"a fault": sum_of_all}).splitlines()
    assert head.split()[:4] == ["fault", "runs", "faults", "records"]
    assert row.split() == ["a", "fault", "2", "3", "10", "6", "2", "0", "0", "0", "1.5", "s"]
