"""Sessions on disk: prompts, chosen masks and every commit, in one ZIP file.

``session.json`` says everything but arrays; ``arrays/`` holds those, each once, named
by their content. The file is written aside and moved, so that a crash leaves the old
one or the new one. What the fields mean is told in docs/sessions.md.
"""

from __future__ import annotations

import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from napari_sam._io_image import replacing
from napari_sam._session_records import (
    MOST_DECODERS,
    SCHEMA_VERSION,
    Commit,
    Edit,
    Entry,
    SavedChoice,
    SavedDecoder,
    SavedImage,
    SavedModel,
    SavedObject,
    SavedRequest,
    SavedSession,
    SavedTarget,
    with_decoders,
)

__all__ = [
    "MOST_DECODERS",
    "SUFFIX",
    "Commit",
    "Edit",
    "Entry",
    "SavedChoice",
    "SavedDecoder",
    "SavedImage",
    "SavedModel",
    "SavedObject",
    "SavedRequest",
    "SavedSession",
    "SavedTarget",
    "check_image",
    "image_key",
    "read_session",
    "recorded_labels",
    "start_labels",
    "with_decoders",
    "write_session",
]

SUFFIX = ".napari-sam"
# Planes that are looked at to know an image again.
KEY_PLANES = 5
# Of planes with more pixels, only the middle is: these are not read as a whole.
LARGEST_KEY_PLANE, KEY_SIDE = 1 << 26, 2048
_JSON = "session.json"


def image_key(image: Any, is_rgb: bool) -> str:
    """Identify an image by its shape, type and some of its planes.

    Parameters
    ----------
    image : array
        Lazy or not; at most `KEY_PLANES` planes of its last two axes are read.
    is_rgb : bool
        Whether the last axis is colour.

    Returns
    -------
    str

    Examples
    --------
    >>> image_key(np.zeros((9, 4, 4)), False) == image_key(np.ones((9, 4, 4)), False)
    False
    """
    shape = tuple(int(n) for n in image.shape)
    digest = xxhash.xxh3_128(repr((shape, str(np.dtype(image.dtype)), is_rgb)).encode())
    ahead = shape[: len(shape) - 2 - is_rgb]
    count = int(np.prod(ahead))
    some = np.linspace(0, count - 1, min(KEY_PLANES, count)).round().astype(int)
    for flat in sorted(set(some.tolist())):
        index = tuple(int(i) for i in np.unravel_index(flat, ahead))
        plane = np.asarray(image[(*index, *_middle(shape[len(ahead) :]))])
        digest.update(np.ascontiguousarray(plane).data)
    return f"xxh3_128:{digest.hexdigest()}"


def _middle(size: tuple[int, ...]) -> tuple[slice, ...]:
    """All of a plane of (rows, columns, ...), or the middle of a very large one."""
    if size[0] * size[1] <= LARGEST_KEY_PLANE:
        return ()
    sides = (min(n, KEY_SIDE) for n in size[:2])
    starts = ((n - side) // 2 for n, side in zip(size, sides, strict=False))
    return tuple(slice(start, start + KEY_SIDE) for start in starts)


_FORMAT: TypeAdapter[SavedSession] = TypeAdapter(SavedSession)


def write_session(path: str | os.PathLike[str], session: SavedSession) -> None:
    """Write a session, in one step: a crash leaves the old file or the new one.

    Parameters
    ----------
    path : path
        Its directory is made if needed.
    session : SavedSession

    Raises
    ------
    OSError
        If it cannot be written; what was there is left as it was.
    """
    arrays: dict[str, bytes] = {}
    content = _FORMAT.dump_python(session, mode="json", context=arrays)
    content["schema_version"] = SCHEMA_VERSION  # one that was read may be older
    content["saved"] = datetime.now(UTC).isoformat(timespec="seconds")
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        with zipfile.ZipFile(part, "w") as archive:
            text = json.dumps(content, indent=1, allow_nan=False)
            archive.writestr(_JSON, text, zipfile.ZIP_DEFLATED, 1)
            for name, one in arrays.items():
                # Bits are compressed already.
                method = zipfile.ZIP_DEFLATED if ".npy" in name else zipfile.ZIP_STORED
                archive.writestr(name, one, method, 1)
        with part.open("rb+") as written:
            os.fsync(written.fileno())


def read_session(path: str | os.PathLike[str]) -> SavedSession:
    """Read a session.

    Parameters
    ----------
    path : path

    Returns
    -------
    SavedSession

    Raises
    ------
    ValueError
        If there is no such file, or it is damaged, of a newer version or no session.
        The file is left as it is.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"session must be an existing file, got {file}.")
    try:
        with zipfile.ZipFile(file) as archive:
            content = json.loads(archive.read(_JSON))
            _check_version(file, content)
            arrays = {
                name: archive.read(name)
                for name in archive.namelist()
                if name.startswith("arrays/")
            }
        session = _FORMAT.validate_python(content, context=arrays)
        _check_targets(session)
        _check_decoders(session)
    except _WrongVersion as error:
        raise ValueError(str(error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{file} is no session: {where}: {first['msg']}.") from None
    except OSError:
        raise
    except Exception as error:  # what zip, JSON and numpy raise depends on the damage
        text = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{file} is damaged or no session: {text}.") from None
    return session


class _WrongVersion(ValueError):
    """A file of another version of this format."""


def _check_version(file: Path, content: Any) -> None:
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise _WrongVersion(
            f"{file} was written by a newer version of napari-sam (format {version}, "
            f"here {SCHEMA_VERSION}): update to open it."
        )


def _check_targets(session: SavedSession) -> None:
    """Refuse pixels outside the labels, or of labels that are not listed."""
    for entry in session.log:
        if not 0 <= entry.target < len(session.targets):
            raise ValueError(f"there is no target {entry.target}")
        shape = session.targets[entry.target].shape
        for change in entry.changes:
            indices = change.indices()
            if len(indices) != len(shape) or any(
                int(i.min()) < 0 or int(i.max()) >= n
                for i, n in zip(indices, shape, strict=True)
            ):
                raise ValueError(f"pixels lie outside labels of shape {shape}")


def _check_decoders(session: SavedSession) -> None:
    """Refuse masks that were made by a decoder that is not in the file."""
    known = {"": None} | {one.version: one.model for one in session.decoders}
    made = [e.request.model for e in session.log if isinstance(e, Commit)]
    for version in (session.decoder, *(one.decoder for one in made)):
        if version not in known:
            raise ValueError(f"there is no decoder {version!r}")
    for one in made:
        base = known[one.decoder]
        if base is not None and base.checksum != one.checksum:
            raise ValueError(f"decoder {one.decoder!r} belongs to another model")


def check_image(session: SavedSession, image: Any, is_rgb: bool) -> None:
    """Refuse an image that is not the one of a session.

    Parameters
    ----------
    session : SavedSession
    image : array
    is_rgb : bool

    Raises
    ------
    ValueError
        If shape, type or pixels differ.
    """
    saved, shape = session.image, tuple(int(n) for n in image.shape)
    if shape != saved.shape or str(np.dtype(image.dtype)) != saved.dtype:
        raise ValueError(
            f"the session is of an image of shape {saved.shape} and type "
            f"{saved.dtype}, this one has {shape} and {np.dtype(image.dtype)}."
        )
    if image_key(image, is_rgb) != saved.key:
        raise ValueError(
            f"the session is of another image of this shape, {saved.name!r}: the "
            "pixels differ."
        )


def start_labels(
    session: SavedSession, target: int, labels: NDArray[Any] | None
) -> NDArray[Any]:
    """Labels before the first entry of the log.

    Raises
    ------
    ValueError
        If the given ones have another shape, or numbers that do not fit.
    """
    about = session.targets[target]
    if labels is None:
        return np.zeros(about.shape, about.dtype)
    if tuple(labels.shape) != about.shape:
        raise ValueError(
            f"labels must have the shape of layer {about.name!r}, {about.shape}, "
            f"got {tuple(labels.shape)}."
        )
    given = np.asarray(labels)
    kept = given.astype(about.dtype)
    if not np.array_equal(kept, given):
        raise ValueError(f"labels must fit into {about.dtype}, the type of the layer.")
    return kept


def recorded_labels(
    session: SavedSession, target: int, labels: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Labels of a session from the pixels it recorded, without a model.

    Parameters
    ----------
    session : SavedSession
    target : int
        Number of the Labels layer.
    labels : ndarray of int, optional
        What was in it before the session; zeros by default.
    """
    result = start_labels(session, target, labels)
    for entry in session.log:
        if entry.target == target:
            for change in entry.changes:
                change.apply_to(result)
    return result
