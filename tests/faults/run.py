"""What a run with a fault is given."""

import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from faults.engines import Server


@dataclass
class Run:
    """`engine` is the command line that starts a server, `place` an empty directory of the run's own, and `images` how
    many power failures one load is good for. All choices come from `dice`. `ends` closes what must not outlive it."""

    seed: int
    engine: str
    place: Path
    images: int
    dice: random.Random = field(init=False)
    ends: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def server(self, name: str = "data", env: dict[str, str] | None = None) -> Server:
        """One that is not started yet, with its data in that directory of `place`."""
        return self.ends.enter_context(contextlib.closing(Server(self.engine, self.place / name, env)))
