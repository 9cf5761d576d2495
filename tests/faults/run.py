"""What a run of a fault gets."""

import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from faults.engines import Server


@dataclass
class Run:
    """`engine`: the command line that starts a server, `bucket_engine`: one on a bucket. `place`: an empty directory
    for this run alone. `images`: how many power failures are tried on one load. `dice`: makes all choices. `ends`:
    closes what must not outlive the run."""

    seed: int
    engine: str
    bucket_engine: str
    place: Path
    images: int
    dice: random.Random = field(init=False)
    ends: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def server(self, name: str = "data", env: dict[str, str] | None = None) -> Server:
        """A server that is not started yet, with its data in a directory of this name in `place`."""
        return self.ends.enter_context(contextlib.closing(Server(self.engine, self.place / name, env)))
