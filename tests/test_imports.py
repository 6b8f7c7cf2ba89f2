"""Lightness and layers: what an import may load, which module may use which library, and that imports point down."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nnexp

PACKAGE = Path(nnexp.__file__).parent
ENVIRONMENT = {"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}

#: Library -> the modules (or the start of their names) that may import it.
OWNERS = {
    "click": ("cli",),
    "rich": ("cli",),
    "optuna": ("study",),
    "mlflow": ("tracking", "champion"),
    "sqlalchemy": ("study", "tracking", "preflight"),
    "pyarrow": ("artifacts", "tracking", "population", "portrait", "results"),
    "pydantic": ("settings", "config"),
    "distributed": ("execution",),
    "matplotlib": ("figures", "drawing", "portrait", "report"),
    "jinja2": ("report",),
    "scipy": ("significance", "marginals", "distances", "portrait", "study"),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package by its dotted name within it, parsed."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> set[str]:
    """The dotted names a module imports anywhere, but for those that only type checkers see."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def loaded_by(code: str) -> set[str]:
    """The modules that ``code`` loads in a new interpreter, the standard library's and its own start's left out."""
    program = f"import sys; before = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.splitlines() if name.split(".")[0] not in sys.stdlib_module_names}


def test_importing_nnexp_loads_nothing_but_itself() -> None:
    """The package's names are loaded on first use."""
    assert loaded_by("import nnexp") == {"nnexp"}


def test_help_loads_click_alone() -> None:
    """`nnexp --help` loads none of numpy, pandas, optuna, mlflow, scipy, pydantic, rich."""
    quiet = "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()):"
    names = loaded_by(f"{quiet}\n from nnexp.cli import run\n run(['--help'])")
    assert {name.split(".")[0] for name in names} <= {"nnexp", "click", "colorama"}
    own = {name for name in names if name.startswith("nnexp")}
    assert all(name in ("nnexp", "nnexp.errors") or name.startswith("nnexp.cli") for name in own), own


def test_help_is_nearly_as_quick_as_click_alone() -> None:
    """`nnexp --help` takes at most 3.5 times `import click`: the best of several, since others use the machine too."""

    def best(*args: str) -> float:
        def once() -> float:
            began = time.perf_counter()
            subprocess.run([sys.executable, *args], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
            return time.perf_counter() - began

        return min(once() for _ in range(7))

    assert best("-m", "nnexp", "--help") <= 3.5 * best("-c", "import click")


@pytest.mark.parametrize(("name", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_each_library_stays_in_its_modules(name: str, tree: ast.Module) -> None:
    """A newcomer finds Optuna in one place, MLflow in another."""
    used = {target.split(".")[0] for target in imported(tree)} & set(OWNERS)
    for library in sorted(used):
        assert name.startswith(OWNERS[library]), f"{name} imports {library}"


@functools.cache
def floors() -> dict[str, int]:
    """Each module's floor, as its docstring says it; a package's holds for its modules too."""
    found: dict[str, int] = {}
    for name, tree in modules():
        said = re.search(r"\(floor (\d)", ast.get_docstring(tree) or "")
        package = name.rpartition(".")[0]
        if said:
            found[name] = int(said[1])
        elif package in found:
            found[name] = found[package]
    return found


def test_every_module_names_its_floor() -> None:
    """All but the package itself and its `__main__`."""
    assert {name for name, _ in modules()} - set(floors()) == {"", "__main__"}


@pytest.mark.parametrize(("name", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_down(name: str, tree: ast.Module) -> None:
    """No module imports one of a higher floor, not even inside a function."""
    known = floors()
    own = known.get(name, 9)
    for target in imported(tree):
        module = target.removeprefix("nnexp.")
        if target.startswith("nnexp.") and module in known:
            assert known[module] <= own, f"{name} (floor {own}) imports {module} (floor {known[module]})"
