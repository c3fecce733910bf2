"""The part of `Session` that finds objects like given ones, proposals and edges."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_sam._appearance import PlaneView
from napari_sam._automatic_options import AutomaticOptions
from napari_sam._candidates import Candidates
from napari_sam._likeness import Likeness, Seen
from napari_sam._proposals import (
    EDGE_OPTIONS,
    PROPOSAL_OPTIONS,
    check_count,
    edge_map,
    ranked,
)
from napari_sam._regions import check_examples
from napari_sam._similar_objects import (
    SIMILAR_OPTIONS,
    Looking,
    area_range,
    iter_similar,
    windows_for,
)
from napari_sam.predictor import Predictor
from napari_sam.types import ImageEmbedding, Plane, Window

DEFAULT_OPTIONS = AutomaticOptions()


class _Image(Protocol):
    """What a session offers, as far as it is needed here."""

    predictor: Predictor

    @property
    def plane_size(self) -> tuple[int, int]: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def read_plane(self, plane: Plane | None = None) -> NDArray[Any]: ...
    def pixels(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> NDArray[np.uint8]: ...
    def embed(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> ImageEmbedding: ...
    def find_candidates(
        self,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
    ) -> Candidates: ...
    def iter_similar(
        self,
        examples: ArrayLike,
        plane: Plane | None = None,
        options: AutomaticOptions = SIMILAR_OPTIONS,
        examples_plane: Plane | None = None,
    ) -> Generator[tuple[float, Candidates], None, None]: ...


class SimilarMethods:
    """Methods of `Session` for what looks like something, or like an object."""

    def iter_similar(
        self: _Image,
        examples: ArrayLike,
        plane: Plane | None = None,
        options: AutomaticOptions = SIMILAR_OPTIONS,
        examples_plane: Plane | None = None,
    ) -> Generator[tuple[float, Candidates], None, None]:
        """Look for objects like given ones, a few points in each step.

        The features that the embedding has of the examples say where to look, so that
        tens of prompts are decoded and not a thousand: at each place a point, and a
        box of the examples' size. Examples that are small in the plane are looked for
        in windows, each encoded by itself. The examples are found as well.

        Parameters
        ----------
        examples : ndarray of shape (H, W), bool or int
            One mask, or a label image of several objects.
        plane : int or tuple of int
            Where to look; as in `segment`.
        options : AutomaticOptions, optional
            Without an `area_range`, objects may have a third to three times the size
            of the examples. Grid and parts are not used. The thresholds of score and
            stability are lower by default than those of `AutomaticOptions`.
        examples_plane : int or tuple of int, optional
            Plane that the examples are in, if it is another.

        Yields
        ------
        tuple of float and Candidates
            As `iter_candidates`; all masks in the last step. They hardly overlap.

        Raises
        ------
        ValueError
            At once, if there is no such plane, or the examples are none or do not fit.
        """
        at = self.check_plane(plane)
        labels = check_examples(examples, self.plane_size)
        source = at if examples_plane is None else self.check_plane(examples_plane)
        return _search_similar(self, labels, (source or None, at or None), options)

    def find_similar(
        self: _Image,
        examples: ArrayLike,
        plane: Plane | None = None,
        options: AutomaticOptions = SIMILAR_OPTIONS,
        examples_plane: Plane | None = None,
    ) -> Candidates:
        """Look for objects like given ones: `iter_similar`, collected.

        Parameters
        ----------
        examples, plane, options, examples_plane
            As in `iter_similar`.

        Returns
        -------
        Candidates
            Before the choice among them: `Candidates.select`, then
            `Candidates.label_image`.

        Raises
        ------
        ValueError
            As `iter_similar`.
        """
        steps = self.iter_similar(examples, plane, options, examples_plane)
        return Candidates.join([found for _, found in steps])

    def propose_objects(
        self: _Image,
        plane: Plane | None = None,
        count: int = 1000,
        options: AutomaticOptions = PROPOSAL_OPTIONS,
    ) -> Candidates:
        """Propose boxes and masks of whatever may be an object, the most likely first.

        Parameters
        ----------
        plane : int or tuple of int
            As in `segment`.
        count, options
            As in `napari_sam.propose_objects`.

        Returns
        -------
        Candidates

        Raises
        ------
        ValueError
            If there is no such plane, or `count` is not a whole number from 1.
        """
        check_count(count)
        return ranked(self.find_candidates(plane, options), count)

    def edge_map(
        self: _Image,
        plane: Plane | None = None,
        options: AutomaticOptions = EDGE_OPTIONS,
    ) -> NDArray[np.float32]:
        """Find edges between whatever may be objects, as `napari_sam.edge_map`.

        Parameters
        ----------
        plane : int or tuple of int
            As in `segment`.
        options : AutomaticOptions, optional

        Returns
        -------
        ndarray of shape (H, W), float32
            0 where there is no edge, up to 1.

        Raises
        ------
        ValueError
            If there is no such plane, or the options ask for parts of it.
        """
        return edge_map(self.predictor, self.embed(plane), options)


def _search_similar(
    image: _Image,
    examples: NDArray[Any],
    planes: tuple[Plane | None, Plane | None],
    options: AutomaticOptions,
) -> Generator[tuple[float, Candidates], None, None]:
    source, plane = planes

    def see(at: Plane | None, window: Window | None) -> Seen:
        view = PlaneView.of(image.embed(at, window), image.pixels(at, window))
        return Seen(view, window)

    areas = np.unique(examples[examples > 0], return_counts=True)[1]
    if options.area_range is None:
        options = replace(options, area_range=area_range(areas))
    windows = windows_for(areas, image.plane_size)
    there = [w for w in windows if w is None or examples[w.slices].any()]
    likeness = Likeness.of([see(source, window) for window in there], examples)
    is_here = source == plane
    looking = Looking(
        partial(see, plane),
        windows,
        image.read_plane(plane),
        likeness,
        examples if is_here else None,
        options,
    )
    yield from iter_similar(image.predictor, looking)
