"""A stack of planes along one of an image's axes, and the seeds in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sam import _window_stacks, propagation
from napari_sam.predictor import Predictor
from napari_sam.propagation import PropagationOptions, Seed
from napari_sam.sharpening import SharpOptions
from napari_sam.stack_axes import StackAxes
from napari_sam.types import ImageEmbedding, Plane, Prediction, Prompts, Window


class StackImage(Protocol):
    """What a session offers, as far as volumes need it."""

    predictor: Predictor
    sharp: SharpOptions

    @property
    def axes(self) -> StackAxes: ...
    @property
    def plane_size(self) -> tuple[int, int]: ...
    @property
    def stack_shape(self) -> tuple[int, ...]: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def pixels(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> NDArray[np.uint8]: ...
    def embed(
        self, plane: Plane | None = None, window: Window | None = None
    ) -> ImageEmbedding: ...
    def segment(self, prompts: Prompts, plane: Plane | None = None) -> Prediction: ...
    def cut(self, plane_axes: Sequence[int]) -> StackImage: ...


@dataclass(frozen=True, eq=False)
class StackAlong:
    """Planes of an image along one of its sliced axes, the others being fixed."""

    image: StackImage
    along: int
    fixed: tuple[int, ...]

    @property
    def predictor(self) -> Predictor:
        return self.image.predictor

    @property
    def plane_size(self) -> tuple[int, int]:
        return self.image.plane_size

    def __len__(self) -> int:
        return self.image.stack_shape[self.along]

    @property
    def axis(self) -> int:
        """Axis of the image that is followed."""
        return self.image.axes.sliced[self.along]

    @property
    def axes(self) -> list[int]:
        """Axes of the image that the stack has, in order."""
        return sorted((self.axis, *self.image.axes.plane))

    def plane(self, position: int) -> Plane:
        """Index of a plane as `Session.segment` takes it."""
        index = list(self.fixed)
        index[self.along] = position
        return index[0] if len(index) == 1 else tuple(index)

    def pixels(self, plane: int, window: Window | None = None) -> NDArray[np.uint8]:
        return self.image.pixels(self.plane(plane), window)

    def embed(self, plane: int, window: Window | None = None) -> ImageEmbedding:
        return self.image.embed(self.plane(plane), window)

    def segment(self, prompts: Prompts, plane: int) -> Prediction:
        return self.image.segment(prompts, self.plane(plane))

    def follow(
        self,
        seeds: dict[int, dict[int, Seed]],
        planes: list[int],
        options: PropagationOptions,
    ) -> Iterator[tuple[int, dict[int, Prediction]]]:
        """Follow objects, small ones in windows if the image's `sharp` says so."""
        sharp = self.image.sharp
        return _window_stacks.propagate(self, seeds, planes, options, sharp)

    def follow_labels(
        self,
        seeds: dict[int, dict[int, Seed]],
        planes: list[int],
        options: PropagationOptions,
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """`follow`, each plane as one label image."""
        sharp = self.image.sharp
        return _window_stacks.propagate_labels(self, seeds, planes, options, sharp)

    def positions(self, planes: Iterable[Plane] | None) -> list[int]:
        """Positions along the axis; all if none are given."""
        if planes is None:
            return list(range(len(self)))
        if not isinstance(planes, Iterable):
            raise ValueError(f"planes must be a list of planes, got {planes!r}.")
        return [
            self.image.check_plane(p if isinstance(p, tuple) else self.plane(p))[
                self.along
            ]
            for p in planes
        ]

    def empty(self, dtype: Any) -> NDArray[Any]:
        """Zeros of the stack's shape, in the order of the image's axes."""
        lengths = dict(zip(self.image.axes.plane, self.plane_size, strict=True))
        lengths[self.axis] = len(self)
        return np.zeros([lengths[axis] for axis in self.axes], dtype)

    def put(self, volume: NDArray[Any], plane: int, values: NDArray[Any]) -> None:
        """Write one plane into an array of `empty`."""
        self.planes_of(volume)[plane] = values

    def planes_of(self, volume: NDArray[Any]) -> NDArray[Any]:
        """View (N, H, W) of an array of `empty`."""
        rows, columns = self.image.axes.plane
        planes = np.moveaxis(volume, self.axes.index(self.axis), 0)
        return planes.swapaxes(1, 2) if rows > columns else planes


def stack_of(
    image: StackImage,
    seeds: Mapping[int, Mapping[Plane, Seed]],
    along: int,
    options: PropagationOptions,
) -> tuple[StackAlong, dict[int, dict[int, Seed]]]:
    """Check what is asked for; returns the stack and seeds by position in it."""
    if not isinstance(options, PropagationOptions):
        raise ValueError(f"options must be PropagationOptions, got {options!r}.")
    shape = image.stack_shape
    is_axis = isinstance(along, (int, np.integer)) and not isinstance(along, bool)
    if not shape or not is_axis or not 0 <= along < len(shape):
        raise ValueError(
            f"along must be one of the image's {len(shape)} sliced axes, got {along!r}."
        )
    _window_stacks.check_plane_size(image.plane_size, image.sharp)
    if not isinstance(seeds, Mapping) or not seeds:
        raise ValueError("seeds must be a dict of at least one object.")
    rest: set[tuple[int, ...]] = set()
    found: dict[int, dict[int, Seed]] = {}
    for key, one in seeds.items():
        if not isinstance(one, Mapping) or not one:
            raise ValueError(
                "seeds must be a dict of plane to prompts or mask, not empty."
            )
        index = {plane: image.check_plane(plane) for plane in one}
        rest |= {i[:along] + i[along + 1 :] for i in index.values()}
        found[key] = {index[plane][along]: seed for plane, seed in one.items()}
        propagation.check_seeds(found[key], shape[along], image.plane_size)
    if len(rest) > 1:
        raise ValueError(
            f"seeds must differ along sliced axis {along} only, got {sorted(rest)} "
            "along the others."
        )
    (others,) = rest
    return StackAlong(image, along, (*others[:along], 0, *others[along:])), found


def check_ids(seeds: object) -> None:
    for key in seeds if isinstance(seeds, Mapping) else ():
        is_whole = isinstance(key, (int, np.integer)) and not isinstance(key, bool)
        if not is_whole or key < 1:
            raise ValueError(f"object ids must be whole numbers from 1, got {key!r}.")
