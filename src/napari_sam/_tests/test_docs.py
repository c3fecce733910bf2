"""What the documentation shows runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from napari_sam.io import read_labels

PAGES = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", ["scripting.md"])
def test_python_blocks_of_a_page_run(name, tmp_path, monkeypatch):
    """Top to bottom, each with what the ones before it defined."""
    monkeypatch.chdir(tmp_path)
    page = (PAGES / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 3
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, name, "exec"), names)
    assert names["click"].masks.shape == (3, 303, 384)
    assert names["mask"].shape == names["labels"].shape == names["volume"].shape
    assert names["mask"][3].any()
    assert not names["result"].data.any()  # taken back again
    written = read_labels(tmp_path / "nuclei_labels.tif")
    assert (written.data == names["labels"]).all()
