"""The operations of the API as access tokens name them, and the groups they are given in (protocol section 8.2)."""

from __future__ import annotations

# Group -> what its read and its write permission contain.
OP_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "account": {
        "read": ("list-basins", "list-access-tokens", "account-metrics", "list-locations", "get-default-location"),
        "write": (
            "create-basin",
            "delete-basin",
            "reconfigure-basin",
            "issue-access-token",
            "revoke-access-token",
            "set-default-location",
        ),
    },
    "basin": {
        "read": ("get-basin-config", "list-streams", "basin-metrics"),
        "write": ("create-stream", "delete-stream", "reconfigure-stream"),
    },
    "stream": {
        "read": ("get-stream-config", "check-tail", "read", "stream-metrics"),
        "write": ("append", "trim", "fence"),
    },
}

OPERATIONS = tuple(op for group in OP_GROUPS.values() for ops in group.values() for op in ops)
