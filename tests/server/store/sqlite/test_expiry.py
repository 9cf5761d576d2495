"""What expiry costs the file."""

import asyncio
import os

from support.clock_scene import MIB, play
from support.stores import SqliteStores
from support.waiting import TIMEOUT_S

FOR_EVER = {"retention_policy": {"infinite": {}}}


def test_many_chunks_expire_in_slices_and_the_file_shrinks(tmp_path):
    async def run(scene):
        await scene.create(retention_policy={"age": 60})
        await scene.create("other", **FOR_EVER)
        for _ in range(64):
            await scene.append(os.urandom(MIB - 100))
        await scene.append(b"stays", name="other")
        await scene.later(60)
        await scene.until_stored(b"stays")
        async with asyncio.timeout(TIMEOUT_S):
            while os.path.getsize(tmp_path / "data/s2.db") > 8 * MIB:
                await scene.append(b"moves the log on", name="other")
        assert (await scene.bodies("other"))[0] == b"stays"

    play(SqliteStores(tmp_path / "data"), run)
