"""Sample images for napari's File menu; none needs the network.

Those of this package are listed with their licences in sample_data/LICENSES.md, the
others come with scikit-image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam._reader import layer_tuple
from napari_sam.io import read_image, sample_path

if TYPE_CHECKING:
    LayerTuple = tuple[Any, dict[str, Any], str]


def _sample(file: str, name: str, kind: str = "image") -> LayerTuple:
    return layer_tuple(read_image(sample_path(file)), name, kind)


def nuclei_2d() -> list[LayerTuple]:
    """Fluorescence nuclei, (512, 512) uint16, and 125 of them outlined by hand."""
    return [
        _sample("nuclei_2d.tif", "nuclei"),
        _sample("nuclei_2d_labels.tif", "nuclei ground truth", "labels"),
    ]


def nuclei_3d() -> list[LayerTuple]:
    """Light-sheet nuclei, (124, 86, 94) uint8, size of a voxel not known."""
    return [_sample("nuclei_3d_mesospim.tif", "nuclei 3D")]


def brain_mr() -> list[LayerTuple]:
    """T1 brain template, (126, 155, 131) uint8, voxels of 1.5 mm."""
    return [_sample("brain_t1_1.5mm.nii.gz", "brain MR")]


def spine_ct() -> list[LayerTuple]:
    """CT of the lumbar spine, (73, 47, 73) int16, 1.5 mm, and three vertebrae."""
    return [
        _sample("spine_ct.nii.gz", "spine CT"),
        _sample("spine_ct_labels.nii.gz", "spine CT ground truth", "labels"),
    ]


def _from_skimage(name: str) -> list[LayerTuple]:
    from skimage import data

    return [(getattr(data, name)(), {"name": name}, "image")]


def coins() -> list[LayerTuple]:
    """Greek coins, (303, 384) uint8."""
    return _from_skimage("coins")


def cell() -> list[LayerTuple]:
    """Single cell under a quantitative phase microscope, (660, 550) uint8."""
    return _from_skimage("cell")


def immunohistochemistry() -> list[LayerTuple]:
    """Stained tissue of the colon, (512, 512, 3) uint8."""
    return _from_skimage("immunohistochemistry")


def retina() -> list[LayerTuple]:
    """Fundus of an eye, (1411, 1411, 3) uint8."""
    return _from_skimage("retina")


def microaneurysms() -> list[LayerTuple]:
    """Detail of a fundus, green channel, (102, 102) uint8."""
    return _from_skimage("microaneurysms")


def astronaut() -> list[LayerTuple]:
    """Eileen Collins, (512, 512, 3) uint8."""
    return _from_skimage("astronaut")
