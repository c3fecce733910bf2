"""The part of `Session` that segments everything, without prompts."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import ArrayLike, NDArray

from napari_sam import automatic
from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidates
from napari_sam._regions import check_labels, check_region
from napari_sam.predictor import Predictor
from napari_sam.types import ImageEmbedding, Plane, Window

if TYPE_CHECKING:
    import numpy as np

DEFAULT_OPTIONS = AutomaticOptions()


class _Image(Protocol):
    """What a session offers, as far as automatic masks need it."""

    predictor: Predictor

    @property
    def plane_size(self) -> tuple[int, int]: ...
    @property
    def planes(self) -> list[Plane]: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def read_plane(self, plane: Plane | None = None) -> NDArray[Any]: ...
    def embed(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> ImageEmbedding: ...
    def iter_candidates(
        self,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Generator[tuple[float, Candidates], None, None]: ...
    def find_candidates(
        self,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Candidates: ...


class AutomaticMethods:
    """Methods of `Session` for everything in a plane or a stack."""

    def iter_candidates(
        self: _Image,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Generator[tuple[float, Candidates], None, None]:
        """Look for masks in a plane, a few points in each step.

        Parameters
        ----------
        plane : int or tuple of int
            As in `segment`.
        options : AutomaticOptions, optional
        region : ndarray of shape (H, W), bool, or array_like of shape (N, 2), optional
            Where to look: a mask, or the corners (row, column) of a polygon.
        labels : ndarray of shape (H, W), int, optional
            What is labelled already (not 0): it is left alone.

        Yields
        ------
        tuple of float and Candidates
            How much is done, 0 to 1, and what this step has found. The first step has
            found nothing; `Candidates.join` puts them together, `Candidates.select`
            chooses among them. Closing the generator stops the work.

        Raises
        ------
        ValueError
            At once, if there is no such plane, or the region or the labels do not fit
            it.
        """
        index = self.check_plane(plane)
        where = _where_to_look(self.plane_size, region, labels)
        at = index if index else None
        return _search(self, at, options, where)

    def find_candidates(
        self: _Image,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> Candidates:
        """Look for masks in a plane: `iter_candidates`, collected.

        Parameters
        ----------
        plane, options, region, labels
            As in `iter_candidates`. With lower thresholds in the options there is more
            for `Candidates.select` to choose from.

        Returns
        -------
        Candidates
            Before the choice among them.

        Raises
        ------
        ValueError
            As `iter_candidates`.
        """
        steps = self.iter_candidates(plane, options, region, labels)
        return Candidates.join([found for _, found in steps])

    def generate_masks(
        self: _Image,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        region: ArrayLike | None = None,
        labels: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Segment everything in a plane.

        Parameters
        ----------
        plane, options, region, labels
            As in `iter_candidates`.

        Returns
        -------
        ndarray of shape (H, W)
            A label image, 0 is background; the smallest unsigned integers that hold
            it. With `labels`, the new objects alone, numbered from the highest label
            on, and nothing where there is a label already.

        Raises
        ------
        ValueError
            As `iter_candidates`.

        Examples
        --------
        >>> import napari_sam as ns
        >>> from skimage.data import coins
        >>> session = ns.Session(coins(), ns.load_model("mobile_sam"))
        >>> labels = session.generate_masks(options=ns.AutomaticOptions(4))
        >>> labels.shape
        (303, 384)
        """
        known = None if labels is None else check_labels(labels, self.plane_size)
        found = self.find_candidates(plane, options, region, known).select()
        if known is None:
            return found.label_image()
        painted = found.label_image(first=int(known.max(initial=0)) + 1)
        painted[known != 0] = 0
        return painted


def _where_to_look(
    size: tuple[int, int], region: ArrayLike | None, labels: ArrayLike | None
) -> NDArray[np.bool_] | None:
    where = None if region is None else check_region(region, size)
    if labels is None:
        return where
    free: NDArray[np.bool_] = check_labels(labels, size) == 0
    return free if where is None else where & free


def _search(
    image: _Image,
    plane: Plane | None,
    options: AutomaticOptions,
    region: NDArray[np.bool_] | None,
) -> Generator[tuple[float, Candidates], None, None]:
    def embed(window: Window | None) -> ImageEmbedding:
        return image.embed(plane, window)

    values = image.read_plane(plane)
    for done, found in automatic.iter_candidates(
        image.predictor, embed, values, options, region
    ):
        yield done, found if region is None else found.inside(region)
