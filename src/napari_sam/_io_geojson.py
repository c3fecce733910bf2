"""GeoJSON polygons along pixel edges (RFC 7946), as QuPath reads them too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam._io_image import ImageFile, PathLike
from napari_sam._io_objects import (
    IMAGE,
    LABEL,
    PLANE,
    Description,
    Features,
    PlaneObject,
    check_features,
    described,
    label_image,
    plane_objects,
    read_json,
    write_json,
)
from napari_sam._io_outlines import outlines, pixels_inside


def write_geojson(
    path: PathLike,
    labels: ArrayLike | ImageFile,
    features: Features | None = None,
) -> None:
    """Write labels as GeoJSON polygons, with holes, exactly along the pixel edges.

    Parameters
    ----------
    path : str or path-like
        Usually .geojson. An existing file is replaced in one step.
    labels : array_like of shape ((time, (channel,)) (plane,) row, column)
        Integers or bool. Of a stack every plane has features of its own.
    features : dict of int to dict, optional
        More values for each label, which become properties.

    Raises
    ------
    ValueError
        If labels or features are not as above.
    OSError
        If the file cannot be written.

    Notes
    -----
    Coordinates are (x, y) in pixels, (0, 0) the outer corner of the first pixel, y
    down. Parts that touch at a corner only are polygons of their own, so that all
    polygons are valid. `read_geojson` gives the very same labels.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_geojson(f"{folder}/a.geojson", np.array([[0, 5, 5]]))
    ...     text = Path(folder, "a.geojson").read_text(encoding="utf-8")
    >>> feature, = json.loads(text)["features"]
    >>> feature["geometry"]["coordinates"]
    [[[1, 0], [3, 0], [3, 1], [1, 1], [1, 0]]]
    """
    image = label_image(labels)
    rows = check_features(features)
    content = {
        "type": "FeatureCollection",
        IMAGE: described(image),
        "features": [
            _feature(found, image.axes, rows.get(found.label, {}))
            for found in plane_objects(image.data)
        ],
    }
    write_json(Path(path), content)


def _feature(found: PlaneObject, axes: str, more: Mapping[str, Any]) -> dict[str, Any]:
    polygons = [
        [[*map(list, ring), list(ring[0])] for ring in polygon]
        for polygon in outlines(found.mask, found.at)
    ]
    is_one = len(polygons) == 1
    geometry: dict[str, Any] = {
        "type": "Polygon" if is_one else "MultiPolygon",
        "coordinates": polygons[0] if is_one else polygons,
    }
    if found.plane:
        at = dict(zip(axes, found.plane, strict=False))
        geometry["plane"] = {name.lower(): at.get(name, 0) for name in "CZT"}
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "name": str(found.label),
            LABEL: found.label,
            PLANE: list(found.plane),
            **more,
        },
    }


def read_geojson(path: PathLike, shape: Sequence[int] | None = None) -> ImageFile:
    """Read GeoJSON polygons as a label image.

    Parameters
    ----------
    path : str or path-like
        A FeatureCollection of Polygon and MultiPolygon features; others are left
        out. Coordinates as `write_geojson` writes them; a pixel belongs to a polygon
        if its centre does.
    shape : sequence of int, optional
        Shape of the label image, which a file written by `write_geojson` knows.

    Returns
    -------
    ImageFile
        With the labels of the properties if all features have one, else 1 for the
        first feature, 2 for the second. Of overlapping ones the smaller is on top.

    Raises
    ------
    ValueError
        If the file is no such GeoJSON, or damaged, or the shape is not known.
    """
    file = Path(path)
    content = read_json(file, "GeoJSON features")
    if not is_geojson(content):
        raise ValueError(f"{file} must be a GeoJSON FeatureCollection, it is not.")
    if shape is not None:
        description = Description.of_shape(shape)
    elif IMAGE not in content:
        raise ValueError(f"shape must be given, {file} does not say how large it is.")
    try:
        if shape is None:
            description = Description.read(content[IMAGE])
        return _painted(content["features"], description)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} holds damaged features ({type(error).__name__}: {error})."
        ) from None
    except ValueError as error:
        raise ValueError(f"{file} holds damaged features: {error}") from None


def is_geojson(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a GeoJSON collection of features."""
    is_collection = content.get("type") == "FeatureCollection"
    return is_collection and isinstance(content.get("features"), list)


def knows_its_size(content: Mapping[str, Any]) -> bool:
    """Whether a GeoJSON collection says of what shape the label image is."""
    return is_geojson(content) and IMAGE in content


def _painted(features: list[Any], description: Description) -> ImageFile:
    drawn = [
        feature
        for feature in features
        if (feature["geometry"] or {}).get("type") in ("Polygon", "MultiPolygon")
    ]
    own = [(one.get("properties") or {}).get(LABEL) for one in drawn]
    known = [label for label in own if isinstance(label, int) and label]
    numbers = known if len(known) == len(own) else list(range(1, len(own) + 1))
    result = description.empty(numbers)
    shape = result.shape[-2], result.shape[-1]
    masks = []
    for label, feature in zip(numbers, drawn, strict=True):
        plane = _plane(feature, result.axes)
        if len(plane) != result.ndim - 2 or min(plane, default=0) < 0:
            raise ValueError(f"plane must be one of the stack, got {plane}.")
        for rings in _polygons(feature["geometry"]):
            pixels = pixels_inside(rings, shape)
            masks.append((len(pixels[0]), label, plane, pixels))
    for _, label, plane, pixels in sorted(masks, key=lambda mask: -mask[0]):
        result.data[plane][pixels] = label
    return result


def _plane(feature: Mapping[str, Any], axes: str) -> tuple[int, ...]:
    own = (feature.get("properties") or {}).get(PLANE)
    if own is not None:
        return tuple(int(i) for i in own)
    at = feature["geometry"].get("plane", {})
    return tuple(max(0, int(at.get(name.lower(), 0))) for name in axes[:-2])


def _polygons(geometry: Mapping[str, Any]) -> Iterator[list[NDArray[np.float64]]]:
    many = geometry["coordinates"]
    for rings in [many] if geometry["type"] == "Polygon" else many:
        points = [np.asarray(ring, np.float64) for ring in rings]
        if not points or any(
            one.ndim != 2 or one.shape[1] < 2 or not np.isfinite(one).all()
            for one in points
        ):
            raise ValueError("a polygon must be rings of points.")
        yield [one[:, :2] for one in points]
