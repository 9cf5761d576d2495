"""`s2 lite` with its data in a bucket in memory: what runs in the place of `s2 lite --memory` where the tests of the
server are run over that engine."""

import sys

from support.stores import BucketStores

from s2cli.commands import lite
from s2cli.server import process

serve = process.run


def run(options, on_ready):
    async def open_store(_directory):
        return await BucketStores().open()

    options.open_store = open_store
    serve(options, on_ready)


if __name__ == "__main__":
    process.run = run
    sys.exit(lite.main(sys.argv[1:]))
