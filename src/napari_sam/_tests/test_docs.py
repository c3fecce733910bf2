"""What the documentation shows runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from napari_sam.io import read_labels

PAGES = Path(__file__).parents[3] / "docs"


def run_blocks(name: str, **changed: str) -> dict[str, Any]:
    """Run the Python blocks of a page, top to bottom; returns what they define.

    Arguments of these names get these values in place of the numbers they have.
    """
    page = (PAGES / name).read_text(encoding="utf-8")
    for argument, value in changed.items():
        page = re.sub(rf"{argument}=\d+", f"{argument}={value}", page)
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, name, "exec"), names)
    return names


def test_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files for other programs and back, and clean-up steps."""
    monkeypatch.chdir(tmp_path)
    names = run_blocks("export.md")
    assert names["drawn"].shape == (40, 30)
    assert names["rows"][0].features == {"score": 0.97}
    assert names["cleaned"].any()


def test_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series with work of one's own."""
    monkeypatch.chdir(tmp_path)
    names = run_blocks("batch.md")
    assert names["labels"].shape == (512, 512)


def test_volumes() -> None:
    """One prompt in the middle plane finds the object in its neighbours."""
    names = run_blocks("volumes.md")
    assert names["mask"].shape == names["labels"].shape == (3, 86, 94)
    assert names["mask"].any(axis=(1, 2)).all()
    assert ((names["labels"] == 1) == names["mask"]).all()


def test_scripting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One image, stacks, embeddings on disk, layers."""
    monkeypatch.chdir(tmp_path)
    names = run_blocks("scripting.md")
    assert names["click"].masks.shape == (3, 303, 384)
    assert names["mask"].shape == names["labels"].shape == names["volume"].shape
    assert names["mask"][3].any()
    assert not names["result"].data.any()  # taken back again
    written = read_labels(tmp_path / "nuclei_labels.tif")
    assert (written.data == names["labels"]).all()


def test_automatic() -> None:
    """As it stands but for the number of points, which would take a minute."""
    names = run_blocks("automatic.md", points_per_side="3")
    assert names["alike"].label_image().max() > 15
    assert not (names["some"].astype(bool) & names["rest"].astype(bool)).any()
    assert names["volume"].shape == names["nuclei"].data.shape
    assert names["proposals"].boxes.shape[1] == 4
    assert names["edges"].max() == 1
