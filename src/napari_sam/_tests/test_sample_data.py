"""Every sample opens as valid layers, without a network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import npe2
import numpy as np
import pytest
from napari.layers import Layer

from napari_sam import _sample_data

PACKAGE = Path(_sample_data.__file__).parent
MANIFEST = npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")
SAMPLES = {sample.key: sample for sample in MANIFEST.contributions.sample_data}


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a sample asked for the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("pooch.retrieve", refuse)
    monkeypatch.setattr("pooch.Pooch.fetch", refuse)


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("key", SAMPLES)
def test_sample_opens(key: str) -> None:
    """The layers have pixels, and the shape that the description promises."""
    make = getattr(_sample_data, key)
    layers = [Layer.create(*one) for one in make()]
    assert all(layer.data.max() > layer.data.min() for layer in layers)
    assert str(layers[0].data.shape) in make.__doc__
    assert str(layers[0].data.dtype) in make.__doc__
    assert len({layer.data.shape for layer in layers}) == 1


@pytest.mark.parametrize("key", ["brain_mr", "spine_ct"])
def test_medical_samples_have_a_size(key: str) -> None:
    """The scale is in millimetres."""
    for data, keywords, kind in getattr(_sample_data, key)():
        layer = Layer.create(data, keywords, kind)
        np.testing.assert_allclose(layer.scale, 1.5)
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3


@pytest.mark.parametrize(("key", "count"), [("nuclei_2d", 125), ("spine_ct", 3)])
def test_ground_truth(key: str, count: int) -> None:
    """Where there is a ground truth it is the last layer, with that many objects."""
    data, _, kind = getattr(_sample_data, key)()[-1]
    assert kind == "labels"
    assert len(np.unique(data)) == count + 1


def test_each_sample_file_has_its_licence() -> None:
    """No image in the package goes without its source and licence."""
    folder = PACKAGE / "sample_data"
    licences = (folder / "LICENSES.md").read_text(encoding="utf-8")
    files = {file.name for file in folder.iterdir()} - {"LICENSES.md"}
    assert files
    assert all(f"`{name}`" in licences for name in files)
