import functools

import pytest

from s2cli.cli import typer_app


@pytest.fixture(scope="module")
def commands_built_once():
    """As a process has one command line, and a test has thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer_app, "build_command", functools.cache(typer_app.build_command))
        patch.setattr(typer_app, "build_group", functools.cache(typer_app.build_group))
        yield
