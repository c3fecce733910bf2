"""What detectors and rankers have in common: a model that knows words, in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from napari_sam.model_folders import check_installed, read_kind, read_network
from napari_sam.modeling.precision import choose_device
from napari_sam.registry import download

if TYPE_CHECKING:
    from torch import nn

    from napari_sam.types import ModelSpec

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")
"""Files of which a folder must have one, so that words mean anything."""


class TextKind(Protocol):
    """How the models of one kind are opened; how they are asked is theirs."""

    @property
    def class_name(self) -> str:
        """The library's class."""


Kind = TypeVar("Kind", bound=TextKind)


class TextModel(Generic[Kind]):
    """A model of the transformers library that knows words.

    Parameters
    ----------
    model : nn.Module
        Of the library's class that the kind names; it is moved to the device.
    tokenizer : callable
        The library's tokenizer.
    kind : TextKind
    name : str
        Shown to the user.
    device : str
        ``"auto"`` or a torch device.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        kind: Kind,
        name: str = "",
        device: str = "auto",
    ) -> None:
        self.name = name
        self.device = choose_device(device)
        self.kind = kind
        self.model: Any = model.eval().to(self.device)
        self.tokenizer = tokenizer

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, device={str(self.device)!r})"


def find_folder(
    given: str | os.PathLike[str], known: Mapping[str, ModelSpec], argument: str
) -> Path:
    """Return the folder of a model by name, downloaded if need be, or of one's own.

    Parameters
    ----------
    given : str or path
        A name or a folder.
    known : mapping of str to ModelSpec
    argument : str
        What `given` is called where it is refused.

    Raises
    ------
    ValueError
        If it is neither.
    ImportError, OSError
        As `napari_sam.registry.download`.
    """
    if isinstance(given, str) and given in known:
        check_installed()
        return download(known[given])
    if isinstance(given, (str, os.PathLike)) and Path(given).is_dir():
        return Path(given)
    raise ValueError(
        f"{argument} must be {', '.join(known)} or a folder, got {given!r}."
    )


def check_folder(folder: Path, kinds: Mapping[str, Kind]) -> Kind:
    """Tell which kind of model a folder has, without opening it.

    Parameters
    ----------
    folder : Path
    kinds : mapping of str to TextKind
        By the configuration's "model_type".

    Raises
    ------
    FileNotFoundError
        If configuration or weights are missing.
    ValueError
        If they are of another kind of model, or there is no tokenizer.
    """
    kind = read_kind(folder, kinds)
    # Without a vocabulary the library makes a tokenizer that knows no words.
    if not any(file.name in VOCABULARIES for file in folder.iterdir()):
        raise ValueError(_no_tokenizer(folder))
    return kind


def open_folder(folder: Path, kind: TextKind) -> tuple[nn.Module, Any]:
    """Open the model and the tokenizer of a folder.

    Raises
    ------
    ImportError, ValueError
        As `read_network`; also if the tokenizer cannot be read.
    """
    model = read_network(folder, kind.class_name)
    from transformers import AutoTokenizer

    try:
        return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # what is raised depends on which file is damaged
        raise ValueError(_no_tokenizer(folder)) from error


def _no_tokenizer(folder: Path) -> str:
    return (
        f"{folder} has no tokenizer that can be read; tokenizer.json and "
        "tokenizer_config.json must be in it."
    )
