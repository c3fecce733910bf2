"""The models there are, and how to load one.

Checkpoints come with the package, are downloaded once and checked, or are the user's
own files: of SAM, MobileSAM, MedSAM or micro-sam, or models fine-tuned here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import pooch

from napari_sam import model_folders
from napari_sam._checkpoint_files import (
    build_from_state as build_from_state,
)
from napari_sam._checkpoint_files import (
    named_tensors,
    read_file,
)
from napari_sam._checkpoint_files import (
    read_state as read_state,
)
from napari_sam._checkpoint_files import (
    recognise_encoder as recognise_encoder,
)
from napari_sam._model_table import MODELS as MODELS
from napari_sam._tuned_checkpoint import (
    TunedAbout,
    is_tuned,
    read_about,
    tuned_state,
)
from napari_sam.families import load_family
from napari_sam.modeling.precision import choose_device, choose_dtype
from napari_sam.predictor import Predictor
from napari_sam.types import ModelSpec, Precision

if TYPE_CHECKING:
    from torch import Tensor

CACHE_VARIABLE = "NAPARI_SAM_CACHE"
"""Environment variable that moves the directory of downloads and embeddings."""
MODELS_VARIABLE = "NAPARI_SAM_MODELS"
"""Environment variable that moves the directory of the user's own models."""


def list_models() -> tuple[ModelSpec, ...]:
    """Return the models `load_model` knows by name, the default first.

    The user's fine-tuned ones, in `models_directory`, are the last.
    """
    return (*MODELS.values(), *_own_models().values())


def cache_directory() -> Path:
    """Directory of downloaded checkpoints; it is not created here.

    The user's cache directory, or ``NAPARI_SAM_CACHE`` if that is set.
    """
    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("napari-sam"))


def models_directory() -> Path:
    """Directory of the user's fine-tuned models; it is not created here.

    The user's data directory, or ``NAPARI_SAM_MODELS`` if that is set.
    """
    given = os.environ.get(MODELS_VARIABLE)
    return Path(given or platformdirs.user_data_path("napari-sam") / "models")


def _own_models() -> dict[str, ModelSpec]:
    """Fine-tuned models in the user's directory; what is none is left out."""
    found: dict[str, ModelSpec] = {}
    for path in sorted(models_directory().glob("*.pt")):
        try:
            loaded = read_file(path, lazily=True)
            about = read_about(loaded, str(path)) if is_tuned(loaded) else None
        except (OSError, ValueError):
            continue
        if about is not None and path.stem not in MODELS:
            found[path.stem] = _own_spec(path, about)
    return found


def _own_spec(path: Path, about: TunedAbout) -> ModelSpec:
    count = about.data.get("train_objects", "?")
    return ModelSpec(
        path.stem,
        about.encoder,  # type: ignore[arg-type]
        "",
        "",
        about.license,
        f"fine-tuned from {Path(about.base).stem}: {count} objects of yours",
        str(path.absolute()),
    )


def get_spec(name: str) -> ModelSpec:
    """Return the model of this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(name, str) and name in MODELS:
        return MODELS[name]
    own = _own_models()
    if not isinstance(name, str) or name not in own:
        names = ", ".join([*MODELS, *own])
        raise ValueError(f"model must be one of {names}, got {name!r}.")
    return own[name]


def checkpoint_path(spec: ModelSpec) -> Path:
    """Where a model's checkpoint is, or will be once it is downloaded."""
    if spec.bundled:
        return Path(str(resources.files("napari_sam"))) / "weights" / spec.file_name
    # Of the user's own models this is an absolute path, and stays that.
    return cache_directory() / spec.file_name


def is_available(spec: ModelSpec) -> bool:
    """Whether a model's checkpoint is on this machine (not whether it is intact)."""
    path = checkpoint_path(spec)
    return model_folders.is_model_folder(path) if spec.repository else path.is_file()


def missing_extra(spec: ModelSpec) -> str | None:
    """Say what has to be installed before a model can be used; None if nothing."""
    if not spec.repository:
        return None
    return model_folders.missing(model_folders.needs_of(spec))


def download(spec: ModelSpec, progressbar: Any = False) -> Path:
    """Fetch a model's checkpoint unless it is there, and check it.

    Parameters
    ----------
    spec : ModelSpec
    progressbar : bool, or what pooch takes as a progress bar
        Show progress on the standard error stream (needs tqdm), or tell it to an
        object; what that raises ends the download.

    Returns
    -------
    Path
        The file, its checksum verified.

    Raises
    ------
    OSError
        If it cannot be fetched, with what to put where instead; or if the file that
        comes with the package is damaged.
    """
    path = checkpoint_path(spec)
    if spec.repository:
        return model_folders.fetch(spec, path, progressbar)
    if spec.bundled:
        if not path.is_file() or not pooch.hashes.hash_matches(path, spec.checksum):
            raise OSError(
                f"{path} is missing or damaged; install napari-sam-stacks again."
            )
        return path
    if not spec.url:
        if not path.is_file():
            raise FileNotFoundError(f"there is no checkpoint file {path}.")
        return path
    try:
        fetched = pooch.retrieve(
            spec.url,
            known_hash=spec.checksum,
            fname=path.name,
            path=path.parent,
            progressbar=progressbar,
        )
    except (OSError, ValueError) as error:
        raise OSError(
            f"could not download {spec.name} ({error}); fetch {spec.url} by other "
            f"means and save it as {path}, where it is found and checked."
        ) from error
    return Path(fetched)


def load_model(
    name: str = "mobile_sam",
    checkpoint: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Predictor:
    """Load a model by name, or from a checkpoint of your own.

    Parameters
    ----------
    name : str
        One of `list_models`; downloaded on first use, except ``"mobile_sam"``, which
        comes with the package. Only a label if ``checkpoint`` is given.
    checkpoint : path, optional
        A file in the format of SAM, MobileSAM, MedSAM or micro-sam, which encoder it
        holds is recognised; or the folder of a model of the transformers library.
    device : str
        ``"auto"`` (an accelerator if there is one) or a torch device.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``"auto"`` is bfloat16 where the hardware has it, float32 elsewhere.

    Returns
    -------
    Predictor

    Raises
    ------
    ValueError
        If there is no such model, device or precision, or the file is no checkpoint
        of a known kind.
    OSError
        If the file is missing or cannot be downloaded.
    ImportError
        If the model needs a library that is not installed.

    Examples
    --------
    >>> import napari_sam as ns
    >>> ns.load_model("mobile_sam", precision="float32")
    Predictor('mobile_sam', device='cpu', torch.float32)
    """
    choose_dtype(choose_device(device), precision)  # refused before a download
    folder = _folder_of(name) if checkpoint is None else _checked_path(checkpoint)
    if folder is not None and folder.is_dir():
        label = name if checkpoint is None else folder.name
        return load_family(folder, label, device, precision)
    opened = open_named(name) if checkpoint is None else open_file(checkpoint)
    model = build_from_state(opened.state, opened.source)
    return Predictor(model, opened.checksum, opened.name, device, precision)


def _folder_of(name: str) -> Path | None:
    spec = get_spec(name)
    return download(spec) if spec.repository else None


def _checked_path(checkpoint: str | os.PathLike[str]) -> Path:
    if not isinstance(checkpoint, (str, os.PathLike)):
        raise ValueError(f"checkpoint must be a path, got {checkpoint!r}.")
    path = Path(checkpoint).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint file {path}.")
    return path


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A checkpoint in memory, and where it comes from.

    Parameters
    ----------
    name, source, checksum, license : str
        `source` is the file; the checksum is of it.
    state : mapping of str to Tensor
        All tensors by their official names.
    root : str
        Name of the model, or path of the checkpoint, that it was fine-tuned from, or
        its own.
    root_checksum : str
    root_state : mapping of str to Tensor
        Tensors of the root; `state` itself if it was not fine-tuned.
    """

    name: str
    source: str
    checksum: str
    license: str
    state: Mapping[str, Tensor]
    root: str
    root_checksum: str
    root_state: Mapping[str, Tensor]


def open_base(model: str | os.PathLike[str]) -> OpenedModel:
    """Read a model by name, or a checkpoint by path.

    Parameters
    ----------
    model : str or path
        A str counts as a path if there is such a file and no such model.

    Raises
    ------
    ValueError
        If it is neither, or the file is no checkpoint, or a fine-tuned model whose
        base is missing or another one now.
    OSError
        If it cannot be read or downloaded.
    """
    is_name = isinstance(model, str) and model in [one.name for one in list_models()]
    if isinstance(model, os.PathLike) or (
        isinstance(model, str) and not is_name and Path(model).expanduser().is_file()
    ):
        return open_file(model)
    return open_named(model)


def open_named(name: str) -> OpenedModel:
    """Read a model by name; as `open_base`."""
    spec = get_spec(name)
    about = spec.name, spec.name, spec.license
    return _open(download(spec), spec.checksum, about)


def open_file(checkpoint: str | os.PathLike[str]) -> OpenedModel:
    """Read a checkpoint by path; as `open_base`."""
    path = _checked_path(checkpoint)
    license_ = "that of the checkpoint it was made from"
    return _open(path, "", (path.stem, str(path.absolute()), license_))


def _open(path: Path, checksum: str, named: tuple[str, str, str]) -> OpenedModel:
    """Read a file; `named` is its name, what it is found by, and its licence."""
    name, root, license_ = named
    if path.is_dir():
        raise ValueError(
            f"{name} is a model of the transformers library, and those cannot be "
            "fine-tuned here."
        )
    checksum = checksum or f"xxh128:{pooch.file_hash(str(path), alg='xxh128')}"
    loaded = read_file(path)
    if not is_tuned(loaded):
        state = named_tensors(loaded, str(path))
        parts = (root, checksum, state)
        return OpenedModel(name, str(path), checksum, license_, state, *parts)
    about = read_about(loaded, str(path))
    base = _find_base(about, path)
    state = tuned_state(base, loaded, str(path))
    parts = (about.base, about.base_checksum, base)
    return OpenedModel(name, str(path), checksum, about.license, state, *parts)


def _find_base(about: TunedAbout, tuned: Path) -> dict[str, Tensor]:
    """Tensors of the model that a file was fine-tuned from, if it is still that."""
    if about.base in MODELS:
        spec = MODELS[about.base]
        if spec.checksum != about.base_checksum:
            raise ValueError(
                f"{tuned} was fine-tuned from another version of {about.base}, "
                f"{about.base_checksum}."
            )
        return read_state(download(spec))
    base = Path(about.base)
    places = (base, tuned.parent / base.name, models_directory() / base.name)
    files = [place for place in places if place.is_file()]
    for file in files:
        algorithm, _, wanted = about.base_checksum.partition(":")
        if pooch.file_hash(str(file), alg=algorithm) == wanted:
            return read_state(file)
    if files:
        raise ValueError(
            f"{tuned} was fine-tuned from {base.name} as it was then "
            f"({about.base_checksum}); {files[0]} is another file now."
        )
    raise ValueError(
        f"{tuned} needs the checkpoint that it was fine-tuned from, {base}; put it "
        f"there or into {tuned.parent}."
    )
