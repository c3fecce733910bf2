"""What a session file says, record by record; docs/sessions.md tells what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import ConfigDict, Field

from napari_sam._session_fields import (
    Change,
    ContrastLimits,
    Drawn,
    Mask,
    Said,
    Tensors,
)
from napari_sam.types import Plane

SCHEMA_VERSION: Final = 2
MOST_DECODERS = 4
"""Versions of a decoder that a file keeps, a megabyte and a half each."""
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, eq=False)
class SavedImage:
    """The image of a session, without its pixels."""

    __pydantic_config__ = _STRICT

    name: str
    source: str | None  # where it was opened from
    shape: tuple[int, ...]
    dtype: str
    is_rgb: bool
    key: str  # from `image_key`


@dataclass(frozen=True)
class SavedModel:
    """A model that made masks."""

    __pydantic_config__ = _STRICT

    name: str
    checksum: str
    precision: str  # "float32" and the like
    decoder: str = ""  # version of what was learned meanwhile; "" is the model itself


@dataclass(frozen=True, eq=False)
class SavedDecoder:
    """What a mask decoder learned from accepted objects."""

    __pydantic_config__ = _STRICT

    version: Annotated[str, Field(min_length=1)]
    model: SavedModel  # the base
    changes: Tensors  # added to tensors of the decoder, by name
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SavedObject:
    """Prompts of one object in one plane, in the pixels of the plane."""

    __pydantic_config__ = _STRICT

    object_id: Annotated[int, Field(ge=1)]
    plane: Plane
    plane_axes: tuple[int, int]
    prompts: Said
    mask: Mask = None


@dataclass(frozen=True, eq=False)
class SavedRequest:
    """What a model was asked: prompts, and what it saw."""

    __pydantic_config__ = _STRICT

    what: SavedObject
    model: SavedModel
    contrast_limits: ContrastLimits
    sharp: Literal["off", "auto", "always"] = "off"


@dataclass(frozen=True, eq=False)
class SavedChoice:
    """A mask that was chosen among those of an answer."""

    __pydantic_config__ = _STRICT

    what: SavedObject
    mask_index: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class SavedTarget:
    """A Labels layer that was written into."""

    __pydantic_config__ = _STRICT

    name: str
    shape: tuple[int, ...]
    dtype: str
    is_new: bool  # made by the widget, so that it was empty


@dataclass(frozen=True, eq=False)
class Commit:
    """A mask that was written into labels; `changes` are the pixels that changed."""

    __pydantic_config__ = _STRICT

    request: SavedRequest
    mask_index: Annotated[int, Field(ge=0)]
    overlap: Literal["protect", "overwrite"]
    target: int
    changes: tuple[Change, ...]
    kind: Literal["commit"] = "commit"


@dataclass(frozen=True, eq=False)
class Edit:
    """Pixels of labels that changed otherwise: by hand, by undo, before the session."""

    __pydantic_config__ = _STRICT

    target: int
    changes: tuple[Change, ...]
    kind: Literal["edit"] = "edit"


Entry: TypeAlias = Annotated[Commit | Edit, Field(discriminator="kind")]


@dataclass(frozen=True, eq=False)
class SavedSession:
    """All that is needed to go on with a session, or to replay it.

    Parameters
    ----------
    image : SavedImage
    points, shapes : DrawnPrompts
        In data coordinates of the image.
    choices : dict
        Model, contrast and so on, as they were chosen in the widget.
    corrections : tuple of SavedObject
        Labels that were taken for correction.
    chosen : tuple of SavedChoice
    accepted : tuple of SavedRequest
        What was accepted, and not undone.
    targets : tuple of SavedTarget
    log : tuple of Commit and Edit
        In their order.
    decoders : tuple of SavedDecoder
        Those that made masks of the log, and the one in force.
    decoder : str
        Version of the one in force; "" if that is the model itself.
    saved : str
        Date and time, ISO 8601, UTC.
    """

    __pydantic_config__ = _STRICT

    image: SavedImage
    points: Drawn
    shapes: Drawn
    choices: dict[str, bool | int | float | str]
    corrections: tuple[SavedObject, ...] = ()
    chosen: tuple[SavedChoice, ...] = ()
    accepted: tuple[SavedRequest, ...] = ()
    targets: tuple[SavedTarget, ...] = ()
    log: tuple[Entry, ...] = ()
    decoders: tuple[SavedDecoder, ...] = ()
    decoder: str = ""
    saved: str = ""
    schema_version: Literal[1, 2] = SCHEMA_VERSION

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing worth keeping."""
        drawn = len(self.points) + len(self.shapes)
        return drawn == 0 and not self.log and not self.corrections


def with_decoders(
    session: SavedSession, known: Mapping[str, SavedDecoder]
) -> SavedSession:
    """Add the decoders that a session needs, `MOST_DECODERS` at most.

    Parameters
    ----------
    session : SavedSession
        Its `decoder` is in force.
    known : mapping of str to SavedDecoder
        By version.

    Returns
    -------
    SavedSession
        Masks of versions that are left out, the oldest, are kept as pixels: an `Edit`
        in place of the `Commit`. So replaying gives the same labels all the same.
    """
    made = [e.request.model.decoder for e in session.log if isinstance(e, Commit)]
    # By their last use; the one in force is used next.
    used = dict.fromkeys(v for v in [session.decoder, *reversed(made)] if v)
    kept = [version for version in used if version in known][:MOST_DECODERS]
    log = tuple(
        Edit(entry.target, entry.changes)
        if isinstance(entry, Commit) and entry.request.model.decoder not in ("", *kept)
        else entry
        for entry in session.log
    )
    decoders = tuple(known[version] for version in kept)
    in_force = session.decoder if session.decoder in kept else ""
    return replace(session, log=log, decoders=decoders, decoder=in_force)
