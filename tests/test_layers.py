"""Who may import whom, by the import statements."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "s2cli"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if not path.name.endswith("_pb2.py"))

# Room -> the rooms it may import. A file at the top level, and `client_log` of the server, is a room of its own; the
# other files right below `server/` are the process.
ALLOWED = {
    "errors": set(),
    "amounts": set(),
    "private_files": set(),
    "escapes": set(),
    "values": {"errors"},
    "positions": {"values", "errors"},
    "endpoints": {"errors"},
    "wire": {"errors", "values"},
    "formats": {"wire", "errors", "values", "positions", "escapes"},
    "client": {"wire", "errors", "values", "amounts", "endpoints", "private_files", "__init__"},
    "bench": {"client", "wire", "errors", "amounts", "__init__"},
    "config": {"client", "wire", "errors", "values", "endpoints"},
    "cli": {"config", "endpoints", "wire", "errors", "values", "escapes", "__init__"},
    "commands": {"cli", "bench", "client", "config", "formats", "wire", "server", "server/http", "endpoints", "escapes"}
    | {"server/store", "server/store/bucket"}
    | {"amounts", "errors", "values", "positions", "private_files", "__init__"},
    "main": {"cli", "errors", "__init__"},
    "__main__": {"main"},
    "server/client_log": set(),
    "server/http": {"server/client_log", "wire", "errors"},
    "server/store": {"errors"},
    "server/store/sqlite": {"server/store", "wire", "private_files", "errors"},
    "server/store/bucket": {"server/store", "errors"},
    "server/core": {"server/store", "server/client_log", "wire", "private_files", "errors"},
    "server/api": {"server/core", "server/store", "server/http", "server/client_log", "wire", "errors", "__init__"},
    "server": {"server/api", "server/core", "server/http", "server/store", "server/store/sqlite", "server/client_log"}
    | {"server/store/bucket"}
    | {"wire", "values", "private_files", "errors", "__init__"},
}
# Library -> the only places that may know it.
SEAMS = {
    "httptools": {"server/http/http1_connection.py", "server/http/http1_head.py"},
    "hpack": {"server/http/http2_head.py"},
    "uvloop": {"server/process.py"},
    "prometheus_client": {"server/api/prometheus.py"},
    "sqlite3": {"server/store/sqlite/"},
    "slatedb": {"server/store/bucket/binding.py"},
    "obstore": {"server/store/bucket/objects.py"},
    "httpx": {"client/sse.py"},
    "httpx_sse": {"client/sse.py"},
    "h2": {"client/"},
    "hyperframe": {"client/"},
    "rich": {"cli/console.py", "cli/command_tree.py", "cli/help_pages.py", "commands/"},
    "google.protobuf": {"wire/"},
    "zstandard": {"wire/"},
    "jq": {"formats/jq_filter.py"},
    "matplotlib": {"bench/plot.py"},
}


def imports(path: Path) -> list[tuple[str, bool]]:
    """The modules that a file imports, for type checking too, each with whether the loading of the file leaves it out:
    a function does it, or it is for type checking alone."""
    found: list[tuple[str, bool]] = []

    def walk(node: ast.AST, is_later: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, is_later) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                module = child.module or ""
                names = [f"{module}.{alias.name}" for alias in child.names]
                modules = [name for name in names if name in NAMES]
                found.extend((name, is_later) for name in modules)
                if len(modules) < len(names):
                    found.append((module, is_later))
            else:
                is_for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                walk(child, is_later or is_for_types or is_function)

    walk(ast.parse(path.read_text()), False)
    return found


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in PACKAGE.rglob("*.py")}


def room_of(module: str) -> str:
    parts = module.split(".")[1:]
    if "/".join(parts[:3]) in ALLOWED:
        return "/".join(parts[:3])
    if parts[:1] == ["server"]:
        return "/".join(parts[:2]) if "/".join(parts[:2]) in ALLOWED else "server"
    return parts[0] if parts else "__init__"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    place = str(path.relative_to(PACKAGE))
    room = room_of(name_of(path))
    for module, is_later in imports(path):
        if module.split(".")[0] == "s2cli":
            target = room_of(module)
            assert target == room or target in ALLOWED[room], f"{place} imports {module}"
            if target.startswith("server") and not room.startswith("server"):
                assert place.startswith("commands/lite"), f"{place} imports {module}"
                assert is_later, f"{place} loads the server with itself"
        for library, seams in SEAMS.items():
            if module == library or module.startswith(library + "."):
                assert place.startswith(tuple(seams)), f"{place} imports {module}"


def test_no_modules_import_each_other_in_a_circle():
    open_ends = {name_of(path): {name for name, _ in imports(path) if name in NAMES} for path in MODULES}
    while free := [name for name, targets in open_ends.items() if not targets & open_ends.keys() - {name}]:
        for name in free:
            del open_ends[name]
    assert sorted(open_ends) == []


def test_a_module_of_one_half_has_no_name_of_another():
    halves = {"server": [], "client": []}
    for path in MODULES:
        if path.stem not in ("__init__", "__main__"):
            halves["server" if room_of(name_of(path)).startswith("server") else "client"].append(path.stem)
    for names in halves.values():
        assert sorted({name for name in names if names.count(name) > 1}) == []


def test_a_module_of_the_tests_has_no_name_of_another():
    names = [path.stem for path in Path(__file__).parent.rglob("*.py") if path.stem not in ("conftest", "__main__")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


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


def test_no_file_has_more_than_450_lines():
    files = [*MODULES, *Path(__file__).parent.rglob("*.py")]
    assert {str(path): lines for path in files if (lines := len(path.read_text().splitlines())) > 450} == {}
