"""The mark beside the database: without it everything is as durable as ever, and told."""

import logging
import mmap

from support.store_bench import with_bench

from s2cli.server.store.sqlite import mark


def test_an_index_that_cannot_be_mapped_keeps_nobody_waiting(tmp_path, monkeypatch, caplog):
    real = mmap.mmap

    def fail(descriptor, size, **options):
        if options.get("prot") == mmap.PROT_READ:
            raise OSError(12, "Cannot allocate memory")
        return real(descriptor, size, **options)

    async def run(bench):
        lane = await bench.lane("stream")
        assert await bench.resolved(bench.append(lane, 0), bench.append(lane, 1)) == [None, None]
        assert bench.store.failure is None

    monkeypatch.setattr(mark.mmap, "mmap", fail)
    with caplog.at_level(logging.WARNING):
        with_bench(tmp_path, run)
    assert caplog.text.count("the mark beside the database cannot be written") == 1
    monkeypatch.undo()

    async def read(bench):
        assert len(await bench.store.read(1, 0, 2, 1000)) == 2

    with_bench(tmp_path, read)
