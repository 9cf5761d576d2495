"""The URL of a bucket, and how a client of it is set up: both libraries that use it are told the same."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from s2cli.errors import UsageError

FORM = "write s3://NAME or s3://NAME/PREFIX"
# What the libraries read too, in this order. They do not all know the same variables.
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULT_REGION = "us-east-1"
# Without one of these the credentials are asked of the machine, which has some in a cloud.
KEY_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
CREDENTIAL_VARIABLES = (
    KEY_VARIABLES,
    ("AWS_WEB_IDENTITY_TOKEN_FILE",),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
)
# For one request with its body, which may have 16 MiB.
REQUEST_TIMEOUT = "15s"
CONNECT_TIMEOUT = "3s"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
# What means the same in a URL and in the name of an object.
_PREFIX = re.compile(r"[A-Za-z0-9._~=@+-]+(/[A-Za-z0-9._~=@+-]+)*")


@dataclass(frozen=True)
class BucketUrl:
    """The names of our objects in the bucket begin with `folder`: a prefix with its slash, or nothing."""

    name: str
    folder: str

    def __str__(self) -> str:
        return f"{self.root}/{self.folder}".rstrip("/")

    @property
    def root(self) -> str:
        """The URL of the bucket as a whole."""
        return f"s3://{self.name}"


def parse_bucket_url(text: str) -> BucketUrl:
    """Raises UsageError."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise UsageError(f'--bucket: "{text}" is not the URL of a bucket: {FORM}', hint=_meant(text))
    if scheme == "file":
        raise UsageError(
            "--bucket: a folder of this machine is not a bucket", hint=f"keep the data there with --data {rest}"
        )
    if scheme != "s3":
        raise UsageError(
            f'--bucket: "{scheme}" is not supported: {FORM}',
            hint="a store with an S3 interface will do: its address goes into AWS_ENDPOINT_URL",
        )
    name, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/")
    if not _NAME.fullmatch(name):
        raise UsageError(f'--bucket: "{name}" is not the name of a bucket: {FORM}')
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise UsageError(
            f'--bucket: the prefix "{prefix}" cannot be used: it may have letters, digits and . _ ~ = @ + -'
            " between single slashes"
        )
    return BucketUrl(name, prefix + "/" if prefix else "")


def _meant(text: str) -> str | None:
    return f"--bucket s3://{text}" if _NAME.fullmatch(text) else None


def client_settings() -> dict[str, str]:
    """The settings of a client of S3, under the names that the libraries have for them, as the environment has them.
    Raises UsageError for an address that is none, and for half of a key."""
    for given, value in os.environ.items():
        if given.startswith("AWS_") and not value:
            os.unsetenv(given)  # an empty one is as good as none; the libraries would take it for an address
    settings = {"timeout": REQUEST_TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
    for variable in ENDPOINT_VARIABLES:
        if endpoint := os.environ.get(variable):
            settings["endpoint"] = endpoint.rstrip("/")
            # Only where it says so: what is sent can be read on the way.
            settings["allow_http"] = "true" if _scheme(variable, endpoint) == "http" else "false"
            break
    for of_region in REGION_VARIABLES:
        if region := os.environ.get(of_region):
            settings["region"] = region
            break
    missing = [part for part in KEY_VARIABLES if not os.environ.get(part)]
    if len(missing) == 1:
        raise UsageError(f"{missing[0]} is not set: the key of a bucket has two parts, {' and '.join(KEY_VARIABLES)}")
    return settings


def _scheme(variable: str, endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not endpoint.isascii() or any(bad in endpoint for bad in " ?#@"):
        raise UsageError(f'{variable}: "{endpoint}" is not an address: write https://HOST or http://HOST:PORT')
    return parts.scheme


def has_credentials() -> bool:
    """Whether the environment has credentials, or says where they are."""
    return any(all(os.environ.get(name) for name in names) for names in CREDENTIAL_VARIABLES)


def server_of(settings: Mapping[str, str]) -> str:
    """The address that a client with these settings connects to."""
    return settings.get("endpoint", f"https://s3.{settings.get('region', DEFAULT_REGION)}.amazonaws.com")
