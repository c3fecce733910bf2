"""Morphology on label arrays: masks made tidy, in physical units.

All axes of an array are space (give a time series one time point after the other),
each id but 0 is a label, negative ids too, and a mask is a label image of one label.
Each function returns a new array; with `only`, it leaves the other ids as they are.

Each label is worked on by itself. It **grows into background only**, never over
another label (but see `smooth`); the nearest label gets a pixel, of equally near ones
the lowest id. The **border of the image** is no edge of an object: nothing is eroded
from there. Parts are connected through faces, edges and corners (8 neighbours in 2D,
26 in 3D), holes through faces only (4 and 6).

Distances are between pixel centres, so a radius shorter than the spacing of an axis
does nothing along it. A spacing below 1e-80 or above 1e80 (of n > 3 axes, beyond the
power 240 // n) is refused: distances or sizes could come out as 0 or infinite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from napari_sam import _label_regions as lr
from napari_sam._label_regions import LabelRegions, Labels, Only, Spacing


def fill_holes(
    labels: Labels,
    max_size: float | None = None,
    *,
    axis: int | None = None,
    spacing: Spacing = None,
    only: Only = None,
) -> Labels:
    """Fill the background that a label encloses; other labels in it stay.

    A bay open to the image border is no hole. Of several labels around a pixel, the
    one with the smallest hole gets it.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    max_size : float, optional
        Largest hole to fill, what lies in it included: a volume, or an area in 2D
        and with `axis`, in the unit of the spacing. All holes by default.
    axis : int, optional
        Fill each plane across this axis by itself, so also a tube along the axis. By
        default a hole is closed on all sides.
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id is unknown, or a spacing beyond 1e±80.

    Examples
    --------
    >>> fill_holes(np.array([[3, 3, 3], [3, 0, 3], [3, 3, 3]]))[1].tolist()
    [3, 3, 3]
    """
    regions = LabelRegions.read(labels, spacing, only)
    pixel = regions.pixel_size(axis)
    most = np.inf if max_size is None else lr.check_positive("max_size", max_size)
    limit = most / pixel * lr.EXCESS
    return regions.apply(lambda mask, _: lr.hole_strength(mask, limit, axis))


def remove_small_objects(
    labels: Labels,
    min_size: float,
    *,
    whole_objects: bool = False,
    spacing: Spacing = None,
    only: Only = None,
) -> Labels:
    """Remove parts smaller than a size, and with them labels of small parts only.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    min_size : float
        Smallest part to keep, in the unit of the spacing: an area in 2D, a volume in
        3D, the number of its pixels times the product of the spacing.
    whole_objects : bool, optional
        Compare all parts of a label together, and keep all or none of them.
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id is unknown, or a spacing beyond 1e±80.

    Examples
    --------
    >>> remove_small_objects(np.array([4, 0, 4, 4, 0, 9]), 3, spacing=[1.5]).tolist()
    [0, 0, 4, 4, 0, 0]
    """
    regions = LabelRegions.read(labels, spacing, only)
    least = lr.check_positive("min_size", min_size) / regions.pixel_size()
    return regions.apply(
        lambda mask, _: lr.part_sizes(mask, whole_objects) * lr.EXCESS >= least,
        drop=True,
    )


def keep_largest(labels: Labels, count: int = 1, *, only: Only = None) -> Labels:
    """Keep the largest connected parts of each label.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    count : int, optional
        Number of parts to keep; of equally large ones, those that come first.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, or an id of `only` is not in `labels`.

    Examples
    --------
    >>> keep_largest(np.array([4, 0, 4, 4, 0, 9])).tolist()
    [0, 0, 4, 4, 0, 9]
    """
    regions = LabelRegions.read(labels, None, only)
    most = lr.check_count(count)
    return regions.apply(lambda mask, _: lr.largest_parts(mask, most))


def keep_at(labels: Labels, points: ArrayLike, *, only: Only = None) -> Labels:
    """Keep the connected parts that points lie on, such as the prompted ones.

    A label that no point lies on stays whole.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    points : array_like of shape (N, labels.ndim)
        In pixels of the array, centres at integers; all within the image.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, or an id of `only` is not in `labels`.

    Examples
    --------
    >>> keep_at(np.array([True, False, True, True]), [[2.4]]).tolist()
    [False, False, True, True]
    """
    regions = LabelRegions.read(labels, None, only)
    touched = np.zeros(regions.labels.shape, dtype=bool)
    touched[tuple(lr.check_points(points, touched.shape).T)] = True
    return regions.apply(lambda mask, box: lr.touched_parts(mask, touched[box]))


def split_components(labels: Labels, *, only: Only = None) -> Labels:
    """Make the disconnected parts of a label labels of their own.

    The largest part keeps the id, of equally large ones the first. The others get the
    ids after the highest one of the image (at least 1): in order of their old ids,
    and of one label the larger part first.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id of `only` is not in `labels`, or a new id
        does not fit the dtype (in bool none does).

    Examples
    --------
    >>> split_components(np.array([3, 0, 3, 3, 0, 7, 0, 3])).tolist()
    [8, 0, 3, 3, 0, 7, 0, 9]
    """
    return LabelRegions.read(labels, None, only).split()


def erode(
    labels: Labels,
    radius: float,
    *,
    drop_vanished: bool = False,
    spacing: Spacing = None,
    only: Only = None,
) -> Labels:
    """Take a margin off each label, also where it meets another one.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    radius : float
        Width of the margin, in the unit of the spacing.
    drop_vanished : bool, optional
        Let a label go of which nothing is left, which else stays whole.
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id is unknown, or a spacing beyond 1e±80.

    Examples
    --------
    >>> erode(np.array([0, 5, 5, 5, 0, 6]), 1).tolist()
    [0, 0, 5, 0, 0, 6]
    """
    regions = LabelRegions.read(labels, spacing, only)
    far = lr.check_radius(radius)
    return regions.apply(lambda mask, _: regions.eroded(mask, far), drop_vanished)


def dilate(
    labels: Labels, radius: float, *, spacing: Spacing = None, only: Only = None
) -> Labels:
    """Put a margin of background pixels around each label.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    radius : float
        Width of the margin, in the unit of the spacing.
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id is unknown, or a spacing beyond 1e±80.

    Examples
    --------
    >>> dilate(np.array([7, 0, 0, 0, 9]), 4, spacing=[2]).tolist()
    [7, 7, 7, 9, 9]
    """
    regions = LabelRegions.read(labels, spacing, only)
    far = lr.check_radius(radius)
    return regions.apply(lambda mask, _: regions.dilated(mask, far), reach=far)


def opening(
    labels: Labels,
    radius: float,
    *,
    drop_vanished: bool = False,
    spacing: Spacing = None,
    only: Only = None,
) -> Labels:
    """Remove what is thinner than a ball: spurs, bridges and specks.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    radius : float
        Radius of the ball, in the unit of the spacing.
    drop_vanished : bool, optional
        Let a label go of which nothing is left, which else stays whole.
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id is unknown, or a spacing beyond 1e±80.

    Examples
    --------
    >>> labels = np.zeros((5, 9), int)
    >>> labels[1:4, 1:4] = labels[2, 4:8] = 6
    >>> opening(labels, 1.5)[2].tolist()
    [0, 6, 6, 6, 0, 0, 0, 0, 0]
    """
    regions = LabelRegions.read(labels, spacing, only)
    far = lr.check_radius(radius)
    return regions.apply(lambda mask, _: regions.opened(mask, far), drop_vanished)


def closing(
    labels: Labels, radius: float, *, spacing: Spacing = None, only: Only = None
) -> Labels:
    """Fill what no ball fits in, in the bounding box of a label: cracks, bays, gaps.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    radius : float
        Radius of the ball, in the unit of the spacing.
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id is unknown, or a spacing beyond 1e±80.

    Examples
    --------
    >>> closing(np.array([0, 2, 0, 2, 0, 0, 0, 2]), 1).tolist()
    [0, 2, 2, 2, 0, 0, 0, 2]
    """
    regions = LabelRegions.read(labels, spacing, only)
    far = lr.check_radius(radius)
    return regions.apply(lambda mask, _: regions.closed(mask, far), reach=far)


def smooth(
    labels: Labels, sigma: float, *, spacing: Spacing = None, only: Only = None
) -> Labels:
    """Round off each label and keep its size.

    Its mask is blurred, and the brightest pixels, as many as before, are the new one.
    Labels that touch exchange pixels to straighten their common border.

    Parameters
    ----------
    labels : ndarray of shape (..., row, column), bool or integer
    sigma : float
        Standard deviation of the Gaussian, in the unit of the spacing.
    spacing : sequence of float, optional
        Size of a pixel along each axis, in µm, mm or any unit; 1 by default.
    only : int or iterable of int, default all ids

    Returns
    -------
    ndarray of the shape and dtype of `labels`

    Raises
    ------
    ValueError
        If an argument is not as above, an id is unknown, or a spacing beyond 1e±80.

    Examples
    --------
    >>> smooth(np.array([[0, 0, 2, 0, 0], [2, 2, 2, 2, 2]]), 2).tolist()
    [[0, 0, 2, 0, 0], [2, 2, 2, 2, 2]]
    """
    regions = LabelRegions.read(labels, spacing, only)
    width = lr.check_positive("sigma", sigma)
    return regions.apply(
        lambda mask, box: regions.blurred(mask, box, width), reach=4 * width
    )
