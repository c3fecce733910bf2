"""Many images: their labels in a folder, and how far each of them is.

The folder of the labels holds a state file, `series.json`, which is replaced as a
whole at each change. So a series can be left at any time, by closing the window or
by a power cut, and is taken up again where it was.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

from numpy.typing import ArrayLike, NDArray

from napari_sam._io_image import ImageFile, replacing
from napari_sam.io import read_labels, write_labels

if TYPE_CHECKING:
    from napari_sam._io_image import PathLike

State: TypeAlias = Literal["untouched", "in work", "done", "failed"]

STATE_FILE = "series.json"
SCHEMA_VERSION = 1
LABELS = "_labels"
_MEDICAL = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_IMAGES = (*_MEDICAL, ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class SeriesImage:
    """One image of a series.

    Parameters
    ----------
    name : str
        Path within the series.
    path : Path
    labels : Path
        File of its labels, whether it exists or not.
    state : {"untouched", "in work", "done", "failed"}
    message : str
        Why it failed.
    """

    name: str
    path: Path
    labels: Path
    state: State = "untouched"
    message: str = ""


def find_images(source: PathLike) -> list[Path]:
    """Find the images of a folder, or those that a pattern names.

    Parameters
    ----------
    source : str or path-like
        A folder: all images in it, not in folders within. Or a pattern with ``*``,
        ``?`` and ``**``, such as ``data/**/*.tif``. Label files of a series are left
        out.

    Returns
    -------
    list of Path
        In the order of their names.

    Raises
    ------
    ValueError
        If there is none.
    """
    folder = Path(source)
    if folder.is_dir():
        found = [one for one in folder.iterdir() if one.name.lower().endswith(_IMAGES)]
    else:
        found = [Path(one) for one in glob.glob(os.fspath(source), recursive=True)]
    images = [one for one in found if not _stem(one).endswith(LABELS) and one.is_file()]
    if not images:
        raise ValueError(f"source must be a folder or pattern of images, got {source}.")
    return sorted(images)


def _stem(path: Path) -> str:
    """Name without its extension, also of .nii.gz and .ome.tif."""
    lower = path.name.lower()
    for ending in (".nii.gz", ".ome.tif", ".ome.tiff"):
        if lower.endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


class ImageSeries:
    """Images, the folder of their labels, and the state of each.

    Parameters
    ----------
    images : sequence of str or path-like
        Files, each once.
    folder : str or path-like
        Where labels and states are; made when something is first written.
    settings : dict, optional
        What the labels are made with, as JSON holds it. A folder of other settings is
        refused, as old and new labels would be mixed.

    Raises
    ------
    ValueError
        If there are no images, one comes twice, or the state file is damaged or of
        other settings.

    Examples
    --------
    >>> import tempfile
    >>> series = ImageSeries(["a/x.tif", "a/y.png"], tempfile.mkdtemp())
    >>> [(one.name, one.labels.name, one.state) for one in series]
    [('x.tif', 'x_labels.tif', 'untouched'), ('y.png', 'y_labels.tif', 'untouched')]
    """

    def __init__(
        self,
        images: Sequence[PathLike],
        folder: PathLike,
        settings: dict[str, Any] | None = None,
    ) -> None:
        paths = [Path(image) for image in images]
        if not paths:
            raise ValueError("images must name at least one file.")
        if len({path.resolve() for path in paths}) < len(paths):
            raise ValueError("images must name each file once.")
        self.folder = Path(folder)
        # As JSON gives it back, so that tuples and lists compare equal.
        self.settings = json.loads(json.dumps(settings or {}))
        known = self._read_states()
        self._images = {
            one.name: _recalled(one, known.get(one.name, {}))
            for one in _named(paths, self.folder)
        }

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[SeriesImage]:
        return iter([*self._images.values()])

    def __getitem__(self, name: str) -> SeriesImage:
        """Return the image of a name, as it is now.

        Raises
        ------
        ValueError
            If there is none.
        """
        if name not in self._images:
            raise ValueError(f"name must be an image of the series, got {name!r}.")
        return self._images[name]

    @property
    def unfinished(self) -> list[SeriesImage]:
        """Images that are not done, those that failed too."""
        return [image for image in self if image.state != "done"]

    def mark(self, name: str, state: State, message: str = "") -> SeriesImage:
        """Set and save the state of an image.

        Parameters
        ----------
        name : str
        state : {"untouched", "in work", "done", "failed"}
        message : str, optional

        Returns
        -------
        SeriesImage
            As it is now.

        Raises
        ------
        ValueError
            If there is no such image or state.
        OSError
            If the state cannot be saved; it is then as before.
        """
        if state not in get_args(State):
            raise ValueError(
                f"state must be one of {', '.join(get_args(State))}, got {state!r}."
            )
        image = replace(self[name], state=state, message=message)
        changed = self._images | {name: image}
        content = {
            "schema_version": SCHEMA_VERSION,
            "settings": self.settings,
            "images": {
                one.name: {"state": one.state, "message": one.message}
                for one in changed.values()
                if one.state != "untouched"
            },
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / STATE_FILE) as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")
        self._images = changed
        return image

    def save_labels(
        self, name: str, labels: ArrayLike | ImageFile, like: ImageFile | None = None
    ) -> Path:
        """Write the labels of an image; its state is not changed.

        Parameters
        ----------
        name : str
        labels, like
            As `napari_sam.write_labels` takes them.

        Returns
        -------
        Path

        Raises
        ------
        ValueError, OSError
            As `napari_sam.write_labels`.
        """
        return write_into(self[name].labels, labels, like)

    def read_labels(self, name: str) -> ImageFile | None:
        """Read the labels of an image; None if there are none yet.

        Parameters
        ----------
        name : str

        Raises
        ------
        ValueError
            If there is no such image, or its labels are damaged.
        """
        image = self[name]
        return read_labels(image.labels) if image.labels.exists() else None

    def _read_states(self) -> dict[str, Any]:
        path = self.folder / STATE_FILE
        if not path.exists():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version, states = content["schema_version"], dict(content["images"])
            settings = content["settings"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}); remove it.") from None
        if version != SCHEMA_VERSION:
            raise ValueError(f"{path} is of version {version}, not {SCHEMA_VERSION}.")
        if self.settings and settings and settings != self.settings:
            raise ValueError(
                f"{self.folder} holds labels made with other settings; choose another "
                "folder, or start again."
            )
        self.settings = self.settings or settings
        return states


def _named(paths: list[Path], folder: Path) -> Iterator[SeriesImage]:
    """Give images short names, and labels names that no two images share."""
    absolute = [path.absolute() for path in paths]
    common = Path(os.path.commonpath([path.parent for path in absolute]))
    names = [path.relative_to(common) for path in absolute]
    bare = [name.with_name(_stem(name)) for name in names]
    for path, name, stem in zip(paths, names, bare, strict=True):
        unique = stem if bare.count(stem) == 1 else name
        ending = ".nii.gz" if name.name.lower().endswith(_MEDICAL) else ".tif"
        labels = folder / unique.with_name(f"{unique.name}{LABELS}{ending}")
        yield SeriesImage(name.as_posix(), path, labels)


def _recalled(image: SeriesImage, entry: dict[str, Any]) -> SeriesImage:
    """Return an image in its saved state, unless its labels are gone."""
    state = entry.get("state", "untouched")
    if state not in get_args(State) or (state == "done" and not image.labels.exists()):
        return image
    return replace(image, state=state, message=str(entry.get("message", "")))


def write_into(
    path: Path, labels: ArrayLike | ImageFile, like: ImageFile | None = None
) -> Path:
    """Write labels as `napari_sam.write_labels`; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, labels, like=like)
    return path


class ImageWork(Protocol):
    """What is done with each image; planes may be done in different processes."""

    def planes(self, path: Path) -> Sequence[Any]:
        """Planes of an image; anything `segment` understands, to be pickled."""

    def segment(self, path: Path, plane: Any) -> NDArray[Any]:
        """Segment one plane of an image: labels of shape (H, W)."""

    def combine(self, path: Path, labels: Sequence[NDArray[Any]]) -> ImageFile:
        """Make the labels of an image of those of its planes, in their order."""


@dataclass(frozen=True)
class SeriesProgress:
    """How far a series is.

    Parameters
    ----------
    image : SeriesImage
        The image that something was done for, in its state now.
    done, total : int
        Planes of it that are done, and all; 0 if not known.
    """

    image: SeriesImage
    done: int = 0
    total: int = 0


def run_series(
    series: ImageSeries, make_work: Callable[[], ImageWork]
) -> Generator[SeriesProgress, None, list[SeriesImage]]:
    """Work through the images that are not done yet.

    An image that fails is noted with the reason, and the next one is begun.

    Parameters
    ----------
    series : ImageSeries
    make_work : callable
        Makes what is done with each image; called once.

    Yields
    ------
    SeriesProgress
        After each plane, and when an image is done or has failed. Closing the
        generator stops the work; the image that it was at is begun again next time.

    Returns
    -------
    list of SeriesImage
        Those that failed.

    Raises
    ------
    OSError
        If a state cannot be saved.
    """
    work = make_work()
    failed = []
    for image in series.unfinished:
        series.mark(image.name, "in work")
        try:
            yield from _each_plane(series, image, work)
        except Exception as error:
            # One bad image must not cost the night that the others would have taken.
            now = series.mark(image.name, "failed", reason(error))
            failed.append(now)
        else:
            now = series.mark(image.name, "done")
        yield SeriesProgress(now)
    return failed


def _each_plane(
    series: ImageSeries, image: SeriesImage, work: ImageWork
) -> Generator[SeriesProgress, None, None]:
    planes = work.planes(image.path)
    found = []
    for plane in planes:
        found.append(work.segment(image.path, plane))
        yield SeriesProgress(series[image.name], len(found), len(planes))
    write_into(image.labels, work.combine(image.path, found))


def reason(error: Exception) -> str:
    """Say in a sentence why an image failed; of unexpected errors their kind too."""
    text = " ".join(str(error).split())
    if isinstance(error, (OSError, ValueError)) and text:
        return text
    return f"{type(error).__name__}: {text}".rstrip(": ")
