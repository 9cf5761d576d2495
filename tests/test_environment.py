"""The environment variables that the code reads are those that README and `s2 --help` name, and no others."""

import ast
import re
from pathlib import Path

import pytest

from s2cli.cli.command_tree import ENVIRONMENT

ROOT = Path(__file__).parents[1]
MODULES = [path for path in (ROOT / "s2cli").rglob("*.py") if not path.name.endswith("_pb2.py")]
# A web server sets it where it calls a program: what it says is ignored, only its presence counts.
OF_WEB_SERVERS = {"REQUEST_METHOD"}


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """What the names at the top of a module stand for."""
    found: dict[str, ast.expr] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = statement.value
    return found


class Reader:
    """Finds the variables that modules read. A name that is not written where it is read is looked for in what a loop
    of its module goes over, among the constants of its module, and last among those of all modules."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._trees = {name: ast.parse(text) for name, text in sources.items()}
        self._of_all: dict[str, ast.expr] = {}
        for tree in self._trees.values():
            self._of_all |= constants(tree)

    def variables(self) -> set[str]:
        """Raises LookupError where it cannot tell which variable is read."""
        found: set[str] = set()
        for name, tree in self._trees.items():
            known = self._of_all | constants(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
                    known[node.target.id] = node.iter
            for node in ast.walk(tree):
                read = _what_is_read(node)
                if read is not None:
                    texts = self._texts(read, known)
                    if not texts:
                        raise LookupError(f"{name}:{read.lineno}")
                    found |= texts
        return found

    def _texts(self, expression: ast.expr, known: dict[str, ast.expr]) -> set[str]:
        if isinstance(expression, ast.Name) and expression.id in known:
            return self._texts(known[expression.id], {name: known[name] for name in known if name != expression.id})
        if isinstance(expression, ast.Subscript):
            return self._texts(expression.value, known)
        if isinstance(expression, ast.Dict):
            parts = expression.values
        else:
            parts = list(ast.iter_child_nodes(expression))
        texts = (
            {expression.value} if isinstance(expression, ast.Constant) and isinstance(expression.value, str) else set()
        )
        return texts.union(*(self._texts(part, known) for part in parts))


def _what_is_read(node: ast.AST) -> ast.expr | None:
    """The expression for the name, where the node reads a variable of the environment."""
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute):
            if function.attr == "getenv" or (function.attr in ("get", "pop") and _is_environment(function.value)):
                return node.args[0]
        for keyword in node.keywords:
            if keyword.arg == "envvar":
                return keyword.value
    if isinstance(node, ast.Subscript) and _is_environment(node.value):
        return node.slice
    if isinstance(node, ast.Compare) and _is_environment(node.comparators[0]):
        return node.left
    return None


def _is_environment(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in ("environ", "_environ")


def read_by_the_code() -> set[str]:
    return Reader({str(path): path.read_text() for path in MODULES}).variables()


def named_in_the_readme() -> set[str]:
    readme = (ROOT / "README.md").read_text()
    table = re.search(r"^\| Variable \| Meaning \|\n\|[-|]+\n((?:\|.*\n)+)", readme, re.MULTILINE)
    assert table
    names = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table[1].splitlines()]
    return {name.partition("=")[0] for row in names for name in row}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('import os\nos.environ.get("ONE") or os.environ["TWO"] or os.getenv("THREE", "")', {"ONE", "TWO", "THREE"}),
        ('VARIABLE = "ONE"\n\n\ndef f(environ):\n    return environ.get(VARIABLE)', {"ONE"}),
        ('def f(self):\n    return "ONE" in self._environ', {"ONE"}),
        ('def f(environ):\n    return [name for name in ("ONE", "TWO") if environ.get(name)]', {"ONE", "TWO"}),
        ('ALL = {"http": ("one",)}\n\n\ndef f(environ):\n    for name in ALL["http"]:\n        environ[name]', {"one"}),
        ('import typer\nOption = typer.Option(envvar="ONE")', {"ONE"}),
    ],
)
def test_a_variable_is_found_however_it_is_read(source, found):
    assert Reader({"module": source}).variables() == found


def test_a_name_that_cannot_be_told_is_an_error():
    with pytest.raises(LookupError, match="module:2"):
        Reader({"module": "def f(environ, name):\n    return environ.get(name)"}).variables()


def test_the_readme_names_what_is_read():
    assert named_in_the_readme() == read_by_the_code() - OF_WEB_SERVERS


def test_contributing_names_what_the_scripts_read():
    benches = [*(ROOT / "tests" / "bench").glob("*.py"), ROOT / "tests" / "interop" / "official_binary.py"]
    read = Reader({str(path): path.read_text() for path in benches}).variables()
    for script in (".ci/run", ".ci/interop", "proto/compile"):
        read |= set(re.findall(r"\$\{([A-Z_]+):-", (ROOT / script).read_text()))
    assert len(read) > 3
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert not [name for name in read if not re.search(rf"(`|^){name}[`=]", contributing, re.MULTILINE)]


def test_the_help_names_what_is_ours():
    ours = {name for name in read_by_the_code() if name.startswith("S2")}
    named = set(re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", " ".join(ENVIRONMENT)))
    assert ours <= named
    assert named <= named_in_the_readme()
