"""What the user of "Words" chose, and what was found, as values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from napari_sam._detections import TextBox, TextOptions

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam._layers import ViewPlane
    from napari_sam._mask_runs import Runs
    from napari_sam._qt.words_engine import Detected, WordSearch
    from napari_sam.types import Plane


@dataclass(frozen=True)
class WordChoices:
    """What the user chose.

    Parameters
    ----------
    model : str
    detector : str
        Name or folder.
    phrases : tuple of str
    overlap : {"protect", "overwrite"}
        What happens to other labels.
    options : TextOptions
        The sliders.
    """

    model: str = "mobile_sam"
    detector: str = "owlv2_base"
    phrases: tuple[str, ...] = ()
    overlap: Literal["protect", "overwrite"] = "protect"
    options: TextOptions = field(default_factory=TextOptions)


@dataclass(eq=False)
class FoundWords:
    """Boxes that were found, masks that were made of them, and what is dismissed.

    Parameters
    ----------
    image : Image layer
    view : ViewPlane
        When it was looked for.
    request : WordSearch
    planes : dict of plane to TextDetections
    runs : dict of plane to (dict of number to Runs)
    dismissed : set of (plane, number)
        Deleted by the user, or written.
    """

    image: Image
    view: ViewPlane
    request: WordSearch
    planes: Detected
    runs: dict[Plane, dict[int, Runs]] = field(default_factory=dict)
    dismissed: set[tuple[Plane, int]] = field(default_factory=set)
    _chosen: tuple[TextOptions, dict[Plane, list[int]]] | None = None

    def _numbers(self, plane: Plane, options: TextOptions) -> list[int]:
        if self._chosen is None or self._chosen[0] != options:
            self._chosen = options, {}
        kept = self._chosen[1]
        if plane not in kept:
            kept[plane] = (self.planes[plane].choose(options) + 1).tolist()
        return kept[plane]

    def shown(self, plane: Plane, options: TextOptions) -> dict[int, TextBox]:
        """Boxes of a plane that pass the sliders, the best first, by number."""
        every = self.planes[plane]
        return {
            number: every.box(number - 1)
            for number in self._numbers(plane, options)
            if (plane, number) not in self.dismissed
        }


def split_words(words: str) -> list[str]:
    r"""Split at commas, semicolons and ends of lines.

    Parameters
    ----------
    words : str

    Returns
    -------
    list of str
        Each once, in order, without empty ones.

    Examples
    --------
    >>> split_words("nucleus, dark  spot\n\nnucleus;cell.")
    ['nucleus', 'dark spot', 'cell']
    """
    parts = (" ".join(part.split()) for part in re.split(r"[,;\n]", words))
    phrases = (part.rstrip(". ") for part in parts)
    return list(dict.fromkeys(phrase for phrase in phrases if phrase))
