"""`s2 fence`: sets the fencing token that appends must name."""

from __future__ import annotations

from s2cli.commands.command_record import append_command
from s2cli.errors import FencingTokenMismatchError
from s2cli.wire.names import check_fencing_token
from s2cli.wire.record_rules import FENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s2cli.cli.args import Args


def run(args: Args) -> int:
    token = args.new_token
    check_fencing_token(token)
    # Refused because the token is the new one already: then somebody, perhaps we before a loss, has set it.
    return append_command(
        args,
        FENCE,
        token.encode(),
        ("fencing_token", token),
        lambda error: isinstance(error, FencingTokenMismatchError) and error.token == token,
    )
