"""What the embedded server and the completion scripts take."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    from s2cli.cli.shared_options import JsonOutput, Yes, operand, option
    from s2cli.values import parse_size_bytes


class LiteArgs(CommonArgs):
    """Run the embedded server until it is interrupted.

    Examples:
      s2 lite
      s2 lite --data ./s2-data --port 9000
      s2 lite --memory --port 0
      s2 lite --bucket s3://my-bucket/streams
      s2 lite --host 0.0.0.0 --root-token-file ./root.token
      s2 lite status
      s2 lite check --data ./s2-data
      s2 lite check --bucket s3://my-bucket/streams
      s2 lite repair --data ./s2-data
      s2 lite backup /mnt/backups/monday
      s2 lite restore /mnt/backups/monday --data ./s2-data

    It prints three lines to paste into the shell of a client. Without --data,
    --memory and --bucket it serves the same data as --local. An address that other
    machines can reach needs a root token, or --no-auth.

    On a bucket of an S3 server, several servers share all streams, and keep nothing
    on their machines. AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY say where the bucket is and who may use it.

    With a word behind it, it is about the data of --local, or of --data, and the
    server that may run there. `check` reads everything and says what is wrong.
    `repair` lets streams resume after records were lost, when no server runs.
    `backup` makes a new directory, while the server runs; `restore` replaces data.
    `trust-clock` tells a server whose clock was set forward by more than a day, and
    that therefore deletes nothing by it for an hour, that the clock is right.
    `status`, `stop` and `trust-clock` with --bucket are about the servers of this
    machine that run on it; `check` reads the bucket, whoever uses it meanwhile.
    """

    help_has_headings = True

    action: Annotated[
        Literal["status", "stop", "check", "repair", "backup", "restore", "trust-clock"] | None,
        operand("[ACTION]", "status, stop, check, repair, backup, restore or trust-clock: see above"),
    ] = None
    backup: Annotated[str | None, operand("[BACKUP]", "The directory that `backup` makes, `restore` reads")] = None
    data: Annotated[
        str | None,
        option(
            "--data, --local-root DIR", "Keep the data in DIR [default: that of --local]", heading="Where the data is"
        ),
    ] = None
    memory: Annotated[bool, option("--memory", "Delete the data when the server ends", heading="Where the data is")] = (
        False
    )
    bucket: Annotated[
        str | None,
        option("--bucket URL", "Keep the data in a bucket: s3://NAME or s3://NAME/PREFIX", heading="Where the data is"),
    ] = None
    bucket_cache_bytes: Annotated[
        int | None,
        option(
            "--bucket-cache SIZE",
            "Memory for what was read from the bucket [default: 128MiB]",
            heading="Where the data is",
            parser=parse_size_bytes,
        ),
    ] = None
    host: Annotated[str, option("--host ADDRESS", "Listen on this address", heading="Who may use it")] = "127.0.0.1"
    port: Annotated[
        int,
        option("--port PORT", "Listen on this port; 0 takes a free one", heading="Who may use it", least=0, most=65535),
    ] = 8080
    root_token_file: Annotated[
        str | None,
        option(
            "--root-token-file FILE",
            "Require access tokens; the one in FILE may do everything",
            heading="Who may use it",
        ),
    ] = None
    no_auth: Annotated[
        bool,
        option("--no-auth", "No access tokens: whoever can reach it may do everything", heading="Who may use it"),
    ] = False
    allow_host: Annotated[
        tuple[str, ...],
        option(
            "--allow-host NAME",
            "Accept this host name too; .NAME includes its subdomains, * is any",
            heading="Who may use it",
        ),
    ] = ()
    cors: Annotated[
        tuple[str, ...],
        option(
            "--cors ORIGIN",
            "Allow web pages from ORIGIN, or * from everywhere; those of this machine are always allowed",
            heading="Who may use it",
        ),
    ] = ()
    no_cors: Annotated[bool, option("--no-cors", "Allow no web pages", heading="Who may use it")] = False
    base_domain: Annotated[
        str | None, option("--base-domain DOMAIN", "The host BASIN.DOMAIN names the basin of a request")
    ] = None
    init_file: Annotated[str | None, option("--init-file FILE", "Create the basins and streams in this JSON file")] = (
        None
    )
    memory_limit_bytes: Annotated[
        int | None,
        option(
            "--memory-limit SIZE",
            "Memory for slow readers and unfinished appends together [default: 256MiB]",
            parser=parse_size_bytes,
        ),
    ] = None
    yes: Yes = False
    output: JsonOutput = None


class CompletionArgs(CommonArgs):
    """Print the completion script for a shell.

    Examples:
      source <(s2 completion bash)
      s2 completion zsh > ~/.zfunc/_s2
      s2 completion fish > ~/.config/fish/completions/s2.fish
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], operand("bash|zsh|fish", "The shell")]
