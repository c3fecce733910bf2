"""One image, one predictor, one cache: what widgets, scripts and command line call."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sam import sharpening, transforms, windows
from napari_sam._kept_plane import KeptPlane, Looked
from napari_sam._plane_contrast import contrast_of_planes
from napari_sam._session_automatic import AutomaticMethods
from napari_sam._session_similar import SimilarMethods
from napari_sam._session_text import TextMethods
from napari_sam._session_tiles import TileMethods
from napari_sam._session_volumes import VolumeMethods
from napari_sam.embedding_cache import EmbeddingCache
from napari_sam.predictor import Predictor
from napari_sam.prompting import check_prompts
from napari_sam.sharpening import LARGE_PLANE, PlaneSource, SharpMode, SharpOptions
from napari_sam.stack_axes import ArrayLike, StackAxes, check_image, whole_numbers
from napari_sam.types import (
    MODEL_SIZE,
    ImageEmbedding,
    ModelInput,
    Plane,
    Prediction,
    Prompts,
    Window,
)

# Rows and columns that are read of a large window at most, about.
MAX_SIDE = 4 * MODEL_SIZE


class Session(
    VolumeMethods, AutomaticMethods, SimilarMethods, TileMethods, TextMethods
):
    """Segment planes of one image; each is read and encoded once, when it is needed.

    Parameters
    ----------
    image : array
        2D or a stack of any number of axes, with or without a last axis of colour;
        numpy, dask, zarr or alike. Only the planes asked for are read.
    predictor : Predictor
    plane_axes : tuple of int
        Axes that are a plane's rows and columns, counted without colour. The last two
        by default: XY of a (z, y, x) stack; (0, 2) is XZ, (0, 1) YZ.
    rgb : bool, optional
        Whether the last axis is colour. By default it is if it has 3 or 4 values and
        there are two axes more.
    contrast_limits : (low, high), optional
        Values that SAM sees black and white, for all planes. By default uint8 is seen
        as it is, and other types from the 0.5th to the 99.5th percentile of a few
        planes (`transforms.default_contrast_limits`).
    cache : EmbeddingCache, optional
        In memory by default.
    sharp : {"off", "auto", "always"} or SharpOptions
        Whether `segment` looks again at small objects, in a window of their own.

    Raises
    ------
    ValueError
        If the image has too few axes, no pixels, or complex or other values that are
        not numbers; or an argument is not as above.

    Examples
    --------
    >>> import napari_sam as ns
    >>> from skimage.data import coins
    >>> session = ns.Session(coins(), ns.load_model("mobile_sam"))
    >>> prediction = session.segment(ns.Prompts(box=[40, 90, 105, 140]))
    >>> prediction.best.shape
    (303, 384)
    """

    def __init__(
        self,
        image: ArrayLike,
        predictor: Predictor,
        plane_axes: Sequence[int] = (-2, -1),
        rgb: bool | None = None,
        contrast_limits: Sequence[float] | None = None,
        cache: EmbeddingCache | None = None,
        sharp: SharpMode | SharpOptions = "off",
    ) -> None:
        image = check_image(image)
        if not callable(getattr(predictor, "predict_batch", None)):
            kind = type(predictor).__name__
            raise ValueError(f"predictor must be from load_model, got {kind}.")
        if cache is not None and not isinstance(cache, EmbeddingCache):
            kind = type(cache).__name__
            raise ValueError(f"cache must be an EmbeddingCache, got {kind}.")
        self.sharp = SharpOptions.of(sharp)
        self.image, self.predictor = image, predictor
        self.axes = StackAxes.of(image.shape, plane_axes, rgb)
        self.cache = EmbeddingCache() if cache is None else cache
        self.encode_seconds: float | None = None  # of the last encoding, if any
        self._limits: transforms.ContrastLimits | None = None
        self._limits_known, self._last = contrast_limits is not None, KeptPlane()
        if contrast_limits is not None:
            self._limits = transforms.check_contrast_limits(contrast_limits)

    @property
    def plane_size(self) -> tuple[int, int]:
        """(rows, columns) of a plane."""
        rows, columns = (self.image.shape[axis] for axis in self.axes.plane)
        return rows, columns

    @property
    def is_large(self) -> bool:
        """Whether planes are too large to be read, or held as a mask, as a whole."""
        rows, columns = self.plane_size
        return rows * columns > LARGE_PLANE

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """Number of planes along each sliced axis; () for a 2D image."""
        return tuple(self.image.shape[axis] for axis in self.axes.sliced)

    @property
    def planes(self) -> list[Plane]:
        """Index of every plane, in order, as `segment` takes them."""
        return [self._short(one) for one in product(*map(range, self.stack_shape))]

    @property
    def contrast_limits(self) -> transforms.ContrastLimits | None:
        """(low, high) that SAM sees black and white; None if values stay as they are.

        Chosen at first use if they were not given, from a few planes of a stack.
        """
        if not self._limits_known:
            if np.dtype(self.image.dtype) not in (np.uint8, np.bool_):
                self._limits = contrast_of_planes(self)
            self._limits_known = True
        return self._limits

    @staticmethod
    def _short(index: tuple[int, ...]) -> Plane:
        """Name a plane as short as possible: an int unless several axes are sliced."""
        return (index or (0,))[0] if len(index) <= 1 else index

    def cut(self, plane_axes: Sequence[int]) -> Session:
        """Other planes of the same image, with the same contrast and cache."""
        other = copy(self)
        other.axes = StackAxes.of(self.image.shape, plane_axes, self.axes.is_rgb)
        return other

    def check_plane(self, plane: Plane | None) -> tuple[int, ...]:
        """Return the index along each sliced axis.

        Parameters
        ----------
        plane : int, tuple of int or None
            None is allowed for 2D images only.

        Raises
        ------
        ValueError
            If there is no such plane.
        """
        shape = self.stack_shape
        index = () if plane is None else whole_numbers(plane)
        if not shape and index in ((), (0,)):
            return ()
        if not shape:
            raise ValueError(
                f"plane must be 0 or omitted for a 2D image, got {plane!r}."
            )
        fits = index is not None and len(index) == len(shape)
        if not fits or any(
            not 0 <= i < n for i, n in zip(index or (), shape, strict=True)
        ):
            kind = (
                "one index" if len(shape) == 1 else f"a tuple of {len(shape)} indices"
            )
            last = ", ".join(f"0 to {n - 1}" for n in shape)
            raise ValueError(f"plane must be {kind} ({last}), got {plane!r}.")
        return index or ()

    def read_plane(
        self, plane: Plane | None = None, window: Window | None = None, step: int = 1
    ) -> NDArray[Any]:
        """Read one plane, or a window of it, and nothing else, from the image.

        Parameters
        ----------
        plane : int or tuple of int
            One int for one sliced axis, a tuple for more; omitted for a 2D image.
        window : Window, optional
            All of the plane by default.
        step : int
            Every how many rows and columns to read.

        Returns
        -------
        ndarray of shape (H, W), (H, W, 3) or (H, W, 4)
            In the image's dtype.

        Raises
        ------
        ValueError
            If there is no such plane, or the window does not lie within it.
        """
        index: list[int | slice] = [slice(None)] * len(self.image.shape)
        for axis, position in zip(
            self.axes.sliced, self.check_plane(plane), strict=True
        ):
            index[axis] = position
        part = windows.whole(self.plane_size) if window is None else window
        windows.check_window(part, self.plane_size)
        for axis, one in zip(self.axes.plane, part.slices, strict=True):
            index[axis] = slice(one.start, one.stop, step)
        pixels = np.asarray(self.image[tuple(index)])
        rows, columns = self.axes.plane
        return pixels.swapaxes(0, 1) if rows > columns else pixels

    def pixels(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> NDArray[np.uint8]:
        """Return a plane, or a window of it, as SAM sees it.

        (H, W) or (H, W, 3), uint8. Of very large windows only every n-th row and
        column, still at least four for each pixel of SAM's.
        """
        return transforms.stretch(self._raw(plane, window), self.contrast_limits)

    def _raw(self, plane: Plane | None, window: Window | None) -> NDArray[Any]:
        shape = self.plane_size if window is None else window.shape
        step = max(1, max(shape) // MAX_SIDE) if self.is_large else 1
        return transforms.check_plane(self.read_plane(plane, window, step))

    def part(self, plane: Plane | None, window: Window) -> Session:
        """Session of a window of a plane as a 2D image, with this one's cache."""
        part = Session(
            self.read_plane(plane, window),
            self.predictor,
            rgb=self.axes.is_rgb,
            cache=self.cache,
            sharp=self.sharp,
        )
        # Those of the whole image, which may be none, or equal.
        part._limits, part._limits_known = self.contrast_limits, True
        return part

    def _prepare(
        self, plane: Plane | None, window: Window | None, mirrored: bool = False
    ) -> ModelInput:
        if window == windows.whole(self.plane_size):
            window = None
        shape = self.plane_size if window is None else window.shape
        how = Looked(self.contrast_limits, shape, window)
        seen = self._last.prepare(self._raw(plane, window), how)
        if not mirrored:
            return seen
        # Other pixels, so another key.
        return replace(seen, pixels=seen.pixels.flip(1 + windows.mirror_axis(shape)))

    def embed(
        self,
        plane: Plane | None = None,
        window: Window | None = None,
        mirrored: bool = False,
    ) -> ImageEmbedding:
        """Embedding of a plane, from the cache or encoded now.

        Parameters
        ----------
        plane : int or tuple of int
            As in `read_plane`.
        window : Window, optional
            Of this part of the plane; of all of it by default.
        mirrored : bool
            Of its mirror image along the longer axis. Prompts must be mirrored, too
            (`windows.mirror_prompts`), and answers are.

        Returns
        -------
        ImageEmbedding
            Of half-precision features, whether it was in the cache or not, so that
            answers do not depend on that.

        Raises
        ------
        ValueError
            If there is no such plane, or the window does not lie within it.
        """
        predictor, seen = self.predictor, self._prepare(plane, window, mirrored)
        key = predictor.key(seen)
        features = self.cache.get(key, predictor.device, predictor.dtype)
        if features is None:
            begin = perf_counter()
            features = predictor.encode([seen])[0].stored
            self.encode_seconds = perf_counter() - begin
            # The cache rounds to half precision; a fresh embedding is rounded too.
            features = features.half().to(predictor.dtype)
            self.cache.put(key, features)
        return predictor.restore(features, seen, key)

    def is_embedded(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> bool:
        """Whether a plane's embedding is in the cache, for what is in it now."""
        return self.embedding_key(plane, window) in self.cache

    def embedding_key(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> str:
        """Key of a plane's embedding in the cache, for what is in it now."""
        return self.predictor.key(self._prepare(plane, window))

    def segment(
        self,
        prompts: Prompts,
        plane: Plane | None = None,
        multimask: bool | None = None,
        sharp: SharpMode | SharpOptions | None = None,
    ) -> Prediction:
        """Segment one object in one plane.

        Parameters
        ----------
        prompts : Prompts
            (row, column) in data pixels of the plane.
        plane : int or tuple of int
            One int for one sliced axis, a tuple for more; omitted for a 2D image.
        multimask : bool, optional
            Three masks, or one. By default three for a single point alone.
        sharp : {"off", "auto", "always"} or SharpOptions, optional
            Whether to look again at a small object; by default as the session does.

        Returns
        -------
        Prediction
            Of a plane with more pixels than `sharpening.LARGE_PLANE`, which is never
            read as a whole, masks cover `Prediction.frame` only.

        Raises
        ------
        ValueError
            If there is no such plane, or no prompts, or one lies outside the plane.
        """
        index = self.check_plane(plane)
        check_prompts(prompts, self.plane_size)  # before the long work
        options = self.sharp if sharp is None else SharpOptions.of(sharp)
        source = PlaneSource(
            self.predictor,
            self.plane_size,
            partial(self.embed, plane),
            self._short(index),
        )
        return sharpening.segment(source, prompts, options, multimask)

    def embed_planes(
        self, planes: Iterable[Plane] | None = None
    ) -> Generator[Plane, None, None]:
        """Encode planes that are not in the cache yet, one a step.

        As `segment` looks at them first: mirrored as well, if `sharp` says so.
        Closing the generator stops the work; what is done stays in the cache, and the
        next call goes on from there.

        Parameters
        ----------
        planes : iterable of int or tuple of int, optional
            All planes if omitted.

        Yields
        ------
        int or tuple of int
            The plane that is now in the cache.

        Raises
        ------
        ValueError
            At once, if there is no such plane.
        """
        chosen = self.planes if planes is None else list(planes)
        return self._embed_each([self._short(self.check_plane(p)) for p in chosen])

    def _embed_each(self, planes: Sequence[Plane]) -> Generator[Plane, None, None]:
        for plane in planes:
            self.embed(plane)
            if self.sharp.looks_both_ways(self.plane_size):
                self.embed(plane, mirrored=True)
            yield plane
