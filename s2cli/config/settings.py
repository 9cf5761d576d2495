"""Where to connect and as whom: option > environment > profile > the official config.toml > default.

`--local` and `--profile` choose endpoints, credential and TLS as one unit. A token goes only to the endpoints it came
with: where something above it chose the endpoints, it stays at home. Nothing here reads the network or prints.
"""

from __future__ import annotations

import os

from s2cli import endpoints
from s2cli.config import files
from s2cli.errors import AuthError, BadValueError, UsageError
from s2cli.values import StreamUri, is_true, parse_uri, shell_word
from s2cli.wire.names import check_basin_name, check_stream_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from s2cli.endpoints import Target

    class Options(Protocol):
        """The options of a command that say where to connect, as whom and how."""

        command: str
        local: bool
        profile: str | None
        account_endpoint: str | None
        basin_endpoint: str | None
        access_token_file: str | None
        ca_file: str | None
        insecure_http: bool
        http2: bool
        timeout_s: float | None


DEFAULT_TIMEOUT_S = 30.0
WHAT_TO_TRY = (
    "s2 --local … uses a server of your own on this machine; or export S2_ACCESS_TOKEN=… for s2.dev, or "
    "S2_ACCOUNT_ENDPOINT and S2_BASIN_ENDPOINT for another server"
)

# Where one of these is set, there is a server to ask.
_PLACES = ("S2_ACCESS_TOKEN", "S2_ACCOUNT_ENDPOINT", "S2_BASIN_ENDPOINT")

# The layers that can choose a setting, the strongest first.
OPTION, ENVIRONMENT, PROFILE, FILE, DEFAULT = range(5)


class Settings:
    """What the options, the environment and the files say together, for one command."""

    __slots__ = ("_args", "_environ", "_target", "notes", "timeout_s")

    def __init__(self, args: Options, environ: Mapping[str, str] = os.environ) -> None:
        self._args = args
        self._environ = environ
        self._target: Target | None = None
        self.timeout_s = DEFAULT_TIMEOUT_S if args.timeout_s is None else args.timeout_s
        # What `-v` has to say about choices that may surprise.
        self.notes: list[str] = []

    def target(self) -> Target:
        """Where to connect; for the profile `local` this finds or starts the server."""
        if self._target is None:
            self._target = _choose_target(self._args, self._environ, self.notes)
            self._target.command = self._command()
        return self._target

    def _command(self) -> str:
        """How a command line begins that goes to the same place."""
        args = self._args
        words, token_file = ["s2"], args.access_token_file
        for option, value in (
            ("--local", args.local),
            ("--profile", args.profile),
            ("--account-endpoint", args.account_endpoint),
            ("--basin-endpoint", args.basin_endpoint),
            ("--access-token-file", token_file if token_file is None or files.names_file(token_file) else "FILE"),
            ("--ca-file", args.ca_file),
            ("--insecure-http", args.insecure_http),
            ("--http2", args.http2),
        ):
            if value:
                words += [option] if value is True else [option, shell_word(value)]
        return " ".join(words)

    def encryption_key(self, path: str | None, option: str = "-k, --encryption-key-file") -> str | None:
        """The key for encrypted streams, in Base64, if one was given, in the file `path` of that option or by the
        environment. Refuses to send it in the clear."""
        key = files.encryption_key(path, option, self._environ)
        target = self.target()
        if key is not None and target.socket_path is None:
            scheme, host, _ = endpoints.split_origin(target.basin_url)
            if scheme == "http" and not endpoints.is_loopback(host) and not _insecure_http(self._args, self._environ):
                raise UsageError(
                    f"the encryption key would go unencrypted to {target.basin_url} ({target.source})",
                    hint="use https://, or allow it with --insecure-http or S2_INSECURE_HTTP=1",
                )
        return key

    def codings(self, chosen: str | None) -> tuple[str, ...]:
        """How records may be compressed on their way, the best first, where the option says `chosen`. Nothing is where
        they do not leave the machine, unless somebody wants it."""
        if chosen is None:
            # The profile chooses what config.toml would.
            with_file = _profile_name(self._args, self._environ) is None
            chosen = files.compression(self._environ, with_file=with_file)
        if chosen != "auto":
            return () if chosen == "none" else (chosen,)
        target = self.target()
        nearby = target.socket_path is not None or endpoints.is_loopback(endpoints.split_origin(target.basin_url)[1])
        return () if nearby else ("zstd", "gzip")

    def stream_uri(self, operand: str | None, option: str | None, *, hint: str | None = None) -> StreamUri:
        """The stream of a command: its operand, `--stream`, S2_STREAM, or the profile's `stream`. `hint` says what to
        type where it has none."""
        given, source = operand, ""
        if given is not None and option is not None:
            raise UsageError(f"the stream was given twice: {given} and --stream {option}")
        if given is None:
            given, source = option, "--stream: "
        if given is None:
            given, source = self._environ.get("S2_STREAM") or None, "S2_STREAM: "
        if given is None:
            name = _profile_name(self._args, self._environ)
            if name not in (None, endpoints.LOCAL):
                profile = files.read_profile(name, self._environ)
                given, source = profile.stream, f"stream of the profile {name}: "
        if given is None:
            command = self._command()
            where = f"{command} list shows the basins, {command} list BASIN the streams of one"
            if name is None and not any(map(self._environ.get, _PLACES)) and self._args.account_endpoint is None:
                where = f"without an account: s2 --local {self._args.command} s2://BASIN/STREAM"
            raise UsageError(
                "no stream was given: write s2://BASIN/STREAM, or use --stream, S2_STREAM or the profile's stream",
                hint=hint or where,
            )
        try:
            uri = parse_uri(given)
            check_basin_name(uri.basin)
            check_stream_name(uri.stream)
        except BadValueError as error:
            raise BadValueError(source + error.message, hint=error.hint) from None
        return uri


def _profile_name(args: Options, environ: Mapping[str, str]) -> str | None:
    if args.local and args.profile not in (None, endpoints.LOCAL):
        raise UsageError(f"--local and --profile {args.profile} name two profiles: give one of them")
    if args.local:
        return endpoints.LOCAL
    return args.profile or environ.get("S2_PROFILE") or None


def _choose_target(args: Options, environ: Mapping[str, str], notes: list[str]) -> Target:
    by_option = endpoints.pair(args.account_endpoint, args.basin_endpoint, "--account-endpoint", "--basin-endpoint")
    by_environment = (environ.get("S2_ACCOUNT_ENDPOINT") or None, environ.get("S2_BASIN_ENDPOINT") or None)
    profile_name = _profile_name(args, environ)
    profile_by_option = args.local or args.profile is not None
    if by_option and profile_by_option:
        chosen = "--local" if args.local else "--profile"
        raise UsageError(
            f"{chosen} chooses the endpoints: it cannot be given together with --account-endpoint or --basin-endpoint"
        )
    if profile_name is not None and not by_option:
        if not profile_by_option and any(by_environment):
            which = "S2_ACCOUNT_ENDPOINT" if by_environment[0] else "S2_BASIN_ENDPOINT"
            raise UsageError(
                f"S2_PROFILE={profile_name} and {which} are both set, and each chooses the endpoints",
                hint=f"unset one of them, or give --profile {shell_word(profile_name)}",
            )
        return _profile_target(profile_name, args, environ, notes)
    return _plain_target(by_option, by_environment, args, environ, notes)


def _profile_target(name: str, args: Options, environ: Mapping[str, str], notes: list[str]) -> Target:
    """The endpoints, the credential and the TLS settings of a profile, as one unit."""
    ignored = [
        variable
        for variable in ("S2_ACCESS_TOKEN", "S2_ACCOUNT_ENDPOINT", "S2_BASIN_ENDPOINT")
        if environ.get(variable)
    ]
    if ignored:
        notes.append(f"{' and '.join(ignored)} ignored: the profile {name} chooses endpoints and credential")
    if name == endpoints.LOCAL:
        if args.access_token_file is not None:
            raise UsageError("the profile local takes no access token")
        return _local_target(args)
    profile = files.read_profile(name, environ)
    where = f"the profile {name}"
    given = endpoints.pair(
        profile.account_endpoint, profile.basin_endpoint, f"account_endpoint of {where}", f"basin_endpoint of {where}"
    )
    account, basin = given or (endpoints.CLOUD_ACCOUNT, endpoints.CLOUD_BASIN)
    token = None
    if args.access_token_file:
        token = files.read_token_file(args.access_token_file, "--access-token-file")
    elif profile.access_token_file:
        token = files.read_token_file(profile.access_token_file, f"access_token_file of {where}")
    if token is None and given is None:
        raise AuthError(
            f"{where} names neither a token nor endpoints",
            hint=f'add access_token_file = "…" to it in {files.profiles_path(environ)}',
        )
    return endpoints.make_target(
        account,
        basin,
        token,
        ca_file=args.ca_file or profile.ca_file,
        http2=args.http2 or profile.http2,
        insecure_http=_insecure_http(args, environ) or profile.insecure_http,
        source=where,
    )


def _plain_target(
    by_option: tuple[str, str] | None,
    by_environment: tuple[str | None, str | None],
    args: Options,
    environ: Mapping[str, str],
    notes: list[str],
) -> Target:
    """Without a profile: each setting from the first layer that has it."""
    official = files.OfficialConfig()
    given, source, layer = by_option, "the options", OPTION
    if given is None:
        given = endpoints.pair(*by_environment, "S2_ACCOUNT_ENDPOINT", "S2_BASIN_ENDPOINT")
        source, layer = "the environment", ENVIRONMENT
    if given is None:
        official = files.read_official_config(environ)
        where = official.path
        given = endpoints.pair(
            official.account_endpoint,
            official.basin_endpoint,
            f"account_endpoint in {where}",
            f"basin_endpoint in {where}",
        )
        source, layer = where, FILE
    if given is None:
        given, source, layer = (endpoints.CLOUD_ACCOUNT, endpoints.CLOUD_BASIN), "the defaults", DEFAULT
    token = None
    withheld = None
    if args.access_token_file is not None:
        token = files.read_token_file(args.access_token_file, "--access-token-file")
    elif environ.get("S2_ACCESS_TOKEN"):
        token = files.checked_token(environ["S2_ACCESS_TOKEN"], "S2_ACCESS_TOKEN")
        if layer == OPTION:
            token = None
            withheld = "S2_ACCESS_TOKEN was not sent to the endpoints of the options; use --access-token-file for them"
            notes.append(withheld)
    elif layer >= FILE:
        token = official.token()
        if token is None and layer == DEFAULT:
            raise _no_credential(official)
    return endpoints.make_target(
        *given,
        token,
        ca_file=args.ca_file,
        http2=args.http2,
        insecure_http=_insecure_http(args, environ),
        source=source,
        withheld=withheld,
    )


def _no_credential(official: files.OfficialConfig) -> AuthError:
    why = ""
    if official.keyring:
        why = ": the token of the official tool lies in the keyring, which is not read"
    return AuthError(f"no access token, no endpoints and no profile{why}", hint=WHAT_TO_TRY)


def _local_target(args: Options) -> Target:
    from s2cli.client import local

    place = local.find_server()
    if place is None:
        from s2cli.client.local_start import ensure_server

        place = ensure_server()
    socket_path = place if place.startswith("/") else None
    origin = "http://localhost" if socket_path else place
    return endpoints.Target(
        account_url=origin,
        basin_url=origin,
        token=None,
        socket_path=socket_path,
        ca_file=None,
        http2=args.http2,
        local=True,
        source="the profile local",
    )


def _insecure_http(args: Options, environ: Mapping[str, str]) -> bool:
    return args.insecure_http or is_true(environ.get("S2_INSECURE_HTTP", ""), "S2_INSECURE_HTTP")
