import pytest

from s2cli.server.store.interface import StreamRow
from s2cli.server.store.sqlite import resource_rows
from s2cli.server.store.sqlite.schema import open_writer


@pytest.fixture
def connection(tmp_path):
    """The writer's connection to a new database with the streams `a`, `b` and `c`, whose ids are 1 to 3."""
    connection = open_writer(tmp_path, durable=False)
    for number, name in enumerate("abc", 1):
        assert resource_rows.insert_stream(connection, StreamRow("basin", name, {}, 1), number) is None
    yield connection
    connection.close()
