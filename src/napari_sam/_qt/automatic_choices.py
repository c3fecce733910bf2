"""What the user of "Automatic masks" chose, and what was found, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam._qt.automatic_engine import Filters, Numbered
from napari_sam._qt.plane_layer import lengths
from napari_sam._similar_objects import SIMILAR_OPTIONS
from napari_sam.text_ranker import AGAINST

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam._candidates import Candidates
    from napari_sam._layers import ViewPlane
    from napari_sam._qt.engine import Source
    from napari_sam._qt.fit_engine import Fits

Mode = Literal["everything", "similar", "region", "free"]
Overlap = Literal["protect", "overwrite"]
GRIDS = (8, 16, 32, 64)


def first_filters(mode: Mode) -> Filters:
    """Return what a mode begins with: what looks like an example may be less sure.

    Examples
    --------
    >>> first_filters("everything").score, first_filters("similar").score
    (0.88, 0.7)
    """
    if mode != "similar":
        return Filters()
    return Filters(
        SIMILAR_OPTIONS.pred_iou_thresh, SIMILAR_OPTIONS.stability_score_thresh
    )


@dataclass(frozen=True)
class FindChoices:
    """What the user chose.

    Parameters
    ----------
    model : str
    mode : {"everything", "similar", "region", "free"}
        Where to look: everywhere, where it looks like the selected label, inside of
        shapes, or where there is no label.
    points_per_side : int
    overlap : {"protect", "overwrite"}
        What happens to other labels.
    filters : Filters
    phrases, against : tuple of str
        Words that masks are compared with, and what those compete with.
    ranker : str
        Name or folder of what compares.
    min_fit : float
        Score, 0 to 1, that one of the words must exceed.
    """

    model: str = "mobile_sam"
    mode: Mode = "everything"
    points_per_side: int = 32
    overlap: Overlap = "protect"
    filters: Filters = field(default_factory=Filters)
    phrases: tuple[str, ...] = ()
    against: tuple[str, ...] = AGAINST
    ranker: str = "clip_base"
    min_fit: float = 0.0


@dataclass(frozen=True, eq=False)
class Found:
    """Masks of a plane that were found, and those that pass the filters.

    Parameters
    ----------
    image : Image layer
    view : ViewPlane
    source : Source
        What was searched.
    masks : Numbered
    shown : Candidates
    numbers : ndarray of shape (N,), int
        Of those that are shown.
    fits : dict of int to Fit
        By number, of those that were compared with words.
    """

    image: Image
    view: ViewPlane
    source: Source
    masks: Numbered
    shown: Candidates
    numbers: NDArray[np.intp]
    fits: Fits = field(default_factory=dict)

    @property
    def fit_scores(self) -> NDArray[np.float64]:
        """(N,) float: how well words fit those that are shown; NaN if not compared."""
        fits = [self.fits.get(number) for number in self.numbers.tolist()]
        return np.array([np.nan if one is None else one.score for one in fits])

    @property
    def scale(self) -> tuple[float, str]:
        """Area of a pixel, and its unit of length."""
        steps, unit = lengths(self.image, self.view)
        rows, columns = self.view.plane_axes
        return steps[rows] * steps[columns], unit
