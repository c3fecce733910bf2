"""A model beside the one that segments: downloaded, loaded, and kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from napari_sam._qt.progress import Progress
from napari_sam._qt.transfer import Transfer
from napari_sam.registry import download, is_available
from napari_sam.types import ModelSpec

Model = TypeVar("Model")


@dataclass
class KeptModel(Generic[Model]):
    """The model that was used last; another one takes its place.

    Parameters
    ----------
    load : callable
        Makes a model of a name or a folder.
    known : mapping of str to ModelSpec
        Those that have names.
    """

    load: Callable[[str], Model]
    known: Mapping[str, ModelSpec]
    _kept: dict[str, Model] = field(default_factory=dict)

    def prepare(
        self, name: str, transfer: Transfer
    ) -> Generator[Progress, None, Model]:
        """Download a model if needed, and load it.

        Parameters
        ----------
        name : str
            Or a folder.
        transfer : Transfer
            Follows the download, and may cancel it.

        Yields
        ------
        Progress

        Returns
        -------
        object
            The model.
        """
        if name not in self._kept:
            spec = self.known.get(name)
            if spec is not None and not is_available(spec):
                transfer.begin()
                yield Progress(0, f"Downloading {name}, {spec.size}, once")
                download(spec, transfer)
            yield Progress(0, f"Loading {Path(name).name}")
            self._kept = {name: self.load(name)}
        return self._kept[name]
