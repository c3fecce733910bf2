"""What a point or a shape is a prompt for, and whether for or against: its features.

A feature ``object`` is the number of the object (1 if there is none), a feature
``label`` is "foreground" (if there is none) or "background"; 1 and 0 or True and False
will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Points, Shapes

FOREGROUND, BACKGROUND = "foreground", "background"
# 1 == True == 1.0, so that these also stand for numbers and bool.
_SIGNS: dict[Any, bool] = {FOREGROUND: True, BACKGROUND: False, 1: True, 0: False}


def object_features(layer: Points | Shapes, count: int) -> tuple[list[int], list[bool]]:
    """Numbers of the objects, and whether each prompt is foreground.

    Parameters
    ----------
    layer : napari.layers.Points or napari.layers.Shapes
        What its features do not say is object 1 and foreground.
    count : int
        Number of points or shapes.

    Raises
    ------
    ValueError
        If a feature ``object`` is not a whole number from 1, or a ``label`` not
        "foreground" or "background".
    """
    objects = [_number(layer, v) for v in _feature(layer, "object", 1, count)]
    signs = [_sign(layer, v) for v in _feature(layer, "label", FOREGROUND, count)]
    return objects, signs


def _feature(layer: Points | Shapes, name: str, default: Any, count: int) -> list[Any]:
    if name not in layer.features:
        return [default] * count
    column = layer.features[name]
    # napari fills in NaN where nothing was said.
    pairs = zip(column, column.isna(), strict=True)
    return [default if missing else value for value, missing in pairs]


def _number(layer: Points | Shapes, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if number < 1 or not number.is_integer():
        raise ValueError(
            f"feature 'object' of layer {layer.name!r} must be whole numbers from 1, "
            f"got {value!r}."
        )
    return int(value)


def _sign(layer: Points | Shapes, value: Any) -> bool:
    try:
        return _SIGNS[value]
    except (KeyError, TypeError):
        raise ValueError(
            f"feature 'label' of layer {layer.name!r} must be {FOREGROUND!r} or "
            f"{BACKGROUND!r}, got {value!r}."
        ) from None


def add_prompt_features(
    layer: Points | Shapes, object_id: int, label: str = FOREGROUND
) -> None:
    """Add the features ``object`` and ``label`` to a layer that lacks them.

    Parameters
    ----------
    layer : napari.layers.Points or napari.layers.Shapes
        Other features, and how the layer looks, stay as they are.
    object_id : int
        Number of the object that what is there is for.
    label : {"foreground", "background"}
    """
    values = {"object": object_id, "label": label}
    missing = {
        name: [value] * len(layer.data)
        for name, value in values.items()
        if name not in layer.features
    }
    if missing:
        layer.features = layer.features.assign(**missing)


def set_next_prompt(
    layer: Points | Shapes, object_id: int, label: str = FOREGROUND
) -> None:
    """Say what the points or shapes drawn next are prompts for.

    Parameters
    ----------
    layer : napari.layers.Points or napari.layers.Shapes
        With both features: see `add_prompt_features`. What is drawn or selected already
        stays as it is, and so do the defaults of other features.
    object_id : int
        Number of the object.
    label : {"foreground", "background"}

    Raises
    ------
    ValueError
        If one of them is not as above.
    """
    if label not in (FOREGROUND, BACKGROUND):
        raise ValueError(
            f"label must be {FOREGROUND!r} or {BACKGROUND!r}, got {label!r}."
        )
    number = _number(layer, object_id)
    layer.feature_defaults = layer.feature_defaults.assign(label=label, object=number)
