"""What the user prefers: napari's Preferences show it, as napari.yaml declares it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from napari_sam.registry import MODELS, cache_directory
from napari_sam.types import Precision

PLUGIN = "napari-sam-stacks"
GIB = 1 << 30


@dataclass(frozen=True)
class Preferences:
    """Preferences, as far as napari has any; before napari 0.9 plugins have none.

    Parameters
    ----------
    model : str
        The model that a new widget begins with.
    precision : {"auto", "float32", "bfloat16", "float16"}
    directory : str
        Where embeddings are kept; "" is the user's cache directory.
    device_gib, host_gib, disk_gib : float
        Budgets of the cache, in GiB.
    keys : mapping of str to str
        Key of each action by its name, where the user chose another than ours; "" is
        none.
    """

    model: str = "mobile_sam"
    precision: Precision = "auto"
    directory: str = ""
    device_gib: float = 2.0
    host_gib: float = 2.0
    disk_gib: float = 20.0
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def cache_path(self) -> Path:
        """Directory of embeddings."""
        if self.directory.strip():
            return Path(self.directory.strip()).expanduser()
        return cache_directory() / "embeddings"

    @property
    def budgets(self) -> tuple[int, int, int]:
        """Bytes on the device, in memory and on disk."""
        device, host, disk = (
            int(gib * GIB) for gib in (self.device_gib, self.host_gib, self.disk_gib)
        )
        return device, host, disk


def read_preferences() -> Preferences:
    """Read what napari knows of the user's preferences."""
    settings = plugin_settings()
    if settings is None:
        return Preferences()
    model = str(settings.model.name)
    return Preferences(
        model if model in MODELS else "mobile_sam",
        cast("Precision", str(settings.model.precision)),
        str(settings.cache.directory),
        float(settings.cache.device_gib),
        float(settings.cache.host_gib),
        float(settings.cache.disk_gib),
        {str(name): str(key) for name, key in settings.keys.model_dump().items()},
    )


def plugin_settings() -> Any:
    """Return napari's settings of this plugin; None where it has none."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # before napari 0.9
        return None
    try:
        return get_plugin_settings(PLUGIN)
    except KeyError:  # used without being installed as a plugin
        return None


def on_keys_changed(slot: Callable[..., None]) -> Callable[[], None]:
    """Call a method when the user changes a key.

    Parameters
    ----------
    slot : callable
        Held weakly if it is a method.

    Returns
    -------
    callable
        Call it to be told no more.
    """
    settings = plugin_settings()
    if settings is None:
        return lambda: None
    events = settings.keys.events
    events.connect(slot)

    def stop() -> None:
        events.disconnect(slot)

    return stop
