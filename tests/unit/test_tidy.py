"""The house style, as far as it can be counted (CONTRIBUTING.md). Public docstrings are ruff's D1."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")
DATA_TABLES: frozenset[str] = frozenset(  # files that are one long table; the reason stands beside each
    {
        "clients/billow/__init__.py",  # the list of public names
        "tests/mutations/table.py",  # the list of mutations
    }
)
RUN_BY_IMPORT = {"core/storage/migrations/env.py"}  # Alembic runs it by importing it
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
STAR = re.compile(r"\bSELECT\s+\*", re.IGNORECASE)
OPEN_TODO = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))")
MACHINE_PATHS = re.compile(r"(?<![\w.\-}])/(?:work|root|home|Users)/")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|proxy\.golang\.org|crates\.io"
    r"|(?:docker|ghcr|quay|gcr)\.io|artifactory|nexus\.",
    re.IGNORECASE,
)


@cache
def tracked() -> tuple[str, ...]:
    """The files of the repository, those about to be added included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return tuple(sorted(name for name in listing.split("\0") if name and (ROOT / name).is_file()))


@cache
def texts() -> dict[str, str]:
    """The text files among them by name, without generated ones and this one, which quotes what it forbids."""
    found = {}
    for name in tracked():
        if GENERATED.search(name) or name == Path(__file__).relative_to(ROOT).as_posix():
            continue
        try:
            found[name] = (ROOT / name).read_bytes().decode()
        except UnicodeDecodeError:
            continue
    return found


@cache
def modules() -> dict[str, ast.Module]:
    """The parsed Python files by name."""
    return {name: ast.parse(text) for name, text in texts().items() if name.endswith(".py")}


def lines_matching(pattern: re.Pattern[str], names: list[str]) -> list[str]:
    """Where the pattern occurs, as file:line."""
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in names
        for number, line in enumerate(texts()[name].splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_repository_is_seen() -> None:
    assert {"pyproject.toml", "core/limits.py"} <= texts().keys()


def test_files_are_short() -> None:
    lengths = {name: texts()[name].count("\n") for name in modules() if name not in DATA_TABLES}
    assert {name: lines for name, lines in lengths.items() if lines >= FILE_LINES_MAX} == {}


def test_functions_are_short() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for name, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 >= FUNCTION_LINES_MAX
    ]
    assert long == []


def test_modules_are_named_after_what_they_hold() -> None:
    assert [name for name in modules() if FORBIDDEN_NAMES & {*Path(name).with_suffix("").parts}] == []


def test_columns_are_listed() -> None:
    assert lines_matching(STAR, [name for name in texts() if name.endswith((".py", ".sql"))]) == []


def test_the_domain_knows_no_floats() -> None:
    floats = [
        f"{name}:{node.lineno}"
        for name, module in modules().items()
        if name.startswith("core/domain/")
        for node in ast.walk(module)
        if (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Constant) and isinstance(node.value, float))
    ]
    assert floats == []


def imports(module: ast.Module) -> list[tuple[int, str]]:
    """What a module imports, with the line: `from core import limits` counts as core.limits."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def test_the_domain_imports_the_standard_library_only() -> None:
    allowed = {*sys.stdlib_module_names, "core.domain", "core.limits"}
    foreign = [
        f"{name}:{line} {imported}"
        for name, module in modules().items()
        if name.startswith("core/domain/")
        for line, imported in imports(module)
        if not {imported.partition(".")[0], ".".join(imported.split(".")[:2])} & allowed
    ]
    assert foreign == []


def test_nothing_happens_at_import_time() -> None:
    calls = [
        f"{name}:{node.lineno}"
        for name, module in modules().items()
        if name not in RUN_BY_IMPORT and Path(name).name != "__main__.py"
        for node in module.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await)
    ]
    assert calls == []


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRIES], ids=["machine paths", "registries"])
def test_no_place_of_one_machine_is_named(pattern: re.Pattern[str]) -> None:
    assert lines_matching(pattern, list(texts())) == []


def test_open_work_names_its_issue() -> None:
    assert lines_matching(OPEN_TODO, list(texts())) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (STAR, "select  * from invoices"),
        (OPEN_TODO, "# TODO: later"),
        (MACHINE_PATHS, "cd /home/somebody/billow"),
        (REGISTRIES, "https://pypi.org/simple"),
    ],
)
def test_the_patterns_find_what_they_forbid(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


def test_what_is_allowed_is_not_found() -> None:
    assert not STAR.search("SELECT COUNT(*) FROM invoices")
    assert not OPEN_TODO.search("# TODO(#4): measure")
    assert not MACHINE_PATHS.search("benchmarks/work/x")
