"""The shape of the code: who imports whom, what an import costs, how long it is."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import napari_sam

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parents[1]
SOURCES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if "_tests" not in path.relative_to(PACKAGE).parts
)
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


def run_python(code: str) -> str:
    """Run code in a fresh interpreter that finds this package; return its output."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n{code}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_contracts() -> None:
    """The import contracts of pyproject.toml hold."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("statement", ["import napari_sam", "import napari_sam.types"])
def test_import_is_light(statement: str) -> None:
    """Importing the package loads neither torch nor Qt nor napari."""
    code = f"{statement}\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    loaded = {name.partition(".")[0] for name in json.loads(run_python(code))}
    heavy = {
        "PyQt5",
        "PyQt6",
        "PySide6",
        "SimpleITK",
        "magicgui",
        "napari",
        "qtpy",
        "torch",
    }
    assert not loaded & heavy


@pytest.mark.parametrize("name", napari_sam.__all__)
def test_public_name_resolves(name: str) -> None:
    """Each lazily imported public name exists and says what it is."""
    assert getattr(napari_sam, name).__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    """The lazy lookup refuses a name it does not know, as a plain module does."""
    with pytest.raises(AttributeError, match="no_such_name"):
        napari_sam.no_such_name  # noqa: B018
    assert "no_such_name" not in dir(napari_sam)


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_files_and_functions_stay_short(path: Path) -> None:
    """No file is over 400 lines, no function over 60 without its docstring."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    lengths = {
        node.name: function_length(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n > MAX_FUNCTION_LINES} == {}


def function_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_function_length_leaves_the_docstring_out() -> None:
    """The counter above counts code, so that documenting costs nothing."""
    source = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert function_length(function) == 2
