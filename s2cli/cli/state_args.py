"""What the commands on states take."""

from __future__ import annotations

from s2cli.cli.args import CommonArgs
from s2cli.cli.resource_args import NamesArgs, OutputArgs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated

    from s2cli.cli.shared_options import Yes, operand


class ListStatesArgs(NamesArgs):
    """List the states that --state has kept under a name.

    Examples:
      s2 state list
      s2 state list -o json
    """


class ShowStateArgs(OutputArgs):
    """Show where a command with that --state resumes.

    Examples:
      s2 state show nightly-import
      s2 state show ./load.state -o json
    """

    name: Annotated[str, operand("NAME", "NAME or ./FILE, as --state names it")]


class ResetStateArgs(CommonArgs):
    """Forget a state: the next command with that --state begins anew.

    Examples:
      s2 state reset nightly-import --yes

    What the stream has already is appended a second time then.
    """

    name: Annotated[str, operand("NAME", "NAME or ./FILE, as --state names it")]
    yes: Yes = False
