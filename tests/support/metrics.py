"""Requests that are counted, and the questions for their metrics."""

import time

from support.s2s import open_read

BASIN = "metrics-basin"


def ask(server, path, **query):
    """The answer about the last hour, unless the query says another time."""
    query.setdefault("start", int(time.time()) - 3600)
    query.setdefault("end", int(time.time()) + 1)
    return server.request("GET", f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}")


def values(server, path, name, **query):
    """The metrics of the set with that name."""
    answer = ask(server, path, set=name, **query)
    assert answer.status == 200, answer
    assert list(answer.json()) == ["values"]
    return answer.json()["values"]


def sums(server, path, name, **query):
    """Name of each accumulation -> the sum of its points."""
    metrics = [metric["accumulation"] for metric in values(server, path, name, **query)]
    assert len({metric["unit"] for metric in metrics}) <= 1
    return {metric["name"]: sum(value for _, value in metric["values"]) for metric in metrics}


def last_bytes(server, path):
    """How much is stored, by the last point."""
    (metric,) = values(server, path, "storage")
    gauge = metric["gauge"]
    assert (gauge["name"], gauge["unit"]) == ("storage", "bytes")
    return gauge["values"][-1][1]


def append(server, *bodies, stream="stream", basin=BASIN):
    body = {"records": [{"body": body} for body in bodies]}
    answer = server.request("POST", f"/v1/streams/{stream}/records", json_body=body, basin=basin)
    assert answer.status == 200, answer


def use(server):
    """Some of everything, in a basin of its own: 100 metered bytes in 5 records are appended, and more is read."""
    server.create_basin(BASIN)
    server.create_stream(BASIN, "stream")
    server.create_stream(BASIN, "standard", storage_class="standard")
    append(server, "x" * 12, "y" * 12)  # 40
    append(server, "z" * 22)  # 30
    append(server, "a" * 2, "b" * 12, stream="standard")  # 10 + 20
    for _ in range(3):
        assert server.request("GET", "/v1/streams/stream/records?seq_num=0&count=2", basin=BASIN).status == 200
    with open_read(server, BASIN, "seq_num=1&count=2") as session:
        assert len(session.records()) == 2
    for _ in range(4):
        server.request("GET", "/v1/streams/stream/records/tail", basin=BASIN)
    server.request("GET", "/v1/streams", basin=BASIN)
    server.request("GET", f"/v1/basins/{BASIN}")
    server.request("GET", "/v1/basins")
    server.request("GET", "/v1/basins/no-such-basin")  # a failure is none
    server.request("GET", "/v1/streams/none/records/tail", basin=BASIN)
