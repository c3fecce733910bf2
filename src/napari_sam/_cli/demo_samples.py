"""The two samples of ``napari-sam demo``: prompted, segmented, cleaned, compared.

No person is there to click, so the prompts are taken from the ground truth that comes
with the samples. The comparison says how well SAM follows good prompts, not how well
it finds objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sam._cli.console import progress
from napari_sam._cli.label_images import CleanOptions, clean, smallest_dtype
from napari_sam._cli.planes import (
    PlaneIndex,
    assemble,
    by_plane,
    label_planes,
    predict_planes,
)
from napari_sam._cli.prompts_file import PromptedObject
from napari_sam.types import Plane, Prompts

if TYPE_CHECKING:
    from napari_sam.io import ImageFile
    from napari_sam.predictor import Predictor
    from napari_sam.propagation import Seed
    from napari_sam.session import Session

# The brightest cells divide and would leave the others dark.
NUCLEI_CONTRAST = (0.0, 110.0)
# A nucleus with another one this near, in pixels, is in a crowd.
CROWD = 6
# Soft tissue to bone, in Hounsfield units.
SPINE_CONTRAST = (-200.0, 800.0)
# The body seen from the side: there the vertebrae lie apart.
SPINE_PLANE_AXES = (1, 2)
# Prompted; those between are followed. Few, as each is encoded: a second of work.
SPINE_PLANES = (33, 38)
# A part of fewer pixels in a plane would be too small to draw a box around.
SMALLEST_PART = 12


@dataclass(frozen=True, eq=False)
class Agreement:
    """How objects agree with the ground truth.

    Parameters
    ----------
    what : str
        Which objects.
    ious : ndarray of shape (N,), float64
        Intersection over union of each.
    """

    what: str
    ious: NDArray[np.float64]

    @property
    def dice(self) -> float:
        """Mean Dice coefficient of the objects."""
        return float(np.mean(2 * self.ious / (1 + self.ious)))


@dataclass(frozen=True, eq=False)
class SampleResult:
    """A sample and all that was made of it.

    Parameters
    ----------
    name : str
    image : ImageFile
    session : Session
    planes : dict of plane to list of PromptedObject
        The prompts.
    labels, truth : ndarray of the image's shape, unsigned
    agreement : list of Agreement
    seconds : float
        For encoding, decoding, cleaning and comparing.
    """

    name: str
    image: "ImageFile"
    session: "Session"
    planes: dict[PlaneIndex, list[PromptedObject]]
    labels: NDArray[Any]
    truth: NDArray[Any]
    agreement: list[Agreement]
    seconds: float


def nuclei(predictor: "Predictor") -> SampleResult:
    """Segment 125 nuclei of one plane: a click for one alone, a box in a crowd."""
    from napari_sam.io import read_image, read_labels, sample_path
    from napari_sam.session import Session

    start = perf_counter()
    image = read_image(sample_path("nuclei_2d.tif"))
    truth = read_labels(sample_path("nuclei_2d_labels.tif")).data
    session = Session(image.data, predictor, contrast_limits=NUCLEI_CONTRAST)
    objects = nuclei_prompts(truth)
    planes = by_plane(session, objects)
    predictions = predict_planes(session, planes, "Nuclei")
    labels = label_planes(session, planes, predictions)[()]
    cleaning = CleanOptions(fill_holes=True, smooth=1, keep_largest=True)
    labels = clean(labels, cleaning, image.spacing)
    clicked = {one.label for one in objects if one.prompts.box is None}
    boxed = {one.label for one in objects} - clicked
    agreement = [
        Agreement("nuclei, one click each", ious(labels, truth, sorted(clicked))),
        Agreement("nuclei, one box each", ious(labels, truth, sorted(boxed))),
        Agreement("all nuclei", ious(labels, truth, sorted(clicked | boxed))),
    ]
    seconds = perf_counter() - start
    return SampleResult(
        "nuclei", image, session, planes, labels, truth, agreement, seconds
    )


def nuclei_prompts(truth: NDArray[Any]) -> list[PromptedObject]:
    """Prompt each label as a person would: a click, or a box where labels touch.

    Parameters
    ----------
    truth : ndarray of shape (H, W), int

    Returns
    -------
    list of PromptedObject
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    objects = []
    for label, found in enumerate(find_objects(truth), start=1):
        if found is None:
            continue
        around = tuple(slice(max(0, s.start - CROWD), s.stop + CROWD) for s in found)
        mask = truth[around] == label
        others = (truth[around] > 0) & ~mask
        crowded = (others & (distance_transform_edt(~mask) <= CROWD)).any()
        corner = [s.start for s in found]
        if crowded:
            prompts = Prompts(box=corner + [s.stop for s in found])
        else:
            prompts = Prompts(points=[centre(truth[found] == label) + corner])
        objects.append(PromptedObject(label, None, prompts))
    return objects


def centre(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return (row, column) of the pixel farthest from the outline of a mask."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return np.array(np.unravel_index(np.argmax(depth), mask.shape))


def spine(predictor: "Predictor") -> SampleResult:
    """Prompt three vertebrae in two planes, and follow them through those between."""
    from napari_sam.io import read_image, read_labels, sample_path
    from napari_sam.session import Session

    start = perf_counter()
    image = read_image(sample_path("spine_ct.nii.gz"))
    truth = read_labels(sample_path("spine_ct_labels.nii.gz")).data
    session = Session(
        image.data, predictor, SPINE_PLANE_AXES, contrast_limits=SPINE_CONTRAST
    )
    (along,) = session.axes.sliced
    planes = by_plane(session, spine_prompts(np.moveaxis(truth, along, 0)))
    labelled = label_planes(session, planes, predict_planes(session, planes, "Spine"))
    labels = follow_between(session, {i: m for (i,), m in labelled.items()})
    cleaning = CleanOptions(fill_holes=True, min_size=100)
    labels = clean(labels, cleaning, image.spacing)
    # The prompted planes show what prompts are worth, the others what following is.
    followed = np.setdiff1d(range(min(SPINE_PLANES), max(SPINE_PLANES)), SPINE_PLANES)
    found, there = (volume.take(followed, along) for volume in (labels, truth))
    ids = np.unique(there)[1:].tolist()
    agreement = [
        Agreement(f"vertebra {label}, followed", ious(found, there, [label]))
        for label in ids
    ]
    agreement.append(Agreement("all vertebrae, followed", ious(found, there, ids)))
    seconds = perf_counter() - start
    return SampleResult(
        "spine", image, session, planes, labels, truth, agreement, seconds
    )


def spine_prompts(truth: NDArray[Any]) -> list[PromptedObject]:
    """Box each part of each label, and click on it, in the planes to be prompted.

    A prompt per part, since in a plane a vertebra is often a body and pieces of its
    arch.

    Parameters
    ----------
    truth : ndarray of shape (N, H, W), int
        Of N planes.

    Returns
    -------
    list of PromptedObject
    """
    return [
        PromptedObject(int(label), index, prompts)
        for index in SPINE_PLANES
        for label in np.unique(truth[index])[1:]
        for prompts in _part_prompts(truth[index] == label)
    ]


def follow_between(
    session: "Session", planes: Mapping[int, NDArray[Any]]
) -> NDArray[Any]:
    """Follow the objects of label images through the planes between them.

    Parameters
    ----------
    session : Session
        On a stack with one sliced axis.
    planes : mapping of int to ndarray of shape (H, W), unsigned

    Returns
    -------
    ndarray of the image's shape, unsigned
        0 outside the planes given and those between.
    """
    ids = {label for image in planes.values() for label in np.unique(image)[1:]}
    seeds: dict[int, dict[Plane, Seed]] = {
        int(label): {
            index: image == label for index, image in planes.items() if label in image
        }
        for label in ids
    }
    between = range(min(planes), max(planes) + 1)
    found: dict[PlaneIndex, NDArray[Any]] = {}
    with progress("Following", len(between)) as step:
        for plane, labels in session.propagate_objects(seeds, planes=between):
            index = session.check_plane(plane)
            found[index] = labels.astype(smallest_dtype(max(seeds)))
            step()
    return assemble(session, found)


def _part_prompts(mask: NDArray[np.bool_]) -> list[Prompts]:
    """Make a tight box and a click in the middle of each part of a mask."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    found = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == number
        if np.count_nonzero(part) >= SMALLEST_PART:
            corner = [s.start for s in box]
            edges = corner + [s.stop for s in box]
            found.append(Prompts(points=[centre(part) + corner], box=edges))
    return found


def ious(
    labels: NDArray[Any], truth: NDArray[Any], ids: Sequence[int]
) -> NDArray[np.float64]:
    """Intersection over union of each label with the truth of the same id.

    Parameters
    ----------
    labels, truth : ndarray of one shape, int
    ids : sequence of int
        Each in one of the two at least.

    Returns
    -------
    ndarray of shape (len(ids),), float64
    """
    pairs = [(labels == label, truth == label) for label in ids]
    return np.array([(a & b).sum() / (a | b).sum() for a, b in pairs])
