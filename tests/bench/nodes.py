"""What more servers on one bucket bring, behind HAProxy with the configuration of tests/deploy/: appends, acks, CPU,
requests to the bucket. The clients, HAProxy and the S3 server run on the same machine.

    nodes.py [--nodes 1,3] [--basins 30] [--clients 60] [--latencies 0,50] [--seconds 8] [--server COMMAND]
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bucket_cost import SERVER, Counters, by_kind, call, measure_acks, started
from support.haproxy import HaProxy

STREAM = "events"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """The seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="1,3")
    parser.add_argument("--basins", type=int, default=30)
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--records", type=int, default=1, help="of 100 bytes, in each append")
    parser.add_argument("--latencies", default="0,50", help="what the proxy adds to a request to the bucket, in ms")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--server", default=SERVER)
    args = parser.parse_args()
    basins = [f"node-basin-{number}" for number in range(args.basins)]
    print("| nodes | latency | appends/s | ack p50 / p99 ms | CPU of each node | HAProxy | PUT/s | GET/s |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for count in map(int, args.nodes.split(",")):
        with contextlib.ExitStack() as stack:
            servers, urls, proxy_url = stack.enter_context(started([args.server] * count))
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            front = stack.enter_context(contextlib.closing(HaProxy(place, [urlsplit(url).port for url in urls])))
            front.start()
            for basin in basins:
                call(front.url, "PUT", f"/v1/basins/{basin}")
                call(front.url, "PUT", f"/v1/streams/{STREAM}", headers={"s2-basin": basin})
            counters = Counters(proxy_url)
            for latency_ms in map(float, args.latencies.split(",")):
                counters.delay(latency_ms)
                counters.take()
                pids = [*(server.pid for server in servers), front.pid]
                before_s = [cpu_s(pid) for pid in pids]
                streams = [(basins[number % len(basins)], STREAM) for number in range(args.clients)]
                took_s, records, elapsed_s = measure_acks(front.url, args.seconds, streams, args.records)
                *of_nodes, of_front = ((cpu_s(pid) - cpu) / elapsed_s for pid, cpu in zip(pids, before_s, strict=True))
                requests = by_kind(counters.take())
                cells = [
                    str(count),
                    f"{latency_ms:g} ms",
                    f"{records / args.records / elapsed_s:,.0f}",
                    f"{took_s[len(took_s) // 2] * 1000:.1f} / {took_s[len(took_s) * 99 // 100] * 1000:.1f}",
                    ", ".join(f"{share:.0%}" for share in of_nodes),
                    f"{of_front:.0%}",
                    f"{requests['PUT'] / elapsed_s:,.0f}",
                    f"{requests['GET'] / elapsed_s:,.0f}",
                ]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
