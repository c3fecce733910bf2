"""The part of `Session` that segments everything in planes too large to be read."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from numpy.typing import NDArray

from napari_sam import windows
from napari_sam._automatic_options import AutomaticOptions
from napari_sam._stitching import LabelArray, Stitcher
from napari_sam.types import MODEL_SIZE, Plane, Window

DEFAULT_OPTIONS = AutomaticOptions()


class _Image(Protocol):
    """What a session offers, as far as tiles need it."""

    @property
    def plane_size(self) -> tuple[int, int]: ...
    def check_plane(self, plane: Plane | None) -> tuple[int, ...]: ...
    def part(self, plane: Plane | None, window: Window) -> Any: ...


class TileMethods:
    """Methods of `Session` for everything in a very large plane."""

    def label_tiles(
        self: _Image,
        out: LabelArray,
        plane: Plane | None = None,
        options: AutomaticOptions = DEFAULT_OPTIONS,
        side: int = MODEL_SIZE,
        overlap: int = MODEL_SIZE // 4,
    ) -> Generator[float, None, None]:
        """Segment everything in a plane, tile by tile, and write it to an array.

        Neither the plane nor the labels are held in memory as a whole. Objects that
        lie in several tiles get one label.

        Parameters
        ----------
        out : array of shape (H, W), integer
            Where labels are written; numpy, zarr or alike, zero where nothing is
            labelled yet.
        plane : int or tuple of int
            As in `segment`.
        options : AutomaticOptions, optional
            For each tile.
        side : int
            Rows and columns of a tile. Of 1024 pixels SAM sees each.
        overlap : int
            Pixels that neighbouring tiles share at least. The more, the larger the
            objects that are seen whole in one of them.

        Yields
        ------
        float
            How much is done, 0 to 1, after each tile. Closing the generator stops the
            work; what is written stays.

        Raises
        ------
        ValueError
            At once, if there is no such plane, `out` does not fit it, or the tiles
            would not overlap as asked.
        """
        self.check_plane(plane)
        if tuple(out.shape) != self.plane_size or out.dtype.kind not in "iu":
            raise ValueError(
                f"out must be an integer array of shape {self.plane_size}, "
                f"got {out.dtype} of shape {tuple(out.shape)}."
            )
        parts = windows.tiles(self.plane_size, side, overlap)

        def label(window: Window) -> NDArray[Any]:
            found: NDArray[Any] = self.part(plane, window).generate_masks(
                options=options
            )
            return found

        return _each(parts, label, out)


def _each(
    parts: list[Window], label: Callable[[Window], NDArray[Any]], out: LabelArray
) -> Generator[float, None, None]:
    stitcher = Stitcher(out)
    for done, window in enumerate(parts, start=1):
        stitcher.add(window, label(window))
        if done == len(parts):
            stitcher.finish()
        yield done / len(parts)
