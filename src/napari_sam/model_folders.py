"""Folders of the transformers library's models: found, fetched, recognised, opened.

The library is optional: it is imported when a model is opened. A model is a folder
with ``config.json`` and the weights as ``*.safetensors``, as its page on Hugging Face
has them; pickled weights, which could run code, are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pooch
import torch
from torch import nn

from napari_sam.types import Architecture, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

Kind = TypeVar("Kind")

INSTALL = 'pip install "napari-sam-stacks[transformers]"'
CONFIG, WEIGHTS = "config.json", "*.safetensors"
# Of all weights in a repository those that the library opens.
DOWNLOADED = "model*.safetensors"
TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "*_map.json", "added_tokens.json")
_REFUSED = (401, 403)  # how a page answers who has no access
# Bytes between two looks at whether a download is still wanted.
_CHUNK = 1 << 16

Colour = tuple[float, float, float]


class Standard(NamedTuple):
    """Mean and standard deviation of red, green and blue that a model was trained with.

    Parameters
    ----------
    mean, std : tuple of float
        Of pixels between 0 and 1.
    """

    mean: Colour
    std: Colour

    def of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Standardise pixels (..., 3, H, W) between 0 and 1."""
        mean, std = (pixels.new_tensor(one)[:, None, None] for one in self)
        return (pixels - mean) / std


IMAGENET = Standard((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = Standard(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)
HALF = Standard((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Family:
    """What the models of one kind have in common.

    Parameters
    ----------
    encoder : str
        Name of the family in `ModelSpec.encoder`.
    class_name : str
        The library's class.
    stretches : bool
        Whether planes are stretched to a square; else they are padded, as for SAM.
    standard : Standard
        What pixels are standardised by.
    remembers : bool
        Whether the class is one for videos, which remembers objects.
    needs : str
        A package that the library builds the encoder with, if there is one.
    """

    encoder: Architecture
    class_name: str
    stretches: bool = True
    standard: Standard = IMAGENET
    remembers: bool = False
    needs: str = ""


SAM2 = Family("sam2", "Sam2Model")
SAM2_VIDEO = Family("sam2", "Sam2VideoModel", remembers=True)
SAM3 = Family("sam3", "Sam3TrackerModel", standard=HALF)
# Also the better one for single images: in version 5.23 of the library the other class
# adds the embedding of "no memory" to features that the decoder never sees.
SAM3_VIDEO = Family("sam3", "Sam3TrackerVideoModel", standard=HALF, remembers=True)
EDGETAM = Family("edgetam", "EdgeTamModel", needs="timm")
EDGETAM_VIDEO = Family("edgetam", "EdgeTamVideoModel", remembers=True, needs="timm")
SAM_HQ = Family("sam_hq", "SamHQModel", stretches=False)

# By "model_type" in config.json; checkpoints for video answer single images, too.
FAMILIES = {
    "sam2": SAM2,
    "sam2_video": SAM2_VIDEO,
    "sam3_tracker": SAM3,
    "sam3_tracker_video": SAM3_VIDEO,
    "sam3_video": SAM3_VIDEO,
    "edgetam": EDGETAM,
    "edgetam_video": EDGETAM_VIDEO,
    "sam_hq": SAM_HQ,
}


def hub_spec(
    name: str, encoder: Architecture, repository: str, about: tuple[str, str, str]
) -> ModelSpec:
    """Describe a model on Hugging Face.

    Parameters
    ----------
    name : str
        Also of its folder among the downloads.
    encoder : str
        As in `ModelSpec`.
    repository : str
        Owner and name.
    about : tuple of str
        Licence, size of the download, and description.
    """
    license, size, description = about
    page = f"https://huggingface.co/{repository}"
    return ModelSpec(
        name, encoder, page, "", license, description, name, False, repository, size
    )


SPECS = (
    *(
        hub_spec(
            f"sam2.1_hiera_{short}",
            "sam2",
            f"facebook/sam2.1-hiera-{short.replace('_', '-')}",
            ("Apache-2.0", size, f"Segment Anything 2.1, {words}: photographs, video"),
        )
        for short, size, words in (
            ("tiny", "160 MB", "tiny"),
            ("small", "190 MB", "small"),
            ("base_plus", "330 MB", "base"),
            ("large", "900 MB", "large"),
        )
    ),
    hub_spec(
        "edgetam",
        "edgetam",
        "yonigozlan/EdgeTAM-hf",
        ("Apache-2.0", "56 MB", "EdgeTAM: photographs, video; small and fast"),
    ),
    *(
        hub_spec(
            f"sam_hq_vit_{short[0]}",
            "sam_hq",
            f"syscv-community/sam-hq-vit-{short}",
            ("Apache-2.0", size, f"SAM-HQ, {short}: photographs, sharper outlines"),
        )
        for short, size in (("base", "380 MB"), ("large", "1.3 GB"), ("huge", "2.6 GB"))
    ),
    hub_spec(
        "sam3_tracker",
        "sam3",
        "facebook/sam3",
        (
            "SAM License; access must be asked for on the model's page",
            "3.4 GB",
            "Segment Anything 3, points and boxes: photographs, video",
        ),
    ),
)


def missing(needs: str = "") -> str | None:
    """Say what must be installed before a model can be opened; None if nothing.

    Parameters
    ----------
    needs : str
        As in `Family`.
    """
    if find_spec("transformers") is None:
        return f"needs the transformers library: {INSTALL}"
    if needs and find_spec(needs) is None:
        return f"needs the package {needs}: pip install {needs}"
    return None


def check_installed(needs: str = "") -> None:
    """Refuse to go on without the library, and without what else a model needs.

    Parameters
    ----------
    needs : str
        As in `Family`.

    Raises
    ------
    ImportError
        With what to install.
    """
    reason = missing(needs)
    if reason is not None:
        raise ImportError(f"this model {reason}")


def needs_of(spec: ModelSpec) -> str:
    """Return the package that a model needs beside the library; "" if none."""
    of_family = (one.needs for one in FAMILIES.values() if one.encoder == spec.encoder)
    return next(of_family, "")


def is_model_folder(folder: Path) -> bool:
    """Whether a folder has a configuration and weights."""
    return (folder / CONFIG).is_file() and any(folder.glob(WEIGHTS))


def fetch(spec: ModelSpec, folder: Path, progressbar: Any = False) -> Path:
    """Download a model's files from Hugging Face, unless they are there.

    Parameters
    ----------
    spec : ModelSpec
    folder : Path
    progressbar : bool, or what pooch takes as a progress bar
        As in `napari_sam.registry.download`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ImportError
        Without the transformers library.
    OSError
        If they cannot be fetched, with what to put where instead.
    """
    if is_model_folder(folder):
        return folder
    check_installed(needs_of(spec))
    words = TOKENIZER if spec.encoder == "detector" else ()
    wanted = (CONFIG, DOWNLOADED, *words)
    try:
        _fetch_files(spec.repository, folder, wanted, progressbar)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        if getattr(getattr(error, "response", None), "status_code", 0) in _REFUSED:
            reason = (
                "you must accept its licence on its page, and log in on this computer "
                "with: hf auth login"
            )
        raise OSError(
            f"could not download {spec.name} ({reason}); fetch {CONFIG}"
            f"{', the files of the tokenizer' if words else ''} and model.safetensors "
            f"from {spec.url} by other means and save them in {folder}, where they are "
            "found."
        ) from error
    return folder


def _fetch_files(
    repository: str, folder: Path, wanted: Sequence[str], progressbar: Any
) -> None:
    """Download files of the newest version; those that are whole already are kept."""
    # Not the library's own download: it cannot be stopped midway.
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    hub = HfApi()
    try:
        found = hub.model_info(repository, files_metadata=True)
    except Exception as error:  # its HTTP client has errors of its own
        raise OSError(str(error)) from error
    files = [
        one
        for one in found.siblings or ()
        if "/" not in one.rfilename
        and any(fnmatch(one.rfilename, pattern) for pattern in wanted)
    ]
    get = pooch.HTTPDownloader(progressbar, _CHUNK, headers=build_hf_headers())
    # The configuration is the last: without it a folder is not taken for a model.
    for one in sorted(files, key=lambda one: one.rfilename == CONFIG):
        url = hf_hub_url(
            repository, one.rfilename, revision=found.sha, endpoint=hub.endpoint
        )
        checksum = f"sha256:{one.lfs.sha256}" if one.lfs else None
        pooch.retrieve(url, checksum, one.rfilename, folder, downloader=get)
    if not is_model_folder(folder):
        raise ValueError(f"its page lacks {CONFIG} or {WEIGHTS}")


def read_kind(folder: Path, kinds: Mapping[str, Kind]) -> Kind:
    """Tell from its configuration which kind of model a folder has.

    Parameters
    ----------
    folder : Path
    kinds : mapping
        By the configuration's "model_type".

    Raises
    ------
    FileNotFoundError
        If the folder has no configuration or no weights.
    ValueError
        If they are of none of the kinds.
    """
    if not is_model_folder(folder):
        raise FileNotFoundError(
            f"there is no checkpoint file {folder}; a model's folder must have "
            f"{CONFIG} and {WEIGHTS}."
        )
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{folder / CONFIG} does not say a model_type.") from None
    if kind not in kinds:
        raise ValueError(
            f"{folder} must be a model of {', '.join(sorted(kinds))}, got {kind!r}."
        )
    return kinds[kind]


def folder_checksum(folder: Path) -> str:
    """Checksum of a model's configuration and weights."""
    files = [folder / CONFIG, *sorted(folder.glob(WEIGHTS))]
    sums = "".join(pooch.file_hash(str(file), alg="xxh128") for file in files)
    return f"xxh128:{sums}"


def read_network(folder: Path, class_name: str) -> nn.Module:
    """Open a folder's model; every tensor must be there and fit.

    Raises
    ------
    ImportError
        Without the transformers library, or a package that it needs for this model.
    ValueError
        If files are damaged, or weights are missing.
    """
    check_installed()
    import transformers

    kind = getattr(transformers, class_name)
    try:
        network, found = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ImportError(f"{folder} cannot be opened: {reason}") from error
    except Exception as error:  # what is raised depends on which file is damaged
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(f"{folder} cannot be opened as a model: {reason}.") from error
    lacking = sorted(found["missing_keys"])
    if lacking:
        raise ValueError(
            f"{folder} lacks {len(lacking)} of the model's weights, {lacking[0]} first."
        )
    return network  # type: ignore[no-any-return]
