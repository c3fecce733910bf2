"""What the distribution declares and carries: metadata, licences, weights, manifest."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManifest
from packaging.requirements import Requirement
from packaging.version import Version

import napari_sam
from napari_sam._tests.conftest import has_display

NAME = "napari-sam-stacks"
PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parents[1]
QT = {"pyqt5", "pyqt6", "pyside2", "pyside6"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Return the [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]


def pins(name: str) -> dict[str, Version]:
    """Return the exact versions that a constraints file of the project names."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    exact = [line.split("==") for line in lines if "==" in line and line[0] != "#"]
    return {package.strip().lower(): Version(version) for package, version in exact}


def test_version_is_the_package_version() -> None:
    """The installed metadata takes its version from the package."""
    assert distribution(NAME).version == napari_sam.__version__


def test_entry_points() -> None:
    """The command and the napari manifest are declared as they are documented."""
    found = {(e.group, e.name): e.value for e in distribution(NAME).entry_points}
    assert found["console_scripts", "napari-sam"] == "napari_sam._cli:app"
    assert found["napari.manifest", NAME] == "napari_sam:napari.yaml"


def test_qt_is_never_a_hard_dependency(project: dict[str, Any]) -> None:
    """The window toolkit is the user's choice: only extras may bring one."""
    required = [Requirement(text) for text in project["dependencies"]]
    assert not QT & {r.name.lower() for r in required}
    assert not any(QT & r.extras or {"all", "qt"} & r.extras for r in required)


def test_pinned_versions_satisfy_the_requirements(project: dict[str, Any]) -> None:
    """constraints.txt pins every direct dependency inside its declared range."""
    tested = pins("constraints.txt")
    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert tested[requirement.name.lower()] in requirement.specifier


def test_lowest_pins_are_the_declared_floors(project: dict[str, Any]) -> None:
    """`tox -e lowest` tests the floors that are declared, and no others."""
    lowest = pins("constraints-lowest.txt")
    for text in project["dependencies"]:
        requirement = Requirement(text)
        if requirement.name == "torch":  # explained in constraints-lowest.txt
            continue
        (floor,) = requirement.specifier
        assert floor.operator == ">="
        assert lowest[requirement.name.lower()] == Version(floor.version)


def test_weights_are_the_official_ones() -> None:
    """The checkpoint has its README's checksum, and its licence is beside it."""
    folder = PACKAGE / "weights"
    digest = hashlib.sha256((folder / "mobile_sam.pt").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text(encoding="utf-8")
    licence = (folder / "LICENSE-MobileSAM.txt").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "Version 2.0" in licence


def test_samples_have_a_notice() -> None:
    """Every sample file that is shipped is named beside its licence."""
    folder = PACKAGE / "sample_data"
    notices = (folder / "LICENSES.md").read_text(encoding="utf-8")
    samples = {path.name for path in folder.iterdir()} - {"LICENSES.md"}
    assert samples
    assert {name for name in samples if f"`{name}`" not in notices} == set()


def test_licences_are_in_the_distribution(project: dict[str, Any]) -> None:
    """The installed distribution carries every licence file that is declared."""
    carried = {str(file) for file in distribution(NAME).files or ()}
    for path in project["license-files"]:
        assert (ROOT / path).stat().st_size > 0
        assert any(file.endswith(f"licenses/{path}") for file in carried)


def test_manifest_is_found() -> None:
    """Napari finds the manifest through the entry point, under the right name."""
    manifest = PluginManifest.from_distribution(NAME)
    assert manifest.name == NAME
    assert manifest.package_version == napari_sam.__version__


@pytest.mark.gui  # the widgets among them import Qt
def test_manifest_names_import() -> None:
    """Everything that the manifest names can be imported."""
    PluginManifest.from_distribution(NAME).validate_imports()


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":99"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"QT_QPA_PLATFORM": "offscreen"}, "linux", True),
        ({}, "darwin", True),
        ({}, "win32", True),
    ],
)
def test_has_display(environ: dict[str, str], platform: str, expected: bool) -> None:
    """A missing display is recognised, so that CI can fail on it."""
    assert has_display(environ, platform) is expected
