"""Who may import whom: read from the import statements, so that a convenience today is no knot tomorrow."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "s2cli"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py"))

# Part of the package -> the parts it may import. A file at the top level is a part of its own.
ALLOWED = {
    "errors": set(),
    "amounts": set(),
    "ownfiles": set(),
    "escapes": set(),
    "values": {"errors"},
    "wire": {"wire", "errors", "values"},
    "formats": {"formats", "wire", "errors", "values", "escapes"},
    "args": {"errors", "values"},
    "console": {"errors", "values", "escapes"},
    "endpoints": {"errors"},
    "configfiles": {"errors"},
    "config": {"errors", "values", "client", "wire", "endpoints", "configfiles", "__init__"},
    "client": {"client", "wire", "errors", "values", "amounts", "endpoints", "ownfiles", "__init__"},
    "server": {"server", "wire", "errors", "values", "ownfiles", "__init__"},
    "commands": {
        "commands",
        "client",
        "server",
        "formats",
        "config",
        "endpoints",
        "args",
        "console",
        "escapes",
        "amounts",
        "guesses",
        "wire",
        "errors",
        "values",
        "__init__",
    },
}
# Library -> the only places that may know it.
SEAMS = {
    "granian": {"server/http/http2_relay.py"},
    "httptools": {"server/http/http1_connection.py", "server/http/http1_head.py"},
    "uvloop": {"server/process.py"},
    "prometheus_client": {"server/api/prometheus.py"},
    "sqlite3": {"server/engines/"},
    "httpx": {"client/event_reader.py"},
    "httpx_sse": {"client/event_reader.py"},
    "h2": {"client/"},
    "hyperframe": {"client/"},
    "rich": {"cli/console.py", "commands/", "cli/command_tree.py", "cli/help_pages.py"},
    "google.protobuf": {"wire/"},
    "zstandard": {"wire/"},
}


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, each with whether a function does it (and not the loading of the file)."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, in_function: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, in_function) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                module = child.module or ""
                found.append((module, in_function))
                if module == "s2cli":
                    found.extend((f"s2cli.{alias.name}", in_function) for alias in child.names)
            elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
                walk(child, in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    walk(ast.parse(path.read_text()), False)
    return found


def part_of(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    place = str(path.relative_to(PACKAGE))
    part = place.split("/")[0].removesuffix(".py")
    for module, in_function in imports(path):
        if module.split(".")[0] == "s2cli":
            target = part_of(module)
            if part in ALLOWED and not (PACKAGE / f"{target}.py").exists() | (PACKAGE / target).exists():
                continue  # a name of the package itself, such as its version
            if part in ALLOWED:
                assert target in ALLOWED[part], f"{place} imports {module}"
            if target == "server" and part != "server":
                assert place == "commands/lite.py", f"{place} imports {module}"
                assert in_function, f"{place} loads the server with itself"
        for library, seams in SEAMS.items():
            if module == library or module.startswith(library + "."):
                assert place.startswith(tuple(seams)), f"{place} imports {module}"


FORBIDDEN_IN_SANS_IO = {
    "socket",
    "_socket",
    "select",
    "selectors",
    "asyncio",
    "time",
    "threading",
    "os",
    "subprocess",
    "ssl",
}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent.name in ("wire", "formats")], ids=lambda path: path.name
)
def test_wire_and_formats_do_no_io_and_know_no_clock(path):
    assert FORBIDDEN_IN_SANS_IO.isdisjoint(module for module, _ in imports(path))


def test_no_file_has_more_than_500_lines():
    assert {path.name: lines for path in MODULES if (lines := len(path.read_text().splitlines())) > 500} == {}
