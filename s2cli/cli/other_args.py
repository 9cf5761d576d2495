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

    It prints the three lines to paste where a client is to use it. Without --data
    and --memory it serves the same data as --local. An address other than the
    machine's own needs a root token, or --no-auth.
    """

    action: Annotated[
        Literal["status", "stop"] | None,
        typer.Argument(metavar="[status|stop]", help="Ask about the running server, or end it"),
    ] = None
    data: Annotated[
        str | None,
        typer.Option("--data", "--local-root", metavar="DIR", help="Keep the data there [default: that of --local]"),
    ] = None
    memory: Annotated[bool, typer.Option("--memory", help="Keep nothing: the data goes with the server")] = False
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Listen on this address")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Listen on this port; 0 takes a free one")
    ] = 8080
    root_token_file: Annotated[
        str | None,
        typer.Option("--root-token-file", metavar="FILE", help="Ask for tokens; the one in FILE may do everything"),
    ] = None
    base_domain: Annotated[
        str | None,
        typer.Option("--base-domain", metavar="DOMAIN", help="Take requests to BASIN.DOMAIN as for that basin"),
    ] = None
    init_file: Annotated[
        str | None,
        typer.Option("--init-file", metavar="FILE", help="Begin with the basins and streams in FILE, a JSON text"),
    ] = None
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Let everybody in who can reach it")] = False
    cors: Annotated[
        tuple[str, ...],
        typer.Option(
            "--cors", metavar="ORIGIN", help="Let in web pages from there, or * from everywhere; this machine's may"
        ),
    ] = ()
    allow_host: Annotated[
        tuple[str, ...],
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Answer to this name too, to .NAME and all below it, or to * for every name",
        ),
    ] = ()
    memory_limit_bytes: Annotated[
        int | None,
        typer.Option(
            "--memory-limit",
            metavar="SIZE",
            parser=parse_size_bytes,
            help="Hold no more than that for slow readers and unfinished appends [default: 256MiB]",
        ),
    ] = None
    no_cors: Annotated[bool, typer.Option("--no-cors", help="Let in no web pages")] = False
    output: JsonOutput = None


class CompletionArgs(CommonArgs):
    """Print the completion script for a shell.

    Examples:
      source <(s2 completion bash)
      s2 completion zsh > ~/.zfunc/_s2
      s2 completion fish > ~/.config/fish/completions/s2.fish
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="The shell")]
