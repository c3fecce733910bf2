"""COCO and SA-1B annotations: one mask of an object a plane, as run lengths.

Formats: https://cocodataset.org/#format-data, and the README of segment-anything for
SA-1B. A box is (x, y, width, height).
"""

from __future__ import annotations

from collections.abc import Mapping
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
from napari_sam._io_outlines import pixels_inside
from napari_sam._io_rle import compress, decode, decompress, encode

# Of what readers of other programs do not know, they take no notice.
_SA1B_NAMES = {"score": "predicted_iou", "stability": "stability_score"}


def write_coco(
    path: PathLike,
    labels: ArrayLike | ImageFile | Mapping[str, ArrayLike | ImageFile],
    features: Features | None = None,
    *,
    category: str = "object",
    compressed: bool = True,
) -> None:
    """Write labels as COCO annotations with run-length masks.

    Parameters
    ----------
    path : str or path-like
        Usually .json. An existing file is replaced in one step.
    labels : array_like of shape ((time, (channel,)) (plane,) row, column), or dict
        Integers or bool; a dict from the file name of an image to its labels makes
        one file of many images. Each plane of a stack is an image.
    features : dict of int to dict, optional
        More values for each label; "score" is one that COCO tools know. Of several
        images for all of them.
    category : str, optional
        Name of the one category.
    compressed : bool, optional
        Masks as COCO's strings; else as lists of numbers.

    Raises
    ------
    ValueError
        If labels or features are not as above.
    OSError
        If the file cannot be written.

    Notes
    -----
    A stack is read back as one: besides what COCO knows, an image holds the index of
    its plane and a description of the stack, an annotation its label.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_coco(f"{folder}/a.json", np.eye(3, dtype="u2") * 7)
    ...     np.diag(read_coco(f"{folder}/a.json")).tolist()
    [7, 7, 7]
    """
    many = labels if isinstance(labels, Mapping) else {Path(path).stem: labels}
    rows = check_features(features)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for name, one in many.items():
        image = label_image(one)
        height, width = image.shape[-2:]
        numbers: dict[tuple[int, ...], int] = {}
        for plane in np.ndindex(image.shape[:-2]):
            numbers[plane] = len(images) + 1
            entry = {"id": numbers[plane], "file_name": name}
            entry |= {"height": height, "width": width}
            entry |= {PLANE: list(plane), IMAGE: described(image)}
            images.append(entry)
        for found in plane_objects(image.data):
            annotation = {
                "id": len(annotations) + 1,
                "image_id": numbers[found.plane],
                "category_id": 1,
                "iscrowd": 0,
                LABEL: found.label,
            }
            annotation |= _mask_entry(found, (height, width), compressed)
            annotations.append(annotation | rows.get(found.label, {}))
    content = {
        "info": {"description": "label image"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": category}],
    }
    write_json(Path(path), content)


def _mask_entry(
    found: PlaneObject, shape: tuple[int, int], compressed: bool
) -> dict[str, Any]:
    counts = encode(found.mask, found.at, shape)
    (row, column), (height, width) = found.at, found.mask.shape
    return {
        "segmentation": {
            "size": list(shape),
            "counts": compress(counts) if compressed else counts.tolist(),
        },
        "area": int(found.mask.sum()),
        "bbox": [column, row, width, height],
    }


def write_sa1b(
    path: PathLike,
    labels: ArrayLike | ImageFile,
    features: Features | None = None,
    *,
    file_name: str | None = None,
) -> None:
    """Write the labels of one plane as a file of the SA-1B dataset.

    Parameters
    ----------
    path : str or path-like
        Usually .json.
    labels : array_like of shape (row, column)
        Integers or bool.
    features : dict of int to dict, optional
        More values for each label; "score" becomes predicted_iou, "stability"
        stability_score. What is not known is left out.
    file_name : str, optional
        Name of the image; that of `path` with .jpg by default, as in the dataset.

    Raises
    ------
    ValueError
        If labels or features are not as above.
    OSError
        If the file cannot be written.
    """
    image = label_image(labels)
    if image.ndim != 2:
        raise ValueError(f"labels must be one plane for SA-1B, got {image.shape}.")
    rows = check_features(features)
    height, width = image.shape
    annotations = []
    for number, found in enumerate(plane_objects(image.data), 1):
        entry = {"id": number, LABEL: found.label, "crop_box": [0, 0, width, height]}
        entry |= _mask_entry(found, (height, width), compressed=True)
        for name, value in rows.get(found.label, {}).items():
            entry[_SA1B_NAMES.get(name, name)] = value
        annotations.append(entry)
    about = {
        "image_id": 1,
        "width": width,
        "height": height,
        "file_name": file_name or f"{Path(path).stem}.jpg",
        IMAGE: described(image),
    }
    write_json(Path(path), {"image": about, "annotations": annotations})


def read_coco(path: PathLike, image: str | None = None) -> ImageFile:
    """Read COCO or SA-1B annotations of one image as a label image.

    Parameters
    ----------
    path : str or path-like
    image : str, optional
        Its file name, needed where the file holds several images.

    Returns
    -------
    ImageFile
        Labels as they were, if written by `write_coco` or `write_sa1b`; else 1 for
        the first annotation of the image, 2 for the second. Of annotations that
        overlap the smaller is on top.

    Raises
    ------
    ValueError
        If the file is none of these formats, is damaged, or holds no such image, or
        several and none is named.
    """
    images = read_coco_images(path)
    if image is None and len(images) == 1:
        (image,) = images
    if image not in images:
        names = ", ".join(list(images)[:5])
        raise ValueError(f"image must be one of {names}, ..., got {image!r}.")
    return images[image]


def read_coco_images(path: PathLike) -> dict[str, ImageFile]:
    """Read COCO or SA-1B annotations of all images.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    dict of str to ImageFile
        Labels by the file name of the image, as `read_coco` returns them.

    Raises
    ------
    ValueError
        If the file is none of these formats, or is damaged.
    """
    file = Path(path)
    content = read_json(file, "COCO annotations")
    if not is_coco(content):
        raise ValueError(f"{file} must hold COCO or SA-1B annotations, it does not.")
    try:
        return _label_images(content)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"{file} holds damaged annotations ({type(error).__name__}: {error})."
        ) from None
    except ValueError as error:
        raise ValueError(f"{file} holds damaged annotations: {error}") from None


def is_coco(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object looks like annotations of COCO or SA-1B."""
    if not isinstance(content.get("annotations"), list):
        return False
    return isinstance(content.get("images"), list) or (
        isinstance(content.get("image"), dict)
    )


def _label_images(content: Mapping[str, Any]) -> dict[str, ImageFile]:
    if "images" in content:
        entries = {entry["id"]: entry for entry in content["images"]}
        of_image: dict[Any, list[Any]] = {number: [] for number in entries}
        for annotation in content["annotations"]:
            of_image[annotation["image_id"]].append(annotation)
    else:
        entries, of_image = {1: content["image"]}, {1: content["annotations"]}
    stacks: dict[str, list[Any]] = {}
    for number, entry in entries.items():
        # Without a description each entry is an image of its own.
        name = str(entry.get("file_name", number))
        stacks.setdefault(name, []).append((entry, of_image[number]))
    return {name: _label_stack(planes) for name, planes in stacks.items()}


def _label_stack(planes: list[tuple[Any, list[Any]]]) -> ImageFile:
    """Paint the annotations of an image, or of all planes of a stack."""
    first = planes[0][0]
    if IMAGE in first:
        description = Description.read(first[IMAGE])
    else:
        description = Description.of_shape((first["height"], first["width"]))
    every = [one for _, annotations in planes for one in annotations]
    known = all(isinstance(one.get(LABEL), int) and one[LABEL] for one in every)
    numbers = [one[LABEL] if known else i for i, one in enumerate(every, 1)]
    result = description.empty(numbers)
    given = iter(numbers)
    for entry, own in planes:
        index = tuple(int(i) for i in entry.get(PLANE, ()))
        if len(index) != result.ndim - 2 or min(index, default=0) < 0:
            raise ValueError(f"plane must be one of the stack, got {index}.")
        _paint(result.data[index], [(next(given), one) for one in own])
    return result


def _paint(plane: NDArray[Any], annotations: list[tuple[int, Any]]) -> None:
    shape = plane.shape[0], plane.shape[1]
    masks = [(label, _pixels(one["segmentation"], shape)) for label, one in annotations]
    for label, pixels in sorted(masks, key=lambda mask: -len(mask[1][0])):
        plane[pixels] = label


def _pixels(segmentation: Any, shape: tuple[int, int]) -> tuple[NDArray[Any], ...]:
    """Pixels of a mask: run lengths, or polygons of which it is the union."""
    if isinstance(segmentation, list):
        mask = np.zeros(shape, bool)
        for polygon in segmentation:
            ring = np.asarray(polygon, np.float64).reshape(-1, 2)
            mask[pixels_inside([ring], shape)] = True
        return np.nonzero(mask)
    size = tuple(int(n) for n in segmentation["size"])
    if size != shape:
        raise ValueError(f"a mask must have the size {shape}, got {size}.")
    counts = segmentation["counts"]
    if isinstance(counts, str):
        return decode(decompress(counts), shape)
    return decode(np.asarray(counts, np.int64), shape)
