"""`s2 lite` with its data in a bucket of an S3 server: `lite_on_s3.py BUCKET PREFIX`, and options of `s2 lite`. The
usual AWS variables say where that server is."""

import sys

from s2cli.commands import lite
from s2cli.server import process

serve = process.run


def main() -> int:
    bucket, prefix, *words = sys.argv[1:]

    async def open_store(_directory):
        from obstore.store import S3Store

        from s2cli.server.store.bucket.bucket_store import BucketStore
        from s2cli.server.store.bucket.database import Place
        from s2cli.server.store.bucket.objects import Objects

        objects = S3Store(
            bucket, prefix=prefix, virtual_hosted_style_request=False, client_options={"allow_http": True}
        )
        return BucketStore(Objects(objects), Place.of(f"s3://{bucket}"), f"{prefix}/")

    def run(options, on_ready):
        options.open_store = open_store
        serve(options, on_ready)

    process.run = run
    return lite.main(["--host", "127.0.0.1", "--memory", *words])


if __name__ == "__main__":
    sys.exit(main())
