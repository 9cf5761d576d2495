"""Stores on an S3 server over HTTP."""

import pytest
from support.s3_server import environment
from support.stores import S3Stores


@pytest.fixture
def stores(s3_server, monkeypatch):
    for name, value in environment(s3_server.url).items():
        monkeypatch.setenv(name, value)
    return S3Stores(s3_server.url)
