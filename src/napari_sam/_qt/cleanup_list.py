"""The list of clean-up steps as the user edits it; no Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_sam.cleanup import OPERATIONS, CleanupStep, Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

# In pixels: what a parameter without a default begins with.
_FIRST = {"length": 2.0, "size": 25.0}


@dataclass(frozen=True)
class ListedStep:
    """A step, and whether it is switched on."""

    step: CleanupStep
    is_on: bool = True


@dataclass(frozen=True)
class StepList:
    """Steps in their order, one of them chosen.

    Parameters
    ----------
    steps : tuple of ListedStep
    row : int
        The chosen one; -1 for none.

    Examples
    --------
    >>> steps = StepList().added(CleanupStep("fill_holes"))
    >>> steps = steps.added(CleanupStep("split_components")).moved(-1)
    >>> [step.operation for step in steps.active], steps.row
    (['split_components', 'fill_holes'], 0)
    """

    steps: tuple[ListedStep, ...] = ()
    row: int = -1

    @property
    def active(self) -> list[CleanupStep]:
        """Steps that are switched on."""
        return [one.step for one in self.steps if one.is_on]

    @property
    def chosen(self) -> CleanupStep | None:
        """The chosen step."""
        return self.steps[self.row].step if self.row >= 0 else None

    def added(self, step: CleanupStep) -> StepList:
        """Return the list with a step at its end, chosen."""
        return StepList((*self.steps, ListedStep(step)), len(self.steps))

    def removed(self) -> StepList:
        """Return the list without the chosen step."""
        if self.row < 0:
            return self
        left = self.steps[: self.row] + self.steps[self.row + 1 :]
        return StepList(left, min(self.row, len(left) - 1))

    def moved(self, by: int) -> StepList:
        """Return the list with the chosen step a place up (-1) or down (1)."""
        to = self.row + by
        if self.row < 0 or not 0 <= to < len(self.steps):
            return self
        order = list(self.steps)
        order.insert(to, order.pop(self.row))
        return StepList(tuple(order), to)

    def with_row(self, row: int) -> StepList:
        """Return the list with another step chosen."""
        return replace(self, row=row if 0 <= row < len(self.steps) else -1)

    def with_chosen(self, step: CleanupStep) -> StepList:
        """Return the list with another step in the place of the chosen one."""
        if self.row < 0:
            return self
        changed = replace(self.steps[self.row], step=step)
        steps = (*self.steps[: self.row], changed, *self.steps[self.row + 1 :])
        return replace(self, steps=steps)

    def switched(self, row: int, is_on: bool) -> StepList:
        """Return the list with a step switched on or off."""
        changed = replace(self.steps[row], is_on=is_on)
        steps = (*self.steps[:row], changed, *self.steps[row + 1 :])
        return replace(self, steps=steps)

    @classmethod
    def of(cls, steps: Sequence[CleanupStep]) -> StepList:
        """List of steps, all of them on, the first one chosen."""
        return cls(tuple(map(ListedStep, steps)), 0 if steps else -1)


def first_value(parameter: Parameter, pixel: float) -> float | int | bool:
    """Value that a parameter begins with.

    Parameters
    ----------
    parameter : Parameter
    pixel : float
        Length of a pixel in the unit.
    """
    if parameter.default is not None:
        return parameter.default
    power = 2 if parameter.kind == "size" else 1
    return float(f"{_FIRST[parameter.kind] * pixel**power:.2g}")


def new_step(operation: str, pixel: float, dimensions: int) -> CleanupStep:
    """Make a step with values to begin with.

    Parameters
    ----------
    operation : str
    pixel : float
        Length of a pixel in the unit.
    dimensions : {2, 3}

    Examples
    --------
    >>> dict(new_step("opening", 0.5, 2).parameters)
    {'radius': 1.0, 'drop_vanished': False}
    """
    values = {
        one.name: first_value(one, pixel)
        for one in OPERATIONS[operation]
        # Without it, holes of any size are filled.
        if (operation, one.name) != ("fill_holes", "max_size")
    }
    return CleanupStep(operation, values, dimensions)


def summary(step: CleanupStep, unit: str) -> str:
    """Say in a line what a step does.

    Parameters
    ----------
    step : CleanupStep
    unit : str

    Examples
    --------
    >>> summary(CleanupStep("erode", {"radius": 1.5}, 2, "selected"), "µm")
    'Erode 1.5 µm · 2D · selected'
    """
    power = {"length": "", "size": "²" if step.dimensions == 2 else "³"}
    kinds = {one.name: one.kind for one in OPERATIONS[step.operation]}
    values = [
        f"{value:g} {unit}{power[kinds[name]]}"
        if kinds[name] in power
        else f"{value:g}"
        for name, value in step.parameters.items()
        if kinds[name] != "flag"
    ]
    name = step.operation.replace("_", " ").capitalize()
    which = [] if step.labels == "all" else [step.labels]
    return " · ".join([" ".join([name, *values]), f"{step.dimensions}D", *which])
