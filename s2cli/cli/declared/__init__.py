"""The grammar of each command, declared for typer: the signature is the grammar, the docstring the help.

The functions are never called: cli/typer_app.py reads them, and command_tree.COMMANDS says what runs. The table of the
strict parser and the completion scripts are made from them (completions/generate).
"""

from __future__ import annotations
