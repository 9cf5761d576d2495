"""Which layer decides, and where a token may go."""

import os

import pytest

from s2cli import endpoints
from s2cli.cli.args import CommonArgs
from s2cli.config import files
from s2cli.config.settings import Settings
from s2cli.errors import AuthError, BadValueError, ExitCode, UsageError

ENDPOINTS = {"S2_ACCOUNT_ENDPOINT": "https://env.example", "S2_BASIN_ENDPOINT": "https://{basin}.env.example"}
OPTIONS = {"account_endpoint": "https://opt.example", "basin_endpoint": "https://opt.example"}


@pytest.fixture
def write(home):
    def write(path: str, text: str) -> str:
        place = home / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return str(place)

    return write


@pytest.fixture
def target(home):
    def target(environ=None, **options):
        return Settings(CommonArgs(**options), {"HOME": str(home), **(environ or {})}).target()

    return target


@pytest.fixture
def local(monkeypatch):
    """The server of the profile `local` is somewhere, without one."""
    from s2cli.client import local

    places = ["/run/s2/lite.sock"]
    monkeypatch.setattr(local, "find_server", lambda: places[0])
    return places


def test_nothing_given_fails_with_4_and_names_the_ways_on(target):
    with pytest.raises(AuthError) as caught:
        target()
    assert caught.value.exit_code == ExitCode.AUTH
    for way in ("--local", "S2_ACCESS_TOKEN", "S2_ACCOUNT_ENDPOINT"):
        assert way in f"{caught.value.message} {caught.value.hint}"


def test_a_token_alone_goes_to_the_cloud(target):
    found = target({"S2_ACCESS_TOKEN": "t"})
    assert (found.account_url, found.basin_url, found.token) == (endpoints.CLOUD_ACCOUNT, endpoints.CLOUD_BASIN, "t")
    assert found.basin_origin("my-basin") == ("https", "my-basin.b.s2.dev", 443, False)


def test_environment_gives_endpoints_and_token(target):
    found = target({**ENDPOINTS, "S2_ACCESS_TOKEN": "t"})
    assert (found.account_url, found.basin_url, found.token) == (
        "https://env.example",
        "https://{basin}.env.example",
        "t",
    )


def test_endpoints_without_a_token_send_none(target):
    assert target(ENDPOINTS).token is None


def test_empty_variables_count_as_unset(target):
    found = target({"S2_ACCESS_TOKEN": "t", "S2_ACCOUNT_ENDPOINT": "", "S2_BASIN_ENDPOINT": "", "S2_PROFILE": ""})
    assert found.account_url == endpoints.CLOUD_ACCOUNT


def test_options_beat_the_environment_and_leave_its_token_at_home(target):
    found = target({**ENDPOINTS, "S2_ACCESS_TOKEN": "t"}, **OPTIONS)
    assert found.account_url == "https://opt.example"
    assert found.token is None
    assert "--access-token-file" in found.withheld


def test_a_token_file_goes_wherever_the_command_goes(target, write):
    path = write("token", "secret\n")
    assert target(ENDPOINTS, access_token_file=path).token == "secret"
    assert target({}, access_token_file=path, **OPTIONS).token == "secret"
    assert target({"S2_ACCESS_TOKEN": "t"}, access_token_file=path).token == "secret"


def test_local_ignores_endpoints_and_token_of_the_environment_and_says_so(home, local):
    settings = Settings(CommonArgs(local=True), {"HOME": str(home), **ENDPOINTS, "S2_ACCESS_TOKEN": "t"})
    found = settings.target()
    assert (found.socket_path, found.token, found.local) == ("/run/s2/lite.sock", None, True)
    assert found.basin_origin("my-basin") == ("http", "localhost", 80, True)
    assert "S2_ACCESS_TOKEN" in settings.notes[0]
    assert "S2_ACCOUNT_ENDPOINT" in settings.notes[0]


def test_local_may_be_a_tcp_server_that_holds_the_directory(target, local):
    local[0] = "http://127.0.0.1:8080"
    found = target({"S2_PROFILE": "local"})
    assert (found.socket_path, found.account_url) == (None, "http://127.0.0.1:8080")


@pytest.mark.parametrize("variable", ENDPOINTS)
def test_a_profile_of_the_environment_beside_endpoints_is_an_error_that_names_both(target, variable):
    with pytest.raises(UsageError) as caught:
        target({"S2_PROFILE": "local", variable: "http://localhost"})
    assert "S2_PROFILE" in caught.value.message
    assert variable in caught.value.message


def test_profile_option_beats_endpoints_of_the_environment(target, write):
    write(
        ".config/s2/profiles.toml",
        '[staging]\naccount_endpoint = "https://staging.example"\nbasin_endpoint = "https://staging.example"\n',
    )
    found = target({**ENDPOINTS, "S2_ACCESS_TOKEN": "t"}, profile="staging")
    assert (found.account_url, found.token) == ("https://staging.example", None)


def test_profile_is_a_unit(target, write):
    token = write("token", "secret")
    write(
        ".config/s2/profiles.toml",
        f'[dev]\naccount_endpoint = "http://box"\nbasin_endpoint = "http://box"\naccess_token_file = "{token}"\n'
        'ca_file = "/ca.pem"\ninsecure_http = true\nhttp2 = true\nstream = "s2://my-basin/s"\n',
    )
    found = target({"S2_PROFILE": "dev"})
    assert (found.account_url, found.token, found.ca_file, found.http2) == ("http://box", "secret", "/ca.pem", True)


def test_profiles_lie_under_xdg_unless_that_is_relative(home):
    assert files.profiles_path({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == "/x/s2/profiles.toml"
    assert files.profiles_path({"HOME": "/h", "XDG_CONFIG_HOME": "x"}) == "/h/.config/s2/profiles.toml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[other]\n", "no profile dev"),
        ("dev = 1\n", "no profile dev"),
        ("[dev\n", "not valid TOML"),
        ('[dev]\naccess_token = "secret"\n', "unknown setting access_token"),
        ('[dev]\nhttp2 = "yes"\n', "http2 must be true or false"),
        ("[dev]\nstream = 5\n", "stream must be a string"),
        ("[dev]\n", "neither a token nor endpoints"),
    ],
)
def test_a_bad_profile_is_explained_without_its_text(target, write, text, message):
    write(".config/s2/profiles.toml", text)
    with pytest.raises((UsageError, AuthError), match=message) as caught:
        target(profile="dev")
    assert "secret" not in caught.value.message


def test_missing_profiles_file(target):
    with pytest.raises(UsageError, match=r"profiles\.toml does not exist"):
        target(profile="dev")


def test_local_and_another_profile_is_an_error(target):
    with pytest.raises(UsageError, match="two profiles"):
        target(local=True, profile="dev")


def test_local_with_endpoint_options_is_an_error(target):
    with pytest.raises(UsageError, match="--local chooses the endpoints"):
        target(local=True, **OPTIONS)


@pytest.mark.parametrize(
    ("given", "other"),
    [
        ({"S2_ACCOUNT_ENDPOINT": "localhost:8080"}, "http://localhost:8080"),
        ({"S2_BASIN_ENDPOINT": "http://127.0.0.1:1"}, "http://127.0.0.1:1"),
        ({"S2_BASIN_ENDPOINT": "[::1]:99"}, "http://[::1]:99"),
    ],
)
def test_the_other_endpoint_of_a_loopback_server_follows(target, given, other):
    found = target(given)
    assert (found.account_url, found.basin_url) == (other, other)


def test_the_endpoints_of_the_cloud_belong_together(target):
    found = target({"S2_ACCOUNT_ENDPOINT": "a.s2.dev", "S2_ACCESS_TOKEN": "t"})
    assert found.basin_url == endpoints.CLOUD_BASIN
    found = target({"S2_BASIN_ENDPOINT": "{basin}.b.s2.dev", "S2_ACCESS_TOKEN": "t"})
    assert found.account_url == endpoints.CLOUD_ACCOUNT


@pytest.mark.parametrize(
    "given", [{"S2_ACCOUNT_ENDPOINT": "https://x.example"}, {"S2_BASIN_ENDPOINT": "https://x.example"}]
)
def test_one_endpoint_alone_is_an_error(target, given):
    with pytest.raises(UsageError) as caught:
        target({**given, "S2_ACCESS_TOKEN": "t"})
    assert "S2_ACCOUNT_ENDPOINT" in caught.value.message
    assert "S2_BASIN_ENDPOINT" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "ftp://x",
        "http://",
        "x/y",
        "https://x/v2",
        "https://u:p@x",
        "https://x?q",
        "https://x:0",
        "https://x:99999",
        "https://x:abc",
        "https://{basin}.x",
        "https://[::1",
        "https://a b",
    ],
)
def test_a_bad_account_endpoint_says_where_it_came_from(target, text):
    with pytest.raises(UsageError, match="S2_ACCOUNT_ENDPOINT"):
        target({"S2_ACCOUNT_ENDPOINT": text, "S2_BASIN_ENDPOINT": "https://x"})


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://x/v1", ("https", "x", 443)),
        ("x.example:81/", ("https", "x.example", 81)),
        ("localhost", ("http", "localhost", 80)),
        ("HTTP://LocalHost:1", ("http", "localhost", 1)),
        ("https://[::1]:5", ("https", "::1", 5)),
        ("dev.localhost", ("http", "dev.localhost", 80)),
    ],
)
def test_endpoint_texts(text, origin):
    assert endpoints.split_origin(endpoints.parse_endpoint(text, "X")) == origin


def test_different_schemes_are_an_error(target):
    with pytest.raises(UsageError, match="same scheme"):
        target({"S2_ACCOUNT_ENDPOINT": "https://x", "S2_BASIN_ENDPOINT": "http://x"})


def test_a_token_goes_in_the_clear_to_loopback_alone(target):
    plain = {"S2_ACCOUNT_ENDPOINT": "http://box", "S2_BASIN_ENDPOINT": "http://box"}
    assert target(plain).token is None
    with pytest.raises(UsageError, match="unencrypted to http://box") as caught:
        target({**plain, "S2_ACCESS_TOKEN": "t"})
    assert "--insecure-http" in caught.value.hint
    assert target({**plain, "S2_ACCESS_TOKEN": "t", "S2_INSECURE_HTTP": "1"}).token == "t"
    assert target({**plain, "S2_ACCESS_TOKEN": "t"}, insecure_http=True).token == "t"
    assert target({"S2_ACCOUNT_ENDPOINT": "http://127.0.0.9:1", "S2_ACCESS_TOKEN": "t"}).token == "t"
    with pytest.raises(UsageError, match="S2_INSECURE_HTTP must be 1 or 0"):
        target({**plain, "S2_ACCESS_TOKEN": "t", "S2_INSECURE_HTTP": "maybe"})


def test_official_config_gives_token_and_endpoints(target, write):
    write(".config/s2/config.toml", 'access_token = "legacy"\ncompression = "zstd"\n')
    found = target()
    assert (found.token, found.account_url) == ("legacy", endpoints.CLOUD_ACCOUNT)
    write(
        ".config/s2/config.toml",
        'access_token = "legacy"\naccount_endpoint = "https://x"\nbasin_endpoint = "https://x"\n',
    )
    assert target().account_url == "https://x"
    assert target().token == "legacy"


def test_a_token_of_the_environment_goes_to_the_endpoints_of_the_file(target, write):
    write(".config/s2/config.toml", 'account_endpoint = "https://x"\nbasin_endpoint = "https://x"\n')
    found = target({"S2_ACCESS_TOKEN": "t"})
    assert (found.token, found.account_url) == ("t", "https://x")


def test_a_token_of_the_file_stays_away_from_other_endpoints(target, write):
    write(".config/s2/config.toml", 'access_token = "legacy"\n')
    assert target(ENDPOINTS).token is None
    assert target({}, **OPTIONS).token is None


def test_official_config_ignores_xdg(target, write):
    write(".config/s2/config.toml", 'access_token = "legacy"\n')
    assert target({"XDG_CONFIG_HOME": "/nowhere"}).token == "legacy"


def test_stored_token_of_the_official_tool(target, write):
    write(".config/s2/config.toml", '[stored_access_token]\ncredential_id = "b"\ncredential_store = "file"\n')
    write(".config/s2/access-token-1.json", '{"version":1,"credential_id":"a","access_token":"wrong"}')
    with pytest.raises(UsageError, match="is not there"):
        target()
    write(".config/s2/access-token-2.json", '{"version":1,"credential_id":"b","access_token":"stored"}')
    assert target().token == "stored"


def test_a_token_in_the_keyring_is_out_of_reach_and_said_so(target, write):
    write(".config/s2/config.toml", '[stored_access_token]\ncredential_id = "b"\ncredential_store = "keyring"\n')
    with pytest.raises(AuthError, match="keyring"):
        target()


def test_a_malformed_official_config_is_an_error_that_quotes_nothing(target, write):
    write(".config/s2/config.toml", 'access_token = "secret\n')
    with pytest.raises(UsageError, match="not valid TOML") as caught:
        target({"S2_ACCESS_TOKEN": "t"})
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("text", ["two words", "umlaut-ü", "", "a\nb"])
def test_what_is_no_token_is_refused(target, write, text):
    with pytest.raises(UsageError, match="not a valid token"):
        target(access_token_file=write("token", text))


def test_a_token_file_that_is_not_there(target, write):
    with pytest.raises(
        UsageError, match="--access-token-file needs a file, but what was given cannot be read: No such"
    ):
        target(access_token_file="/nowhere/token")
    place = write("folder/token", "t")
    with pytest.raises(UsageError, match=f"but {os.path.dirname(place)} cannot be read"):
        target(access_token_file=os.path.dirname(place))


@pytest.mark.parametrize("secret", ["hunter2", "a/b+c==", "e" * 300, "~root/x"])
def test_a_token_in_place_of_its_file_is_not_repeated(target, home, write, secret):
    with pytest.raises(UsageError) as caught:
        target(access_token_file=secret)
    assert secret not in f"{caught.value.message} {caught.value.hint}"
    assert "S2_ACCESS_TOKEN" in caught.value.hint
    with pytest.raises(UsageError) as caught:  # its hint is a command line
        Settings(CommonArgs(access_token_file=secret), {"HOME": str(home), **ENDPOINTS}).stream_uri(None, None)
    assert secret not in f"{caught.value.message} {caught.value.hint}"
    write(".config/s2/profiles.toml", f'[dev]\naccess_token_file = "{secret}"\n')
    with pytest.raises(UsageError, match="access_token_file of the profile dev needs a file") as caught:
        target({"S2_PROFILE": "dev"})
    assert secret not in f"{caught.value.message} {caught.value.hint}"


def test_the_token_is_in_no_representation(target):
    assert "secret" not in repr(target({"S2_ACCESS_TOKEN": "secret"}))


def test_stream_of_a_command(home, write):
    write(".config/s2/profiles.toml", '[dev]\nstream = "s2://profile-basin/s"\n')

    def named(operand=None, environ=None, stream=None):
        return str(Settings(CommonArgs(), {"HOME": str(home), **(environ or {})}).stream_uri(operand, stream))

    everything = {"S2_STREAM": "s2://env-basin/s", "S2_PROFILE": "dev"}
    assert named("s2://my-basin/s", everything) == "s2://my-basin/s"
    with pytest.raises(UsageError, match="given twice: s2://my-basin/s and --stream s2://option-basin/s"):
        named("s2://my-basin/s", everything, stream="s2://option-basin/s")
    assert named(None, everything, stream="s2://option-basin/s") == "s2://option-basin/s"
    assert named(None, everything) == "s2://env-basin/s"
    assert named(None, {"S2_PROFILE": "dev"}) == "s2://profile-basin/s"
    with pytest.raises(UsageError) as caught:
        named()
    for way in ("--stream", "S2_STREAM", "profile", "--local"):
        assert way in f"{caught.value.message} {caught.value.hint}"


def test_a_bad_stream_says_where_it_came_from(home):
    with pytest.raises(BadValueError, match="S2_STREAM: "):
        Settings(CommonArgs(), {"HOME": str(home), "S2_STREAM": "basin/s"}).stream_uri(None, None)
    with pytest.raises(BadValueError, match="Basin name must be between 8 and 48 bytes"):
        Settings(CommonArgs(), {"HOME": str(home)}).stream_uri("s2://b/s", None)


def test_timeout():
    assert Settings(CommonArgs(), {}).timeout_s == 30
    assert Settings(CommonArgs(timeout_s=5), {}).timeout_s == 5
