"""Copies of the store that nobody asks about any more."""

import asyncio
import gc

from s2cli.errors import ApiError
from s2cli.server.core.copying import Copying


class FailingStore:
    async def copy(self, path, progress):
        raise ApiError("storage", "the disk is full")


def test_a_copy_that_fails_is_told_in_the_log(tmp_path, caplog):
    complaints = []

    async def run():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        copying = Copying(FailingStore())
        tmp_path.chmod(0o700)
        copying.begin(tmp_path / "copy")
        while copying.is_running:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        del copying
        gc.collect()

    asyncio.run(run())
    assert complaints == []
    assert "the copy of the database was not made: the disk is full" in caplog.text
