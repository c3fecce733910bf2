"""Files of sessions, as the worker finds, reads and writes them; no Qt, no layers."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import platformdirs
from numpy.typing import NDArray

from napari_sam.session_file import (
    SUFFIX,
    SavedSession,
    check_image,
    image_key,
    read_session,
    recorded_labels,
    write_session,
)

_OWN_NAME = re.compile(r"[0-9a-f]*-\d{8}-\d{6}-\d{6}-\d+")

DIRECTORY_VARIABLE = "NAPARI_SAM_SESSIONS"
"""Environment variable that moves the directory of sessions."""


def sessions_directory() -> Path:
    """Directory of sessions: the user's data directory unless told otherwise."""
    told = os.environ.get(DIRECTORY_VARIABLE)
    return Path(told or platformdirs.user_data_path("napari-sam") / "sessions")


KEPT_FILES, KEPT_DAYS = 50, 30
"""Sessions that saved themselves are deleted if there are as many newer ones, and
nothing was saved to them for so long."""
_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Found:
    """What is known of an image that was opened.

    Parameters
    ----------
    image : array
    key : str
        From `image_key`.
    path : Path, optional
        Newest session of that image.
    session : SavedSession, optional
    problem : str
        Why the newest session cannot be read; "" if it can.
    """

    image: Any
    key: str
    path: Path | None = None
    session: SavedSession | None = None
    problem: str = ""


def find_session(image: Any, is_rgb: bool, directory: Path) -> Found:
    """Look for the newest session of an image; the worker calls it."""
    key = image_key(image, is_rgb)
    files = directory.glob(f"{short_key(key)}-*{SUFFIX}")
    newest = max(files, key=lambda file: file.stat().st_mtime, default=None)
    if newest is None:
        return Found(image, key)
    try:
        session = read_session(newest)
        check_image(session, image, is_rgb)
    except (ValueError, OSError) as error:
        return Found(image, key, problem=str(error))
    return Found(image, key, None if session.is_empty else newest, session)


def load_session(
    path: Path, image: Any, is_rgb: bool
) -> Generator[str, None, tuple[SavedSession, list[NDArray[Any]]]]:
    """Read a session and its labels; the worker calls it."""
    yield "Opening the session"
    session = read_session(path)
    check_image(session, image, is_rgb)
    labels = [recorded_labels(session, i) for i in range(len(session.targets))]
    return session, labels


def write_sessions(sessions: dict[Path, SavedSession]) -> dict[Path, SavedSession]:
    """Write sessions and return them; the worker calls it."""
    for path, session in sessions.items():
        is_first = not path.exists()
        write_session(path, session)
        if is_first:
            delete_old(path.parent)
    return sessions


def delete_old(directory: Path) -> None:
    """Delete sessions that nobody will open any more.

    Parameters
    ----------
    directory : Path
        Only files that are named as sessions that save themselves count.
    """
    found = []
    for path in directory.glob(f"*{SUFFIX}"):
        if _OWN_NAME.fullmatch(path.stem):
            # Another process may delete it at the same time.
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime, path))
    oldest = time.time() - KEPT_DAYS * _DAY
    for saved, path in sorted(found, reverse=True)[KEPT_FILES:]:
        if saved < oldest:
            with contextlib.suppress(OSError):
                path.unlink()


def own_name(key: str, number: int) -> str:
    """Name of a new session that saves itself.

    Parameters
    ----------
    key : str
        Of its image.
    number : int
        Of the process, so that two never write into one file.
    """
    now = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return f"{short_key(key)}-{now}-{number}{SUFFIX}"


def short_key(key: str) -> str:
    """Return what names of files begin with."""
    return key.partition(":")[2][:16]
