"""`s2 lite`: the embedded server in the foreground, and `status` and `stop` for the one that runs. What `status` shows
is in lite_status, and what is done with the data in lite_check, lite_repair and lite_backup.

The server gets a process image of its own: `lite` replaces the one it is in, which has already loaded the whole command
line, by `python -m s2cli.commands.lite`, which loads only the server. The `local` profile starts the same module.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys

from s2cli.cli import console
from s2cli.client import local
from s2cli.endpoints import is_loopback
from s2cli.errors import ExitCode, S2Error, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.other_args import LiteArgs

# What self-hosted servers ignore, but every official client demands.
PLACEHOLDER_TOKEN = "ignored"  # noqa: S105  # no secret

# The official name of what --init-file says.
INIT_FILE_VARIABLE = "S2LITE_INIT_FILE"
LEAST_MEMORY_LIMIT_BYTES = 16 * 1024 * 1024
LEAST_CACHE_BYTES = 1024 * 1024
ALLOW_HOST_VARIABLE = "S2_LITE_ALLOW_HOST"
# What to do with a bucket, where a command is about a directory.
INSTEAD_ON_BUCKET = {
    "repair": "a bucket has no log that could be lost: there is nothing to repair",
    "backup": "copy streams to another bucket, or to a directory, with s2 copy",
    "restore": "copy streams from another server with s2 copy",
}


def lite(args: LiteArgs) -> int:
    if args.bucket is not None:
        _check_bucket(args)
    elif args.bucket_cache_bytes is not None:
        raise UsageError("--bucket-cache is of no use without --bucket")
    if args.action in ("backup", "restore"):
        from s2cli.commands import lite_backup

        if args.backup is None:
            raise UsageError(f"s2 lite {args.action}: BACKUP is missing: name the directory of the backup")
        return lite_backup.backup(args) if args.action == "backup" else lite_backup.restore(args)
    if args.backup is not None:
        raise UsageError(f"s2 lite {args.action}: unexpected argument: {args.backup}")
    if args.action == "check":
        from s2cli.commands.lite_check import check

        return check(args)
    if args.action == "repair":
        from s2cli.commands.lite_repair import repair

        return repair(args)
    if args.action == "status":
        from s2cli.commands.lite_status import print_status

        return print_status(args)
    if args.action == "trust-clock":
        from s2cli.commands.lite_owner import trust_clock

        return trust_clock(args)
    if args.action == "stop":
        return _stop(args)
    return _serve(args)


def _check_bucket(args: LiteArgs) -> None:
    """Raises UsageError for what makes no sense with a bucket."""
    from s2cli.server.store.bucket.bucket_url import parse_bucket_url

    args.bucket = str(parse_bucket_url(str(args.bucket)))
    for flag in [flag for flag, given in (("--data", args.data is not None), ("--memory", args.memory)) if given]:
        raise UsageError(f"--bucket and {flag} exclude each other: a server on a bucket keeps nothing on its machine")
    if args.bucket_cache_bytes is not None and args.bucket_cache_bytes < LEAST_CACHE_BYTES:
        raise UsageError("--bucket-cache must be at least 1MiB")
    hint = INSTEAD_ON_BUCKET.get(args.action or "")
    if hint is not None:
        raise UsageError(f"s2 lite {args.action} is about a directory with data, not about a bucket", hint=hint)


def _serve(args: LiteArgs) -> int:
    from s2cli.client import local_start
    from s2cli.server.root_token import VARIABLE

    if args.memory and args.data is not None:
        raise UsageError("--memory and --data exclude each other: data is kept in memory or in a directory")
    # Only the new image reads it: what a process substitution gives can be read once.
    has_root_token = args.root_token_file is not None or bool(os.environ.get(VARIABLE))
    if args.no_auth and has_root_token:
        raise UsageError("--no-auth and a root token exclude each other: the server asks for a token or does not")
    if not args.no_auth and not has_root_token and not is_loopback(args.host):
        raise UsageError(
            f"--host {args.host} lets other machines reach the server, which does not ask for a token",
            hint="add --root-token-file FILE; or --no-auth, if everybody may do everything",
        )
    options = ["--host", args.host, "--port", str(args.port)]
    if args.quiet:
        options += ["--quiet"]
    if args.root_token_file is not None:
        options += ["--root-token-file", os.path.abspath(args.root_token_file)]
    if args.base_domain is not None:
        if not _is_host_name(args.base_domain.removeprefix(".")):
            raise UsageError(
                f'--base-domain: "{args.base_domain}" is not a host name: write s2.example.com, without a port'
            )
        options += ["--base-domain", args.base_domain.strip(".").lower()]
    init_file = args.init_file or os.environ.get(INIT_FILE_VARIABLE)
    if init_file:
        options += ["--init-file", os.path.abspath(init_file)]
    options += _cors_options(args)
    options += _allowed_hosts(args)
    if args.memory_limit_bytes is not None:
        if args.memory_limit_bytes < LEAST_MEMORY_LIMIT_BYTES:
            raise UsageError("--memory-limit must be at least 16MiB")
        options += ["--memory-limit", str(args.memory_limit_bytes)]
    if args.verbose:
        options += ["--verbose"]
    if args.bucket is not None:
        if args.bucket_cache_bytes is not None:
            options += ["--bucket-cache", str(args.bucket_cache_bytes)]
        # The server does without, if there is no place for them.
        with contextlib.suppress(S2Error):
            place = local_start.new_place_on(args.bucket)
            options += ["--place", place, "--socket", local_start.local_socket_path(place)]
        _replace_process([*options, "--bucket", args.bucket])
    if args.memory:
        _replace_process([*options, "--memory"])
    default = local.data_dir()
    directory = default if args.data is None else os.path.abspath(args.data)
    options += ["--data", directory]
    if os.path.realpath(directory) != os.path.realpath(default):
        # For its owner alone: s2 lite backup. The server does without, if there is no place for it.
        with contextlib.suppress(S2Error):
            options += ["--socket", local_start.local_socket_path(directory)]
        _replace_process(options)
    # The directory of the `local` profile: clients with --local are to find this server from now on.
    with local_start.start_lock(directory) as descriptor:
        # Nobody may start another one before the new image has the directory.
        os.set_inheritable(descriptor, True)
        socket_path = local_start.local_socket_path(directory)
        _replace_process([*options, "--socket", socket_path, "--start-lock", str(descriptor)])
    return ExitCode.OK


def _cors_options(args: LiteArgs) -> list[str]:
    if args.no_cors:
        if args.cors:
            raise UsageError("--cors and --no-cors exclude each other: web pages are allowed or not")
        return ["--no-cors"]
    for origin in args.cors:
        scheme, separator, rest = origin.partition("://")
        if origin != "*" and (not separator or not scheme.isalnum() or not rest or any(bad in rest for bad in "/,?# ")):
            raise UsageError(
                f'--cors: "{origin}" is not an origin: write https://app.example.com, or * for all of them'
            )
    return ["--cors", ",".join(args.cors).lower()] if args.cors else []


def _allowed_hosts(args: LiteArgs) -> list[str]:
    source = "--allow-host"
    names = list(args.allow_host)
    if not names:
        source = ALLOW_HOST_VARIABLE
        names = [name.strip() for name in os.environ.get(ALLOW_HOST_VARIABLE, "").split(",") if name.strip()]
    for name in names:
        if name != "*" and not _is_host_name(name.removeprefix(".")):
            raise UsageError(
                f'{source}: "{name}" is not a host name: write s2.example.com, .example.com or *, without a port'
            )
    return ["--allow-host", ",".join(names)] if names else []


def _is_host_name(text: str) -> bool:
    from s2cli.server.http.authority import split_authority

    parts = split_authority(text)
    return parts is not None and parts[1] is None and ":" not in text


def _replace_process(options: list[str]) -> None:
    os.execv(sys.executable, [sys.executable, "-P", "-m", "s2cli.commands.lite", *options])  # noqa: S606


def _stop(args: LiteArgs) -> int:
    from s2cli.client import local_start

    if args.bucket is not None:
        stopped = [place for place in local_start.places_of_servers(args.bucket) if local_start.stop_server(place)]
        for place in stopped:
            console.notice(f"stopped the server of {place} on {args.bucket}")
        if not stopped:
            console.notice(f"no server was running on {args.bucket}")
        return ExitCode.OK
    directory = local.data_dir() if args.data is None else os.path.abspath(args.data)
    is_stopped = local_start.stop_server(directory)
    console.notice(f"stopped the server of {directory}" if is_stopped else f"no server was running for {directory}")
    return ExitCode.OK


# From here on: the process image that `lite` and the `local` profile start.


def main(argv: list[str]) -> int:
    """Serves as `argv` says, which only our own code writes: `--name value` pairs, and flags."""
    given: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        given[word] = "" if word in ("--memory", "--no-cors", "--quiet", "--verbose") else next(words)
    if "--ready" in given:
        # The server must be nobody's child: who started it may live long, and would have to wait for it.
        if os.fork():
            os._exit(ExitCode.OK)
        return _serve_unattended(given, int(given["--ready"]))
    console.configure(quiet="--quiet" in given, verbose="--verbose" in given, color=None, json_errors=False)
    try:
        return _serve_attended(given)
    except S2Error as error:
        console.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _serve_attended(given: dict[str, str]) -> int:
    from s2cli.server.http.cors import Cors
    from s2cli.server.http.host import listen_tcp
    from s2cli.server.http.memory_budget import DEFAULT_LIMIT_BYTES
    from s2cli.server.init_file import read_init_file
    from s2cli.server.logfile import log_to_terminal
    from s2cli.server.process import Options, run
    from s2cli.server.root_token import find_root_token

    log_to_terminal(requests="--verbose" in given)
    host = given["--host"]
    data = given.get("--data")
    bucket, cache_bytes = None, 0
    if "--bucket" in given:
        from s2cli.server.store.bucket.bucket_url import parse_bucket_url
        from s2cli.server.store.bucket.database import CACHE_BYTES

        bucket = parse_bucket_url(given["--bucket"])
        cache_bytes = int(given.get("--bucket-cache", CACHE_BYTES))
    token_file = given.get("--root-token-file")
    root_token = find_root_token(token_file)
    initial = read_init_file(given["--init-file"]) if "--init-file" in given else []
    port = int(given["--port"])
    listener = listen_tcp(host, port)
    if "--start-lock" in given and data is not None:
        # Only now: what can fail has not.
        _take_over(data)

    def on_ready(origin: str | None) -> None:
        if "--start-lock" in given:
            os.close(int(given["--start-lock"]))
        place = bucket or data or "memory"
        # Whoever has closed stdout does not want to paste them.
        with contextlib.suppress(console.ClosedOutput):
            for name in ("S2_ACCOUNT_ENDPOINT", "S2_BASIN_ENDPOINT"):
                console.print_line(f"export {name}={origin}")
            console.print_line(f"export S2_ACCESS_TOKEN={_token_to_paste(token_file, root_token)}")
        console.notice(f"serving {place} at {origin}; Ctrl-C ends it")

    cors = None if "--no-cors" in given else Cors(tuple(filter(None, given.get("--cors", "").split(","))))
    options = Options(
        data=data,
        bucket=bucket,
        cache_bytes=cache_bytes,
        place=given.get("--place"),
        host=host,
        port=port,
        listener=listener,
        socket_path=given.get("--socket"),
        root_token=root_token,
        base_domain=given.get("--base-domain"),
        initial=initial,
        cors=cors,
        allowed_hosts=tuple(filter(None, given.get("--allow-host", "").split(","))),
        logs_requests="--verbose" in given,
        memory_limit_bytes=int(given.get("--memory-limit", DEFAULT_LIMIT_BYTES)),
    )
    run(options, on_ready)
    kept = bucket or data
    console.notice("ended; its data is deleted" if kept is None else f"ended; everything acknowledged is in {kept}")
    return ExitCode.OK


def _take_over(directory: str) -> None:
    """Ends the server that started by itself for the directory. The caller holds the lock of those who start one."""
    from s2cli.client import local_start

    note = local.read_note(directory) or {}
    if note.get("started") == "itself" and local_start.is_locked(directory):
        local_start.stop_server(directory)
        console.notice(f"took over {directory} from the server that had started itself")


def _token_to_paste(token_file: str | None, root_token: str | None) -> str:
    """What gives a shell the token, without showing it here."""
    if root_token is None:
        return PLACEHOLDER_TOKEN
    return '"$S2_ROOT_TOKEN"' if token_file is None else f'"$(cat {shlex.quote(token_file)})"'


def _serve_unattended(given: dict[str, str], ready: int) -> int:
    """Serves the `local` profile, and tells the process at the other end of `ready` how it went."""
    os.write(ready, b"pid %d\n" % os.getpid())
    os.set_inheritable(ready, False)
    from s2cli.server.logfile import log_to_file
    from s2cli.server.process import Options, run

    log_to_file(given["--log"])
    options = Options(
        data=given["--data"],
        port=None,
        socket_path=given["--socket"],
        idle_exit_s=float(given["--idle-exit"]),
        started_by=given["--started-by"],
    )

    waiting = True

    def tell(text: str) -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            # Whoever started us may have been interrupted.
            with contextlib.suppress(OSError):
                os.write(ready, text.encode())
            os.close(ready)

    try:
        run(options, lambda _origin: tell("ready\n"))
    except S2Error as error:
        said = f"error {error.message}\n" + (f"hint {error.hint}\n" if error.hint else "")
        tell(said)
        print(said, end="", file=sys.stderr)
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
