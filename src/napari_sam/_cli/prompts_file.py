"""Prompts from the command line's options, or from a JSON file.

The file is one object of these fields (others are refused)::

    {
      "schema_version": 1,
      "objects": [
        {
          "id": 1,                          label in the output, 1 or more
          "plane": 12,                      index, or a list of them; none for 2D
          "points": [[30, 40], [35, 60]],   (row, column), pixel centres at integers
          "point_labels": [1, 0],           1 inside, 0 outside; all 1 if left out
          "box": [10, 20, 50, 70]           pixel edges: row, column min and max
        }
      ]
    }

An id may come back in other planes, but only once in each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_sam.types import Plane, Prompts

MAX_LABEL = 2**31 - 1


@dataclass(frozen=True)
class PromptedObject:
    """One object in one plane: what to segment, and the label it gets.

    Parameters
    ----------
    label : int
        1 or more.
    plane : int, tuple of int or None
        As `napari_sam.Session.segment` takes it.
    prompts : Prompts
    """

    label: int
    plane: Plane | None
    prompts: Prompts


@dataclass(frozen=True)
class Given:
    """Points and boxes as they were typed on the command line.

    Parameters
    ----------
    points, background : sequence of str
        ``"row,column"`` inside and outside the object.
    boxes : sequence of str
        ``"row_min,column_min,row_max,column_max"``.
    """

    points: Sequence[str] = ()
    background: Sequence[str] = ()
    boxes: Sequence[str] = ()


class ObjectEntry(BaseModel):
    """One object of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: int = Field(ge=1, le=MAX_LABEL)
    plane: int | list[int] | None = None
    points: list[tuple[float, float]] = Field(default_factory=list)
    point_labels: list[Literal[0, 1]] | None = None
    box: tuple[float, float, float, float] | None = None

    def prompted(self) -> PromptedObject:
        """Return the same as a value of this package, or raise ValueError."""
        plane = tuple(self.plane) if isinstance(self.plane, list) else self.plane
        return PromptedObject(
            self.id, plane, Prompts(self.points, self.point_labels, self.box)
        )


class PromptsFile(BaseModel):
    """All of the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    schema_version: Literal[1]
    objects: list[ObjectEntry] = Field(min_length=1)


def read_prompts(path: Path) -> list[PromptedObject]:
    """Read a JSON file of prompts, as the head of this module describes it.

    Raises
    ------
    ValueError
        If it does not exist or is not as described; the sentence says where.
    """
    if not path.is_file():
        raise ValueError(f"prompts must be an existing JSON file, got {path}.")
    try:
        entries = PromptsFile.model_validate_json(path.read_bytes()).objects
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ValueError(f"{path}: {where}: {first['msg']}.") from None
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append(entry.prompted())
        except ValueError as error:
            raise ValueError(f"{path}: objects.{number}: {error}") from None
    _check_distinct(path, found)
    return found


def _check_distinct(path: Path, objects: Sequence[PromptedObject]) -> None:
    seen = set()
    for one in objects:
        # A plane may be written 3 or [3].
        plane = one.plane if isinstance(one.plane, tuple) else (one.plane,)
        if (one.label, plane) in seen:
            raise ValueError(
                f"{path}: object {one.label} must come once in a plane; give it all "
                "its points there in one entry."
            )
        seen.add((one.label, plane))


def prompts_from_options(given: Given, plane: Plane | None) -> list[PromptedObject]:
    """Turn the options of the command line into objects.

    Without a box all points are one object; points refine one box; several boxes are
    an object each, labelled in their order.

    Parameters
    ----------
    given : Given
    plane : int, tuple of int or None
        Plane of them all.

    Raises
    ------
    ValueError
        If there are none, one is not as above, or there are points and several boxes.
    """
    rows = [numbers("point", text, 2) for text in given.points]
    rows += [numbers("background", text, 2) for text in given.background]
    labels = [1] * len(given.points) + [0] * len(given.background)
    corners = [numbers("box", text, 4) for text in given.boxes]
    if len(corners) > 1:
        if rows:
            raise ValueError(
                "points and several boxes cannot be told apart on the command line; "
                "write them to a JSON file and give --prompts."
            )
        return [
            PromptedObject(label, plane, Prompts(box=box))
            for label, box in enumerate(corners, start=1)
        ]
    if not rows and not corners:
        raise ValueError("give at least one --point or --box, or --prompts.")
    box = corners[0] if corners else None
    return [PromptedObject(1, plane, Prompts(rows, labels, box))]


def numbers(name: str, text: str, count: int) -> list[float]:
    """Read ``count`` numbers parted by commas, or raise ValueError."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        form = "R,C" if count == 2 else "ROW_MIN,COL_MIN,ROW_MAX,COL_MAX"
        raise ValueError(f"--{name} must be {form}, got {text!r}.")
    return values


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """Read whole numbers parted by commas, or raise ValueError."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--{name} must be whole numbers parted by commas, got {text!r}."
        ) from None
