"""How an object is followed through a stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Beyond this, powers of distances would no longer be numbers.
MOST_ANISOTROPY = 1e6


@dataclass(frozen=True)
class PropagationOptions:
    """How an object is followed through a stack.

    The defaults are one setting for all images: the best in the mean over volumes of
    fluorescence microscopy and MR (six sets, 3D Dice from one box per object). Figures
    below are that mean over the volumes tried for that option, four sets or more, so
    they compare within one pair of brackets only.

    Parameters
    ----------
    spacing : (step, row, column), optional
        Distance of neighbouring planes, rows and columns, in one unit; equal if
        omitted. Shapes change faster between planes that are far apart.
    feature_weight : float
        Weight of the embedding's likeness to the object in earlier planes.
    grey_weight : float
        Weight of the grey values' likeness, as a log-likelihood ratio.
    distance_weight : float
        Weight of the distance from the mask of the plane before. High values keep the
        shape, and go on where the object has ended.
        It counts twice between two seeds (0.80 to 0.81 with three boxes).
    decoder_weight : float
        Share of SAM's own logits in the result, 0 to 1; the rest is the prediction.
        SAM's own choice leaks or dies after a few planes (0: 0.585; 0.2: 0.593; 0.5:
        0.587).
    score_weight : float
        Weight of the predicted IoU, against agreement with the prediction, in the
        choice among SAM's three masks.
    reach : float
        How far a border is expected to move from plane to plane, as a part of the
        object's radius.
    caution : float
        How much more evidence is asked for the object than for its surroundings, of
        which there is more. At 1 thin objects are lost.
    shrinkage : float
        How much more evidence is asked one radius away from the seed, growing with
        the square of the distance: most objects are as long as they are wide. With
        several seeds, an ellipsoid through them is taken instead (0: 0.45; 1: 0.59).
    max_shrinkage : float
        The most of it: long objects of good contrast go on (2: 0.61; 1.5: 0.63). No
        limit where several seeds show that the object becomes narrower.
    anchor_weight : float
        How much more evidence is asked for beside the seed, for each `reach` of
        distance from its mask: people mark an object where it is large, so its other
        sections lie over or under the mark (0: 0.657; 0.5: 0.690; 1: 0.698).
    drift : float
        How far beside that is, for each pixel of distance from the seed plane: oblique
        objects move (0.08: 0.694; 0.15: 0.698; 0.3: 0.696).
    max_growth : float
        Largest area, as a multiple of the seed's. More of it is cut, least certain
        first.
    max_regrowth : float
        Largest area, as a multiple of the smallest since the seed: what has shrunk and
        grows again is the next object.
    min_area : float
        The object has ended below this part of the seed's area.
    min_agreement : float
        The object has ended if SAM's answer overlaps the prediction less (IoU).
    min_likeness : float
        The object has ended if its grey values are this unlike those in the seed
        (mean log-likelihood ratio).
    patience : int
        Planes that may be missed in a row before the search ends.
    memory : int
        Planes whose appearance is remembered besides the seed's.
    border_weight : float
        How far the border is moved to where grey values look as at the seed's border,
        0 to 1; by at most as many times two logits (0: 0.710; 0.5: 0.721; 1: 0.720).
    smoothing : float
        What the logits of each neighbouring plane count in a plane's result, 0 to 1,
        against 1 of its own; divided by the distance of planes in pixels where that is
        more than 1. What is taken or missed in one plane alone is mended by those on
        both sides (0: 0.710; 0.25: 0.714; 0.5: 0.715; 1: 0.715).
    model_memory : bool
        Whether models that remember objects themselves (SAM 2) follow them by that. The
        options above do not count then.

    Raises
    ------
    ValueError
        If a number is not finite or below zero where that means nothing.

    Examples
    --------
    >>> from napari_sam import PropagationOptions
    >>> PropagationOptions(spacing=(5, 1, 1)).step
    5.0
    """

    spacing: tuple[float, float, float] | None = None
    feature_weight: float = 3.0
    grey_weight: float = 1.0
    distance_weight: float = 0.5
    decoder_weight: float = 0.5
    score_weight: float = 0.3
    reach: float = 0.15
    caution: float = 0.5
    shrinkage: float = 2.0
    max_shrinkage: float = 1.5
    anchor_weight: float = 1.0
    drift: float = 0.15
    max_growth: float = 1.3
    max_regrowth: float = 1.2
    min_area: float = 0.03
    min_agreement: float = 0.3
    min_likeness: float = -0.5
    patience: int = 1
    memory: int = 2
    border_weight: float = 0.5
    smoothing: float = 0.5
    model_memory: bool = True

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in ("spacing", "min_likeness"):
                continue
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be at least 0, got {value}.")
        if not np.isfinite(self.min_likeness):
            raise ValueError(f"min_likeness must be finite, got {self.min_likeness}.")
        for name in ("decoder_weight", "border_weight", "smoothing"):
            if (value := getattr(self, name)) > 1:
                raise ValueError(f"{name} must be 0 to 1, got {value}.")
        if self.reach == 0:
            raise ValueError("reach must be more than 0, got 0.")
        steps = np.ones(3) if self.spacing is None else np.asarray(self.spacing)
        if steps.shape != (3,) or not (np.isfinite(steps) & (steps > 0)).all():
            raise ValueError(
                "spacing must be three numbers above 0 (step, row, column), "
                f"got {self.spacing!r}."
            )
        if steps.max() > MOST_ANISOTROPY * steps.min():
            raise ValueError(
                "spacing must not differ between axes by more than a factor of "
                f"{MOST_ANISOTROPY:g}, got {self.spacing!r}."
            )

    @property
    def step(self) -> float:
        """Distance of neighbouring planes, in pixels of the plane."""
        if self.spacing is None:
            return 1.0
        step, row, column = self.spacing
        return float(step / np.sqrt(row * column))

    @property
    def share_beside(self) -> float:
        """Weight of a neighbouring plane's logits, against 1 of a plane's own."""
        return self.smoothing / max(1.0, self.step)
