"""What `s2 lite --bucket` says where it cannot begin, and with which exit code it ends."""

import contextlib
import socket

import pytest
from support.s3_faults import LIE, NO_BUCKET, SLOW_DOWN, Rule
from support.s3_proxy import S3Proxy
from support.s3_server import BUCKET, environment

URL = f"s3://{BUCKET}/refusals"


@pytest.fixture
def refused(run_s2):
    """What `s2 lite` says with these words and variables, in lines, when it ends with that code."""

    def run(*words, code, **env):
        done = run_s2("lite", "--port", "0", *words, env=env)
        assert (done.returncode, done.stdout) == (code, b""), done
        said = done.stderr.decode()
        assert "Traceback" not in said
        return said

    return run


@pytest.fixture
def aws(s3_server):
    return environment(s3_server.url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("streams", '"streams" is not the URL of a bucket'),
        ("streams", "--bucket s3://streams"),
        ("", "is not the URL of a bucket"),
        ("s3://", "is not the name of a bucket"),
        ("s3:///prefix", "is not the name of a bucket"),
        ("s3://ab", "is not the name of a bucket"),
        ("s3://buck et", "is not the name of a bucket"),
        ("s3://bucket?region=x", "is not the name of a bucket"),
        ("s3://user@bucket/x", "is not the name of a bucket"),
        ("s3://bucket/a//b", "the prefix"),
        ("s3://bucket/../b", "the prefix"),
        ("s3://bucket/a b", "the prefix"),
        ("s3://bucket/a%2Fb", "the prefix"),
        ("file:///srv/data", "--data /srv/data"),
        ("ftp://bucket", '"ftp" is not supported'),
        ("https://s3.example.com/bucket", "AWS_ENDPOINT_URL"),
    ],
)
def test_what_is_not_the_url_of_a_bucket(refused, url, said):
    assert said in refused("--bucket", url, code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--memory",), "--bucket and --memory exclude each other"),
        (("--data", "x"), "--bucket and --data exclude each other"),
        (("--bucket-cache", "1B"), "--bucket-cache must be at least"),
    ],
)
def test_what_makes_no_sense_with_a_bucket(refused, words, said):
    assert said in refused("--bucket", URL, *words, code=2)


def test_the_cache_of_a_bucket_without_one(refused):
    assert "--bucket-cache is of no use without --bucket" in refused("--bucket-cache", "1GiB", code=2)


@pytest.mark.parametrize("words", [("repair",), ("backup", "there"), ("restore", "there")])
def test_commands_on_directories_say_what_to_do_instead(refused, words):
    said = refused(*words, "--bucket", URL, code=2)
    assert f"s2 lite {words[0]} is about a directory" in said
    assert len(said.splitlines()) > 1


@pytest.mark.parametrize("library", ["slatedb", "obstore"])
def test_what_to_install(refused, aws, tmp_path, library):
    (tmp_path / library).mkdir()
    (tmp_path / library / "__init__.py").write_text("raise ImportError")
    said = refused("--bucket", URL, code=1, PYTHONPATH=str(tmp_path), **aws)
    assert f"the package {library}: pip install 's2cli[bucket]'" in said


def test_a_bucket_that_is_not_there(refused, aws):
    said = refused("--bucket", "s3://no-such-bucket/x", code=3, **aws)
    assert f"{aws['AWS_ENDPOINT_URL']} has no bucket no-such-bucket" in said
    assert "aws s3 mb s3://no-such-bucket" in said


@pytest.mark.parametrize(
    ("name", "told"), [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")]
)
def test_credentials_that_are_wrong(refused, aws, name, told):
    said = refused("--bucket", URL, code=4, **aws | {name: "wrong"})
    assert f"{aws['AWS_ENDPOINT_URL']} does not let us use {URL}: {told}" in said
    assert "AWS_SECRET_ACCESS_KEY" in said


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_of_a_key(refused, aws, name):
    del aws[name]
    assert f"{name} is not set" in refused("--bucket", URL, code=2, **aws)


def test_no_credentials(refused, aws):
    del aws["AWS_ACCESS_KEY_ID"], aws["AWS_SECRET_ACCESS_KEY"]
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        # In a cloud the machine is asked here.
        metadata = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    said = refused("--bucket", URL, code=4, AWS_METADATA_ENDPOINT=metadata, **aws)
    assert f"there are no credentials for {URL}" in said
    assert "set AWS_ACCESS_KEY_ID" in said


def test_an_address_where_nobody_listens(refused, aws):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        there = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    said = refused("--bucket", URL, code=6, **aws | {"AWS_ENDPOINT_URL": there})
    assert said == f"error: {there} cannot be reached: connection refused\n"


def test_an_address_that_knows_no_tls(refused, aws):
    there = aws["AWS_ENDPOINT_URL"].replace("http", "https")
    said = refused("--bucket", URL, code=6, **aws | {"AWS_ENDPOINT_URL": there})
    assert said.startswith(f"error: {there} cannot be reached: ")
    assert "ssl" in said.lower()


def test_an_empty_variable_is_as_good_as_none(refused, aws):
    empty = {"AWS_ENDPOINT_URL_S3": "", "AWS_REGION": "", "AWS_SESSION_TOKEN": ""}
    assert "has no bucket" in refused("--bucket", "s3://no-such-bucket", code=3, **aws | empty)


def test_a_name_that_is_not_known(refused, aws):
    said = refused("--bucket", URL, code=6, **aws | {"AWS_ENDPOINT_URL": "https://s3.invalid"})
    assert said.startswith("error: https://s3.invalid cannot be reached: ")


@pytest.mark.parametrize("address", ["s3.example.com", "http://", "http://host:port", "ftp://host", "http://a b"])
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_what_is_not_an_address(refused, name, address):
    assert f'{name}: "{address}" is not an address' in refused("--bucket", URL, code=2, **{name: address})


def test_a_bucket_that_is_too_busy(refused, s3_server, aws):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        proxy.fail(Rule(SLOW_DOWN))
        said = refused("--bucket", URL, code=6, **aws | {"AWS_ENDPOINT_URL": proxy.url})
        assert f"{URL} cannot be used at {proxy.url}: SlowDown" in said
        proxy.fail(Rule(NO_BUCKET))
        assert "has no bucket" in refused("--bucket", URL, code=3, **aws | {"AWS_ENDPOINT_URL": proxy.url})


def test_a_bucket_that_does_not_keep_servers_from_overwriting_each_other(refused, s3_server, aws):
    with contextlib.closing(S3Proxy(s3_server.url)) as proxy:
        proxy.fail(Rule(LIE))
        said = refused("--bucket", URL, code=1, **aws | {"AWS_ENDPOINT_URL": proxy.url})
    assert f"{URL} cannot keep streams: its server ignores If-None-Match" in said


def test_a_taken_port_is_told_first(run_s2, aws):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_s2("lite", "--port", taken.getsockname()[1], "--bucket", "s3://no-such-bucket", env=aws)
    assert done.returncode == 1
    assert b"bucket" not in done.stderr
