"""The layout: which package may import which, which library belongs where, and what an import may load."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nnexp

PACKAGE = Path(nnexp.__file__).parent
ENVIRONMENT = {"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}

#: A package imports only from packages on lower floors; the modules beside the packages are below all of them.
FLOORS = {
    "network": 1,
    "training": 2,
    "search": 2,
    "recovery": 3,
    "study": 3,
    "tracking": 4,
    "analysis": 5,
    "runner": 6,
    "cli": 7,
}
#: Library -> the packages that may import it. NumPy and the standard library may be used anywhere.
LIBRARIES = {
    "click": {"cli"},
    "rich": {"cli"},
    "pydantic": {"network", "search"},
    "threadpoolctl": {"training"},
    "numba": {"training"},
    "scipy": {"recovery", "study", "analysis"},
    "pyarrow": {"recovery", "tracking", "analysis"},
    "optuna": {"study"},
    "sqlalchemy": {"study", "tracking"},
    "mlflow": {"tracking"},
    "pandas": {"tracking", "analysis"},
    "matplotlib": {"analysis"},
    "jinja2": {"analysis"},
    "distributed": {"runner"},
}
LONGEST_FILE = 400

Graph = Mapping[str, set[str]]


def read(package: Path) -> dict[str, tuple[ast.Module, int]]:
    """Every module of ``package`` by its dotted name within it: its syntax tree and its number of lines."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        text = path.read_text(encoding="utf-8")
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(text), len(text.splitlines())
    return found


def targets(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """All imports of a module, those for type checkers included, as (module, name); the name may be ""."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def graph(trees: Mapping[str, tuple[ast.Module, int]]) -> Graph:
    """Module -> the modules of the same package that it imports. The root and `__main__` may import anything."""
    edges: dict[str, set[str]] = {}
    for name, (tree, _) in trees.items():
        if name in ("", "__main__"):
            continue
        edges[name] = set()
        for module, imported in targets(tree):
            if module != "nnexp" and not module.startswith("nnexp."):
                continue
            inner = module.removeprefix("nnexp").removeprefix(".")
            whole = f"{inner}.{imported}".strip(".")
            edges[name].add(whole if whole in trees else inner)
        edges[name] -= {"", name}
    return edges


def package_of(module: str) -> str:
    """The package that holds a module; "" for the modules beside the packages."""
    first = module.partition(".")[0]
    return first if first in FLOORS else ""


def faults(edges: Graph) -> list[str]:
    """One line for each import that does not point down, and one for a cycle of modules."""
    found = []
    for module, imported in edges.items():
        own = package_of(module)
        for target in sorted(imported):
            other = package_of(target)
            if other != own and FLOORS.get(other, 0) >= FLOORS.get(own, 0):
                found.append(f"{module} (floor {FLOORS.get(own, 0)}) imports {target} (floor {FLOORS.get(other, 0)})")
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        found.append(f"cycle: {' imports '.join(reversed(error.args[1]))}")
    return found


def test_imports_point_down_and_have_no_cycle() -> None:
    """This holds for imports inside functions and for type checkers too."""
    assert faults(graph(read(PACKAGE))) == []


def test_a_wrong_import_is_found(tmp_path: Path) -> None:
    """An import that points up, one between packages on one floor, and a cycle within a package."""
    for module, line, expected in (
        (
            "network/tasks.py",
            "from nnexp.runner import sweeps",
            "network.tasks (floor 1) imports runner.sweeps (floor 6)",
        ),
        ("study/trials.py", "import nnexp.recovery.grades", "study.trials (floor 3) imports recovery.grades (floor 3)"),
        ("network/tasks.py", "from nnexp.network.settings import Settings", "cycle: "),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(PACKAGE, copy)
        with (copy / module).open("a", encoding="utf-8") as file:
            file.write(f"\ndef late() -> None:\n    {line}\n")
        assert any(fault.startswith(expected) for fault in faults(graph(read(copy)))), line
        shutil.rmtree(copy)


def test_each_library_stays_in_its_packages() -> None:
    """A newcomer finds Optuna in one place, MLflow in another."""
    used = {
        (package_of(name), module.partition(".")[0])
        for name, (tree, _) in read(PACKAGE).items()
        for module, _ in targets(tree)
    }
    assert {
        (package, library) for package, library in used if package not in LIBRARIES.get(library, {package})
    } == set()


def test_the_packages_are_those_of_the_layout() -> None:
    """Nine packages; beside them few modules; a docstring for every package; no file that is too long to read."""
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(FLOORS)
    beside = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert len(beside) <= 4, beside
    trees = read(PACKAGE)
    assert all(ast.get_docstring(trees[package][0]) for package in FLOORS)
    assert {name: lines for name, (_, lines) in trees.items() if lines > LONGEST_FILE} == {}


def test_tests_have_the_folders_of_the_packages() -> None:
    """A module's tests are found by its folder; helper modules of the tests do not share a name with a module."""
    here = Path(__file__).parent
    assert set(FLOORS) <= {path.name for path in here.iterdir() if path.is_dir()}
    modules = {name.rpartition(".")[2] for name in read(PACKAGE)}
    assert {path.stem for path in (here / "helpers").glob("*.py")} & modules - {"__init__"} == set()


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
