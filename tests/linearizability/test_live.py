"""What clients see of one stream while its server is killed, drained and cut off could have happened one by one."""

import random

import pytest
from linearizability.clients import Address, Client, last_look
from linearizability.history import Append, Appended, History
from linearizability.stream_model import is_linearizable
from support.cutting_proxy import CuttingProxy
from support.waiting import TIMEOUT_S, until

SENDS = ("unary", "session", "unary", "session")
COUNT = 40  # of requests of each client


@pytest.fixture
def clients(server):
    """`(clients, history, proxy, basin)`: they do not ask yet; half of them go through the proxy."""
    basin = server.create_basin()
    server.create_stream(basin)
    proxy = CuttingProxy(server.port)
    history = History()
    clients = [
        Client(
            f"c{number}",
            history,
            Address(proxy.port if number < 2 else server.port),
            basin,
            "stream",
            seed=19,
            count=COUNT,
            timeout_s=TIMEOUT_S,
            sends=sends,
        )
        for number, sends in enumerate(SENDS)
    ]
    yield clients, history, proxy, basin
    proxy.close()


def kill(server, proxy):
    server.kill()
    server.start()


def drain(server, proxy):
    assert server.stop() == 0
    server.start()


def cut(server, proxy):
    for link in proxy.links:
        link.cut(keep=False)


def cut_the_answers(server, proxy):
    for link in proxy.links:
        link.mute.set()
        link.cut(keep=True)


@pytest.mark.parametrize("fault", [kill, drain, cut, cut_the_answers])
def test_concurrent_clients_see_one_stream(server, clients, fault):
    clients, history, proxy, basin = clients
    dice = random.Random(fault.__name__)
    for client in clients:
        client.start()
    faults = 0
    while not all(client.is_done for client in clients):
        next_at = len(history.operations) + dice.randrange(10, 40)
        until(lambda next_at=next_at: len(history.operations) >= next_at or all(client.is_done for client in clients))
        fault(server, proxy)
        faults += 1
    for client in clients:
        client.join(TIMEOUT_S)
    last_look(history, Address(server.port), basin, "stream", timeout_s=TIMEOUT_S)
    assert is_linearizable(history.operations)
    assert faults > 2
    assert sum(isinstance(operation.answer, Appended) for operation in history.operations) > 20
    assert all(
        operation.returned is not None or isinstance(operation.request, Append) for operation in history.operations
    )
