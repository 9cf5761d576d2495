"""What the embedded server and the completion scripts take."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    import typer

    from s2cli.cli.shared_options import JsonOutput
    from s2cli.values import parse_size_bytes


class LiteArgs(CommonArgs):
    """Run the embedded server until it is interrupted.

    Examples:
      s2 lite
      s2 lite --data ./s2-data --port 9000
      s2 lite --memory --port 0
      s2 lite --host 0.0.0.0 --root-token-file ./root.token
      s2 lite status

    It prints three lines to paste into the shell of a client. Without --data and
    --memory it serves the same data as --local. An address that other machines can
    reach needs a root token, or --no-auth. status and stop are about the server of
    --local.
    """

    action: Annotated[
        Literal["status", "stop"] | None,
        typer.Argument(metavar="[status|stop]", help="Show or stop the server of --local"),
    ] = None
    data: Annotated[
        str | None,
        typer.Option("--data", "--local-root", metavar="DIR", help="Keep the data in DIR [default: that of --local]"),
    ] = None
    memory: Annotated[bool, typer.Option("--memory", help="Delete the data when the server ends")] = False
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Listen on this address")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Listen on this port; 0 takes a free one")
    ] = 8080
    root_token_file: Annotated[
        str | None,
        typer.Option(
            "--root-token-file", metavar="FILE", help="Require access tokens; the one in FILE may do everything"
        ),
    ] = None
    base_domain: Annotated[
        str | None,
        typer.Option("--base-domain", metavar="DOMAIN", help="The host BASIN.DOMAIN names the basin of a request"),
    ] = None
    init_file: Annotated[
        str | None, typer.Option("--init-file", metavar="FILE", help="Create the basins and streams in this JSON file")
    ] = None
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="No access tokens: whoever can reach it may do everything")
    ] = False
    cors: Annotated[
        tuple[str, ...],
        typer.Option(
            "--cors",
            metavar="ORIGIN",
            help="Allow web pages from ORIGIN, or * from everywhere; those of this machine are always allowed",
        ),
    ] = ()
    allow_host: Annotated[
        tuple[str, ...],
        typer.Option(
            "--allow-host", metavar="NAME", help="Accept this host name too; .NAME includes its subdomains, * is any"
        ),
    ] = ()
    memory_limit_bytes: Annotated[
        int | None,
        typer.Option(
            "--memory-limit",
            metavar="SIZE",
            parser=parse_size_bytes,
            help="Memory for slow readers and unfinished appends together [default: 256MiB]",
        ),
    ] = None
    no_cors: Annotated[bool, typer.Option("--no-cors", help="Allow no web pages")] = False
    output: JsonOutput = None


class CompletionArgs(CommonArgs):
    """Print the completion script for a shell.

    Examples:
      source <(s2 completion bash)
      s2 completion zsh > ~/.zfunc/_s2
      s2 completion fish > ~/.config/fish/completions/s2.fish
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="The shell")]
