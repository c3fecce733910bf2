"""Image embeddings kept on the device, in memory and on disk, by content.

A key says what was encoded, by what (`Predictor.key`), so an entry never becomes
stale: a changed pixel, contrast or model is another key. Entries leave a tier, the
longest unused first, when its budget in bytes is spent. Embeddings in memory and on
disk are in half precision.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import warnings
from collections import OrderedDict
from pathlib import Path
from threading import RLock

import numpy as np
import torch
from torch import Tensor

from napari_sam.types import ModelInput

GIB = 1 << 30


def content_key(plane: ModelInput, *about: str | int) -> str:
    """Key of a plane's embedding, of its pixels and what else decides about it."""
    more = (*about, plane.plane_size, tuple(plane.pixels.shape), plane.window)
    digest = hashlib.sha256(repr(more).encode())
    digest.update(plane.pixels.contiguous().numpy().data)
    return digest.hexdigest()


class BytesLRU:
    """Tensors by key, as many as fit a budget; the longest unused leave first.

    Parameters
    ----------
    budget : int
        Bytes that may be held; an entry larger than that is not kept at all.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self._entries: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str) -> Tensor | None:
        """Return the entry, now the most recently used, or None."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: str, value: Tensor) -> None:
        """Keep an entry, as the most recently used."""
        self.pop(key)
        if value.nbytes > self.budget:
            return
        self._entries[key] = value
        self.nbytes += value.nbytes
        while self.nbytes > self.budget:
            self.pop(next(iter(self._entries)))

    def pop(self, key: str) -> None:
        """Let an entry go, if it is there."""
        value = self._entries.pop(key, None)
        self.nbytes -= 0 if value is None else value.nbytes


class EmbeddingDirectory:
    """Embeddings on disk, one checksummed file each.

    Files are written aside and renamed, so that another process never sees half of
    one. A file that cannot be read counts as missing and is removed.

    Parameters
    ----------
    directory : path
        Made when the first embedding is written.
    budget : int
        Bytes of files that may be held.
    """

    def __init__(self, directory: str | os.PathLike[str], budget: int) -> None:
        self.directory = Path(directory).expanduser()
        self.budget = budget
        self._nbytes: int | None = None
        self._is_writable = True

    def path(self, key: str) -> Path:
        """Where the embedding of a key is, or would be."""
        return self.directory / f"{key}.npz"

    @property
    def nbytes(self) -> int:
        """Bytes of files held, counted once and kept up from then on."""
        if self._nbytes is None:
            self._nbytes = sum(size for _, size, _ in self._files())
        return self._nbytes

    def get(self, key: str) -> Tensor | None:
        """Return the stored features, or None if there are none that can be read."""
        path = self.path(key)
        try:
            # Opened here, since np.load leaves a damaged file open.
            with path.open("rb") as file:
                stored = np.load(file, allow_pickle=False)
                features = torch.from_numpy(stored["features"])
        except FileNotFoundError:
            return None
        except Exception:  # what numpy raises depends on which bytes are damaged
            self._remove(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the time of last use decides what leaves first
        return features

    def put(self, key: str, features: Tensor) -> None:
        """Store features; a directory that cannot be written is reported once."""
        if not self._is_writable or features.nbytes > self.budget:
            return
        try:
            size = self._write(self.path(key), features)
        except OSError as error:
            self._is_writable = False
            warnings.warn(
                f"embeddings are no longer kept in {self.directory}: {error}.",
                stacklevel=3,
            )
            return
        self._nbytes = self.nbytes + size
        if self._nbytes > self.budget:
            self._trim()

    def _write(self, path: Path, features: Tensor) -> int:
        """Write a file aside and put it in place; returns the bytes it adds."""
        count_before = self.nbytes  # counted before the new file is there
        self.directory.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(".tmp", dir=self.directory)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, features=features.numpy())
            replaced = path.stat().st_size if path.exists() else 0
            os.replace(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        self._nbytes = count_before
        return path.stat().st_size - replaced

    def _files(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of each embedding."""
        found = []
        for path in self.directory.glob("*.npz"):
            try:
                stat = path.stat()
            except OSError:  # removed by another process meanwhile
                continue
            found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _trim(self) -> None:
        files = sorted(self._files())
        # Other processes may share the directory, so it is counted afresh.
        self._nbytes = sum(size for _, size, _ in files)
        for _, _, path in files:
            if self._nbytes <= self.budget:
                break
            self._remove(path)

    def _remove(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError:
            return
        if self._nbytes is not None:
            self._nbytes = max(0, self._nbytes - size)


class EmbeddingCache:
    """Embeddings in three tiers: device, host memory, disk.

    Parameters
    ----------
    directory : path, optional
        Where embeddings are kept on disk, and found again by the next session. Not
        on disk if omitted.
    device_bytes : int
        Budget on an accelerator, in the precision it computes in; not used on a CPU.
    host_bytes : int
        Budget in memory, in half precision.
    disk_bytes : int
        Budget on disk, in half precision.

    Raises
    ------
    ValueError
        If a budget is not a whole number of at least 0, or the directory is a file.

    Notes
    -----
    One embedding of SAM takes 2 MiB in half precision. Several sessions and threads
    may share a cache, and several processes a directory.

    Examples
    --------
    >>> import torch
    >>> cache = EmbeddingCache(host_bytes=1 << 20)
    >>> cache.put("some key", torch.ones(1, 2, 2))
    >>> cache.get("some key").dtype
    torch.float16
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        device_bytes: int = 2 * GIB,
        host_bytes: int = 2 * GIB,
        disk_bytes: int = 20 * GIB,
    ) -> None:
        self.device = BytesLRU(_check_budget("device_bytes", device_bytes))
        self.host = BytesLRU(_check_budget("host_bytes", host_bytes))
        budget = _check_budget("disk_bytes", disk_bytes)
        if directory is not None and not isinstance(directory, (str, os.PathLike)):
            raise ValueError(f"directory must be a path, got {directory!r}.")
        if directory is not None and Path(directory).expanduser().is_file():
            raise ValueError(f"directory must not be a file, got {directory}.")
        self.disk = None if directory is None else EmbeddingDirectory(directory, budget)
        self._lock = RLock()

    def __contains__(self, key: str) -> bool:
        with self._lock:
            if key in self.device or key in self.host:
                return True
            return self.disk is not None and self.disk.path(key).is_file()

    def get(
        self,
        key: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> Tensor | None:
        """Find an embedding, in the nearest tier that has it.

        Parameters
        ----------
        key : str
            From `Predictor.key`.
        device : torch.device or str
            Where it is wanted. Kept there from then on, unless it is the CPU.
        dtype : torch.dtype, optional
            Number format on an accelerator; half precision if omitted.

        Returns
        -------
        Tensor or None
            On the CPU in half precision; on an accelerator in ``dtype``.
        """
        device = torch.device(device)
        with self._lock:
            if device.type != "cpu":
                held = self.device.get(key)
                if held is not None and held.device.type == device.type:
                    return held
            found = self._get_host(key)
            if found is None or device.type == "cpu":
                return found
            moved = found.to(device, dtype or found.dtype)
            self.device.put(key, moved)
            return moved

    def _get_host(self, key: str) -> Tensor | None:
        held = self.host.get(key)
        if held is not None or self.disk is None:
            return held
        stored = self.disk.get(key)
        if stored is not None:
            self.host.put(key, stored)
        return stored

    def put(self, key: str, features: Tensor) -> None:
        """Keep an embedding in every tier.

        Parameters
        ----------
        key : str
        features : Tensor
            On any device, in any precision.
        """
        half = features.detach().to("cpu", torch.float16)
        with self._lock:
            if features.device.type != "cpu":
                self.device.put(key, features)
            self.host.put(key, half)
            if self.disk is not None:
                self.disk.put(key, half)


def _check_budget(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, got {value!r}.")
    return int(value)
