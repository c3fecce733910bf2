"""Steps of a clean-up as values: checked when they are made, saved as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from napari_sam._io_image import replacing
from napari_sam._label_regions import EXCESS

if TYPE_CHECKING:
    from napari_sam._io_image import PathLike

Kind: TypeAlias = Literal["length", "size", "count", "flag"]
Which: TypeAlias = Literal["all", "selected", "this"]
Value: TypeAlias = float | int | bool

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Parameter:
    """A parameter of an operation, as a form shows it.

    Parameters
    ----------
    name : str
        As the function of `napari_sam.postprocess` calls it.
    kind : {"length", "size", "count", "flag"}
        A length is in the unit of the spacing, a size its square in 2D, its cube in
        3D; a count is a whole number from 1; a flag is on or off.
    default : float, int, bool or None
        None if it must be given.
    """

    name: str
    kind: Kind
    default: Value | None = None


_DROP = Parameter("drop_vanished", "flag", False)

OPERATIONS: dict[str, tuple[Parameter, ...]] = {
    "fill_holes": (Parameter("max_size", "size"),),
    "remove_small_objects": (
        Parameter("min_size", "size"),
        Parameter("whole_objects", "flag", False),
    ),
    "keep_largest": (Parameter("count", "count", 1),),
    "split_components": (),
    "erode": (Parameter("radius", "length"), _DROP),
    "dilate": (Parameter("radius", "length"),),
    "opening": (Parameter("radius", "length"), _DROP),
    "closing": (Parameter("radius", "length"),),
    "smooth": (Parameter("sigma", "length"),),
}
"""What can be done, by the name of its function in `napari_sam.postprocess`."""

# Without it the function has a meaning of its own: all holes.
_MAY_BE_ABSENT = {("fill_holes", "max_size")}
# How far beyond its box a label can reach, in units of the parameter.
_REACH = {"dilate": ("radius", 1), "closing": ("radius", 1), "smooth": ("sigma", 4)}


@dataclass(frozen=True)
class CleanupStep:
    """One step of cleaning a label image.

    Parameters
    ----------
    operation : str
        A name in `OPERATIONS`.
    parameters : dict, optional
        Values by name, lengths and sizes in the unit of the spacing.
    dimensions : {2, 3}
        2: each plane (the last two axes) by itself; 3: the whole volume. Of a single
        plane the same.
    labels : {"all", "selected", "this"}
        Which labels it works on; which those are is said when it is run.

    Raises
    ------
    ValueError
        If there is no such operation, or a value is missing, unknown or out of range.

    Examples
    --------
    >>> CleanupStep("opening", {"radius": 1.5}, dimensions=2).labels
    'all'
    """

    operation: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    dimensions: int = 3
    labels: Which = "all"

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            raise ValueError(
                f"operation must be one of {known}, got {self.operation!r}."
            )
        if self.dimensions not in (2, 3):
            raise ValueError(f"dimensions must be 2 or 3, got {self.dimensions!r}.")
        if self.labels not in ("all", "selected", "this"):
            raise ValueError(
                f"labels must be all, selected or this, got {self.labels!r}."
            )
        if not isinstance(self.parameters, Mapping):
            raise ValueError(f"parameters must be a dict, got {self.parameters!r}.")
        known_here = {one.name: one for one in OPERATIONS[self.operation]}
        if unknown := set(self.parameters) - set(known_here):
            raise ValueError(
                f"parameters of {self.operation} must be among {[*known_here]}, "
                f"got {sorted(map(str, unknown))}."
            )
        values = {
            name: _check(self.operation, one, self.parameters.get(name, one.default))
            for name, one in known_here.items()
        }
        kept = {name: value for name, value in values.items() if value is not None}
        object.__setattr__(self, "parameters", kept)

    @property
    def reach(self) -> float:
        """How far from its box a label can change pixels, in the spacing's unit."""
        name, factor = _REACH.get(self.operation, ("", 0))
        return float(self.parameters.get(name, 0)) * factor * EXCESS


def _check(operation: str, parameter: Parameter, value: Any) -> Value | None:
    """Return a parameter's value in its own type; ValueError if it is none."""
    if value is None and (operation, parameter.name) in _MAY_BE_ABSENT:
        return None
    name = f"{parameter.name} of {operation}"
    if parameter.kind == "flag":
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name} must be true or false, got {value!r}.")
        return bool(value)
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(
        value, bool
    )
    if not is_number or not 0 < value < np.inf:
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    if parameter.kind == "count":
        if value % 1:
            raise ValueError(f"{name} must be a whole number, got {value!r}.")
        return int(value)
    return float(value)


def write_steps(path: PathLike, steps: Sequence[CleanupStep]) -> None:
    """Save steps as JSON, to use them again.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced in one step.
    steps : sequence of CleanupStep

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "steps": [
            {
                "operation": step.operation,
                "parameters": dict(step.parameters),
                "dimensions": step.dimensions,
                "labels": step.labels,
            }
            for step in steps
        ],
    }
    with replacing(Path(path)) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_steps(path: PathLike) -> list[CleanupStep]:
    """Read steps that `write_steps` saved, or that were written by hand.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    list of CleanupStep

    Raises
    ------
    ValueError
        If there is no such file, or it holds no such steps.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"path must be an existing file, got {file}.")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"its schema_version must be {SCHEMA_VERSION}")
        return [CleanupStep(**step) for step in content["steps"]]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ValueError(f"{file} must hold clean-up steps: {reason}.") from None
