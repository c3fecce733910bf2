"""Shared by all tests: what needs a window, and what happens where there is none."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_sam.predictor import Predictor
    from napari_sam.types import ImageEmbedding

# A test that asks for one of these opens a window.
_GUI_FIXTURES = {"make_napari_viewer", "make_napari_viewer_proxy", "qapp", "qtbot"}


def has_display(environ: Mapping[str, str], platform: str) -> bool:
    """Whether Qt can open a window here; without a display Qt ends the process."""
    if not platform.startswith("linux"):
        return True
    if environ.get("QT_QPA_PLATFORM") in {"minimal", "offscreen"}:
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that open a window, so that ``-m "not gui"`` leaves them out.

    Two processes share the tests, but all windows are of one: they would take the
    keyboard from each other. They take longest, so they come first.
    """
    for item in items:
        if _GUI_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("gui")
            item.add_marker(pytest.mark.xdist_group("windows"))
    items.sort(key=lambda item: item.get_closest_marker("gui") is None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without a display a window test is skipped at a desk, and fails in CI."""
    if item.get_closest_marker("gui") is None or has_display(os.environ, sys.platform):
        return
    reason = "this test opens a window, and there is no display"
    if os.environ.get("CI", "").lower() in {"", "0", "false"}:
        pytest.skip(reason)
    pytest.fail(reason, pytrace=False)


@pytest.fixture(autouse=True)
def _own_sessions(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Save the sessions of tests where no user looks for them."""
    folder = tmp_path_factory.getbasetemp() / "sessions"
    monkeypatch.setenv("NAPARI_SAM_SESSIONS", str(folder))


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    """MobileSAM as it comes with the package, in float32 on the CPU."""
    from napari_sam.registry import load_model

    return load_model("mobile_sam", device="cpu", precision="float32")


@pytest.fixture(scope="session")
def golden_embedding(predictor: Predictor) -> Callable[[str], ImageEmbedding]:
    """Embedding of a recorded image by name, encoded once for all tests."""
    from napari_sam._tests.golden import Recording

    @cache
    def embed(name: str) -> ImageEmbedding:
        return predictor.embed(Recording(name).image)

    return embed


@pytest.fixture(scope="session")
def tiny_predictor() -> Predictor:
    """Make a predictor of few random weights, for what does not depend on the model."""
    from napari_sam._tests.tiny_models import tiny_predictor

    return tiny_predictor()
