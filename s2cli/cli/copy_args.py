"""What copy takes."""

from __future__ import annotations

from s2cli.cli.args import FilterArgs
from s2cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    from s2cli.cli.shared_options import Compression, Follow, JsonOutput, operand, option
    from s2cli.values import parse_seconds


class CopyArgs(FilterArgs):
    """Copy the records of a stream to another one, with headers and timestamps.

    Examples:
      s2 copy s2://logs-prod/web s2://logs-copy/web --create
      s2 copy s2://quickstart/ s2://my-basin/ --src-profile local --create
      s2 copy s2://logs-prod/app/ s2://logs-copy/2026/ --create
      s2 copy s2://logs-prod/web s2://fork-prod/web --create --to 5000
      s2 copy s2://logs-prod/web s2://errors-prod/web --create --grep ERROR --follow
      s2 copy s2://logs-prod/ s2://mirror-prod/ --create --follow

    Each record is copied once: run the same command again after an interruption,
    or when there is more, and it resumes after the last record of the copy. That
    place is kept as a state (see `s2 state list`). Nobody else may append to the
    copy meanwhile. A basin, or a name that ends in a slash, means all streams
    below it.

    With --follow, streams that appear later are copied too.

    --grep, --header and --jq choose which records are copied, as they are; what
    is left out is counted. Choose the same when you run the command again.
    Command records (fence, trim) would act again on the copy, and are left out.
    """

    source: Annotated[str, operand("SRC", "s2://BASIN/STREAM; s2://BASIN/ or s2://BASIN/PREFIX/ for all below it")]
    target: Annotated[str, operand("DST", "Where to: a stream; s2://BASIN/ or s2://BASIN/PREFIX/ for many")]
    create: Annotated[bool, option("--create", "Create the basin and the streams that are missing")] = False
    follow: Follow = False
    from_: Annotated[str | None, option("--from POSITION", "Where to start, as in s2 read [default: start]")] = None
    to: Annotated[str | None, option("--to POSITION", "Where to stop, exclusive [default: end]")] = None
    jq: Annotated[
        str | None,
        option("--jq FILTER", "Only records for which a jq filter has a result that is not false; needs s2cli[jq]"),
    ] = None
    commands: Annotated[
        Literal["skip", "send"], option("--commands HOW", "skip or send the command records (fence, trim)")
    ] = "skip"
    state: Annotated[
        str | None, option("--state NAME", "Keep how far it has come as NAME or ./FILE [default: a name of its own]")
    ] = None
    src_profile: Annotated[str | None, option("--src-profile NAME", "The profile of SRC, if it is another one")] = None
    dst_profile: Annotated[str | None, option("--dst-profile NAME", "The profile of DST, if it is another one")] = None
    src_key_file: Annotated[str | None, option("--src-key-file FILE", "The key of SRC, if it is encrypted")] = None
    dst_key_file: Annotated[str | None, option("--dst-key-file FILE", "The key of DST, if it is encrypted")] = None
    max_outage_s: Annotated[
        float | None,
        option(
            "--max-outage DURATION", "Give up after this long without progress [default: 60s]", parser=parse_seconds
        ),
    ] = None
    compression: Compression = None
    output: JsonOutput = None

    def combine(self) -> None:
        super().combine()
        if self.follow and self.to is not None:
            raise UsageError("--follow has no end: it cannot be combined with --to")
