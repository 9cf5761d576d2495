"""The generated modules are what proto/ compiles to."""

import subprocess
import sys
from pathlib import Path

from support.waiting import TIMEOUT_S

ROOT = Path(__file__).parents[2]


def test_generated_modules_are_fresh(tmp_path):
    subprocess.run(
        [ROOT / "proto" / "compile", tmp_path],
        check=True,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
        timeout=TIMEOUT_S,
    )
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["s2_pb2.py", "s2_pb2.pyi", "views_pb2.py", "views_pb2.pyi"]
    for name in made:
        assert (tmp_path / name).read_bytes() == (ROOT / "s2cli" / "wire" / name).read_bytes(), (
            f"run proto/compile: {name}"
        )
