"""A power failure just after a start: the disk has the write-ahead log from before, which was to be emptied."""


def test_a_log_that_was_to_be_emptied_is_no_foreign_one(make_server, s2):
    server = make_server()
    basin = server.create_basin()
    uri = f"s2://{basin}/stream"
    server.create_stream(basin)
    s2("append", uri, at=server, stdin=b"1\n2\n")
    log = server.data / "s2.db-wal"
    server.kill()
    old = log.read_bytes()
    assert old
    server.start()
    server.kill()
    log.write_bytes(old)
    server.start()
    s2("append", uri, at=server, stdin=b"3\n")
    assert s2("read", uri, at=server).stdout == b"1\n2\n3\n"
    assert not log.with_name("s2.db-wal.foreign").exists()
