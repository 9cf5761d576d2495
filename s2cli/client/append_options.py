"""What a user may choose about an append."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Creation = tuple[dict[str, object], str]  # the config and the request token of a stream that is missing


class AppendOptions:
    """`linger_ms` None: a batch leaves when it is full or when the input pauses."""

    __slots__ = ("create", "create_on_append", "inflight_bytes", "linger_ms", "max_outage_s", "transport")

    def __init__(
        self,
        *,
        inflight_bytes: int,
        linger_ms: int | None = None,
        max_outage_s: float = 60.0,
        create: Creation | None = None,
        create_on_append: bool = False,
        transport: str = "auto",
    ) -> None:
        self.inflight_bytes = inflight_bytes
        self.linger_ms = linger_ms
        self.max_outage_s = max_outage_s
        self.create = create
        self.transport = transport
        self.create_on_append = create_on_append  # a missing stream may be made by the first batch
