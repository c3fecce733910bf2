"""Work on the images of a series with prompts from files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_sam._cli.planes import assemble, by_plane, label_planes
from napari_sam._cli.prompts_file import PromptedObject, read_prompts
from napari_sam._series_work import SessionWork, labels_like
from napari_sam.io import ImageFile

PlaneIndex = tuple[int, ...]


class PromptedWork(SessionWork):
    """What prompts mark in each image.

    Parameters
    ----------
    model, cache_directory
        As `SessionWork` takes them.
    prompts : Path
        A file for all images, or a folder with a file for each.
    """

    def __init__(
        self,
        model: Mapping[str, Any],
        cache_directory: Path | None,
        prompts: Path,
    ) -> None:
        super().__init__(model, cache_directory)
        self.prompts = prompts

    def planes(self, path: Path) -> list[PlaneIndex]:
        """Planes that have prompts, in order."""
        return [*self._planes(path)]

    def segment(self, path: Path, plane: PlaneIndex) -> NDArray[Any]:
        """Segment the objects of a plane: labels of shape (H, W)."""
        session = self.open(path)[1]
        every = self._planes(path)
        found = session.predictor.predict_batch(
            session.embed(plane), [one.prompts for one in every[plane]]
        )
        planes = {plane: every[plane]}
        return label_planes(session, planes, {plane: found})[plane]

    def combine(self, path: Path, labels: Sequence[NDArray[Any]]) -> ImageFile:
        """Put planes where they are in the image; 0 in those without prompts."""
        image, session = self.open(path)
        planes = dict(zip(self._planes(path), labels, strict=True))
        return labels_like(assemble(session, planes), image)

    def _planes(self, path: Path) -> dict[PlaneIndex, list[PromptedObject]]:
        file = self.prompts
        if file.is_dir():
            named = (f"{path.name}.json", f"{path.name.split('.')[0]}.json")
            found = [file / name for name in named if (file / name).is_file()]
            if not found:
                raise ValueError(f"{file} must hold {named[1]}, the prompts of {path}.")
            file = found[0]
        return by_plane(self.open(path)[1], read_prompts(file))
