"""npe2 writer: one Labels layer becomes a file, where it is in the world."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam._io_image import LABEL_AXES, ImageFile, unit_name
from napari_sam.io import write_coco, write_geojson, write_labels, write_table

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_single(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Labels layer with its spacing, place, direction and units.

    Parameters
    ----------
    path : str
        File to write, ending as `napari_sam.io.write_labels` allows.
    data : array_like of shape ((time, (channel,)) (plane,) row, column)
        Labels, integers of any type; the finest level if the layer is multiscale.
    meta : dict
        What ``layer.as_layer_data_tuple()`` says about the layer.

    Returns
    -------
    list of str
        The file that was written.

    Raises
    ------
    ValueError, OSError
        As `napari_sam.io.write_labels`.

    Warns
    -----
    UserWarning
        If the layer is sheared, which no image file can say: only its spacing is
        written then.
    """
    write_labels(path, _label_image(data, meta))
    return [path]


def write_objects(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the objects of one Labels layer as COCO, GeoJSON or a table.

    Parameters
    ----------
    path : str
        Ending in .json (COCO), .geojson or .csv.
    data, meta
        As in `write_single`. Features of the layer that name their label in a column
        "index" are written too, such as a score.

    Returns
    -------
    list of str
        The file that was written.

    Raises
    ------
    ValueError, OSError
        As `napari_sam.io.write_coco`, or if the extension is another.
    """
    writers = {".json": write_coco, ".geojson": write_geojson, ".csv": write_table}
    extension = Path(path).suffix.lower()
    if extension not in writers:
        raise ValueError(f"path must end in {', '.join(writers)}, got {path}.")
    write: Any = writers[extension]
    write(path, _label_image(data, meta), features=_features(meta.get("features")))
    return [path]


def _features(table: Any) -> dict[int, dict[str, Any]]:
    """Rows of a layer's features by label; none if no column names the label."""
    if table is None or "index" not in table:
        return {}
    rows = dict(zip(table["index"], table.to_dict("records"), strict=True))
    return {
        int(label): {name: row[name] for name in row if name != "index"}
        for label, row in rows.items()
    }


def _label_image(data: Any, meta: dict[str, Any]) -> ImageFile:
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    if labels.ndim not in LABEL_AXES:
        raise ValueError(f"labels must have 2 to 5 axes, got {labels.ndim}.")
    return _placed(labels, meta)


def _placed(labels: NDArray[Any], meta: dict[str, Any]) -> ImageFile:
    """Give `labels` the geometry of the layer that they come from."""
    ndim = labels.ndim
    linear, origin = _world_transform(meta, ndim)
    spacing = np.linalg.norm(linear, axis=0)
    direction = linear / spacing
    noted = meta.get("metadata", {})
    if not np.allclose(direction.T @ direction, np.eye(ndim), atol=1e-4):
        warnings.warn(
            f"layer {meta.get('name', '')!r} is sheared, which image files cannot "
            "say; only its spacing was written.",
            stacklevel=4,
        )
        direction, origin = np.eye(ndim), np.zeros(ndim)
        spacing = np.abs(np.asarray(meta.get("scale", spacing), dtype=np.float64))
    elif (
        np.array_equal(direction, np.eye(ndim))
        and not origin.any()
        and np.shape(noted.get("direction")) == (ndim, ndim)
    ):
        # The reader left an orientation out that napari cannot slice along.
        direction, origin = np.asarray(noted["direction"]), np.array(noted["origin"])
    units = meta.get("units") or ("pixel",) * ndim
    return ImageFile(
        labels,
        LABEL_AXES[ndim],
        tuple(spacing.tolist()),
        tuple(origin.tolist()),
        direction,
        tuple(unit_name(unit) for unit in units),
    )


def _world_transform(
    meta: dict[str, Any], ndim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and offset from pixels to the world: affine after the layer's own."""
    from napari.utils.transforms import Affine

    own = Affine(
        scale=meta.get("scale", (1.0,) * ndim),
        translate=meta.get("translate", (0.0,) * ndim),
        rotate=meta.get("rotate"),
        shear=meta.get("shear"),
    ).affine_matrix
    affine = meta.get("affine")
    whole = own if affine is None else np.asarray(affine, dtype=np.float64) @ own
    # Adding zero turns the -0.0 that products leave into 0.0.
    return whole[:-1, :-1] + 0.0, whole[:-1, -1] + 0.0
