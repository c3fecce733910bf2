"""What a run of fine-tuning needs to go on after it was killed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_sam._checkpoint_files import read_file
from napari_sam._finetuning_data import LabelledImage
from napari_sam._finetuning_options import FinetuneOptions, HeldOut
from napari_sam._io_image import replacing

if TYPE_CHECKING:
    from pathlib import Path

RESUME = ".resume"
"""After the name of the result."""
# Options that say when to stop, not what is done until then.
_STOPPING = ("minutes", "steps", "patience")


@dataclass
class Progress:
    """How far a run is, and its best model.

    Parameters
    ----------
    number : int
        Of the last step.
    seconds : float
        Since training began, earlier runs that were resumed counted in.
    start, best : HeldOut, optional
        Figures of the base model, and of the best one.
    weights : dict of str to Tensor, optional
        Of the best model; None if that is the base.
    checks_in_vain : int
        Since the best one was found.
    check_seconds : float
        What a check takes.
    """

    number: int = 0
    seconds: float = 0.0
    start: HeldOut | None = None
    best: HeldOut | None = None
    weights: dict[str, Tensor] | None = None
    checks_in_vain: int = 0
    check_seconds: float = 0.0


def resume_path(target: Path) -> Path:
    """Where the run that writes `target` leaves what it needs to go on."""
    return target.with_name(target.name + RESUME)


def identity_of(
    images: Sequence[LabelledImage], checksum: str, options: FinetuneOptions
) -> str:
    """Hash of everything that decides what the steps of a run do.

    Parameters
    ----------
    images : sequence of LabelledImage
    checksum : str
        Of the model at the start.
    options : FinetuneOptions
    """
    told = {k: v for k, v in asdict(options).items() if k not in _STOPPING}
    digest = hashlib.sha256(repr((sorted(told.items()), checksum)).encode())
    for image in images:
        digest.update(repr((image.group, image.size)).encode())
        digest.update(image.pixels.tobytes() + image.labels.tobytes())
    return digest.hexdigest()


def save(
    target: Path, identity: str, progress: Progress, trainer: Mapping[str, Any]
) -> None:
    """Write how far a run is; a kill meanwhile leaves the last file."""
    state = {**vars(progress), "identity": identity, "trainer": trainer}
    for name in ("start", "best"):
        state[name] = None if state[name] is None else asdict(state[name])
    with replacing(resume_path(target)) as part:
        torch.save(state, part)


def read(target: Path, identity: str) -> tuple[Progress, Mapping[str, Any]]:
    """Return how far a run was, and the state of its trainer.

    Raises
    ------
    ValueError
        If there is no such file, or it is of another run.
    """
    path = resume_path(target)
    if not path.is_file():
        raise ValueError(f"there is nothing to resume: no file {path}.")
    state = read_file(path)
    if not isinstance(state, dict) or state.pop("identity", None) != identity:
        raise ValueError(
            f"{path} belongs to a run with other data, options or model; start again "
            "without resume."
        )
    trainer = state.pop("trainer")
    for name in ("start", "best"):
        state[name] = None if state[name] is None else HeldOut(**state[name])
    return Progress(**state), trainer
