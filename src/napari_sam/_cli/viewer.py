"""Samples of the demo as napari layers."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari_sam._cli.demo_samples import SampleResult

_DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def check_viewer(
    environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> None:
    """Find out, before any work, whether napari can open a window.

    Raises
    ------
    ImportError
        If no Qt is installed.
    OSError
        If there is no display: Qt would end the process.
    """
    if platform.startswith("linux") and not any(map(environ.get, _DISPLAY_VARIABLES)):
        raise OSError("--viewer needs a display, and there is none here.")
    import torch  # noqa: F401 - before Qt: on Windows it fails after it

    try:
        import napari.qt  # noqa: F401
    except ImportError:
        raise ImportError(
            "--viewer needs Qt; install it with: pip install 'napari-sam-stacks[qt]'"
        ) from None


def show(results: Sequence["SampleResult"]) -> None:
    """Open a napari window for each sample, until they are closed."""
    import napari

    for result in results:
        add_layers(napari.Viewer(title=f"napari-sam demo: {result.name}"), result)
    napari.run()


def add_layers(viewer: Any, result: "SampleResult") -> None:
    """Add image, ground truth, labels and prompts of a sample to a viewer.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
    result : SampleResult
    """
    session, image = result.session, result.image
    place = {"scale": image.spacing}
    viewer.add_image(
        image.data,
        name=result.name,
        contrast_limits=session.contrast_limits,
        colormap="gray",
        **place,
    )
    viewer.add_labels(result.truth, name="ground truth", visible=False, **place)
    viewer.add_labels(result.labels, name="labels", opacity=0.5, **place)
    boxes, points = prompt_vertices(result)
    if len(boxes):
        viewer.add_shapes(
            boxes,
            shape_type="rectangle",
            name="boxes",
            edge_color="yellow",
            edge_width=0.5,
            face_color="transparent",
            **place,
        )
    if len(points):
        viewer.add_points(points, name="points", face_color="lime", size=5, **place)
    # The planes that were prompted are the ones seen first.
    viewer.dims.order = session.axes.sliced + session.axes.plane
    middle = sorted(result.planes)[len(result.planes) // 2]
    for axis, position in zip(session.axes.sliced, middle, strict=True):
        viewer.dims.set_current_step(axis, position)


def prompt_vertices(
    result: "SampleResult",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of boxes (N, 4, ndim) and points (M, ndim), in pixels of the image."""
    axes = result.session.axes
    ndim = len(axes.sliced) + 2
    boxes: list[NDArray[np.float64]] = []
    points: list[NDArray[np.float64]] = []
    for index, objects in result.planes.items():
        for one in objects:
            if one.prompts.box is not None:
                top, left, bottom, right = one.prompts.box
                corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
                # Edges of pixels; napari counts from their centres.
                boxes.append(_placed(np.array(corners) - 0.5, index, axes))
            points.extend(_placed(one.prompts.points, index, axes))
    corners_of_all = np.array(boxes).reshape(-1, 4, ndim)
    return corners_of_all, np.array(points).reshape(-1, ndim)


def _placed(
    vertices: NDArray[np.float64], index: tuple[int, ...], axes: Any
) -> NDArray[np.float64]:
    """Put (row, column) of a plane where they are in the image."""
    placed = np.empty((len(vertices), len(axes.sliced) + 2))
    placed[:, axes.plane] = vertices
    placed[:, axes.sliced] = index
    return placed
