"""`python -m s2cli` is `s2`."""

from s2cli.main import start

start()
