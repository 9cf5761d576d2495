"""The command-line tool for S2 durable streams, and its embedded server."""

# A constant: asking importlib.metadata for it would cost every start 36 ms.
__version__ = "0.1.0"
