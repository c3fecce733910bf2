"""Arrays, prompts and changes of labels as fields of a session file.

Short arrays are numbers in JSON; others are named by their content and go, as bytes,
into the mapping that pydantic hands through as context.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator, SerializationInfo, ValidationInfo

from napari_sam._history import DrawnPrompts
from napari_sam._label_changes import PlaneChange, pack_bits, unpack_bits
from napari_sam.types import Prompts


def _store(info: SerializationInfo, name: str, content: bytes) -> str:
    path = f"arrays/{hashlib.sha256(content).hexdigest()[:32]}{name}"
    info.context[path] = content  # type: ignore[index]
    return path


def _load(info: ValidationInfo, path: str) -> bytes:
    content: bytes | None = (info.context or {}).get(path)
    if content is None:
        raise ValueError(f"array {path!r} is not in the file")
    return content


def _dump_values(values: NDArray[Any], info: SerializationInfo) -> dict[str, Any]:
    if values.size <= 8:
        return {"dtype": str(values.dtype), "values": values.tolist()}
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return {"array": _store(info, ".npy", file.getvalue())}


def _load_values(value: Any, info: ValidationInfo) -> NDArray[Any]:
    if "array" in value:
        file = io.BytesIO(_load(info, value["array"]))
        loaded: NDArray[Any] = np.load(file, allow_pickle=False)
        return loaded
    return np.array(value["values"], dtype=value["dtype"])


def _dump_tensors(
    tensors: Mapping[str, NDArray[np.float16]], info: SerializationInfo
) -> dict[str, Any]:
    return {
        name: {
            "shape": list(values.shape),
            # Noise, which does not get smaller: stored as it is, and quickly.
            "halves": _store(info, ".f16", values.astype("<f2").tobytes()),
        }
        for name, values in tensors.items()
    }


def _load_tensors(value: Any, info: ValidationInfo) -> dict[str, NDArray[np.float16]]:
    found = {}
    for name, about in value.items():
        flat = np.frombuffer(_load(info, about["halves"]), "<f2")
        if not np.isfinite(flat).all():
            raise ValueError(f"tensor {name!r} must be finite")
        shape = tuple(int(n) for n in about["shape"])
        found[str(name)] = flat.astype(np.float16).reshape(shape)
    return found


def _dump_mask(mask: NDArray[np.bool_] | None, info: SerializationInfo) -> Any:
    if mask is None:
        return None
    return {"shape": list(mask.shape), "bits": _store(info, ".bits", pack_bits(mask))}


def _load_mask(value: Any, info: ValidationInfo) -> NDArray[np.bool_] | None:
    if value is None:
        return None
    rows, columns = value["shape"]
    return unpack_bits(_load(info, value["bits"]), (int(rows), int(columns)))


def _dump_change(change: PlaneChange, info: SerializationInfo) -> dict[str, Any]:
    return {
        "plane_axes": change.plane_axes,
        "index": change.index,
        "box": change.box,
        "count": change.count,
        "where": _store(info, ".bits", change.where),
        "old": _dump_values(change.old, info),
        "new": _dump_values(change.new, info),
    }


def _load_change(value: Any, info: ValidationInfo) -> PlaneChange:
    rows, columns = map(int, value["plane_axes"])
    top, left, bottom, right = map(int, value["box"])
    count = int(value["count"])
    old, new = (_load_values(value[name], info) for name in ("old", "new"))
    where = _load(info, value["where"])
    change = PlaneChange(
        (rows, columns),
        tuple(map(int, value["index"])),
        (top, left, bottom, right),
        where,
        old,
        new,
        count,
    )
    change.indices()  # refuses what does not fit together
    if not {len(old), len(new)} <= {1, count}:
        raise ValueError(f"a change of {count} pixels must have as many values")
    return change


def _dump_prompts(prompts: Prompts) -> dict[str, Any]:
    return {
        "points": prompts.points.tolist(),
        "point_labels": prompts.point_labels.tolist(),
        "box": None if prompts.box is None else prompts.box.tolist(),
    }


def _load_prompts(value: Any) -> Prompts:
    return Prompts(value["points"] or None, value["point_labels"], value["box"])


def _dump_drawn(drawn: DrawnPrompts) -> dict[str, Any]:
    return {
        "data": [rows.tolist() for rows in drawn.data],
        "features": {
            name: drawn.features[name]
            for name in ("object", "label")
            if name in drawn.features
        },
        "kinds": drawn.kinds,
        "shown": drawn.shown,
    }


def _load_drawn(value: Any) -> DrawnPrompts:
    data = tuple(np.array(rows, dtype=np.float64) for rows in value["data"])
    if not all(rows.ndim == 2 and np.isfinite(rows).all() for rows in data):
        raise ValueError("coordinates of prompts must be rows of finite numbers")
    features = {name: tuple(values) for name, values in value["features"].items()}
    kinds, shown = tuple(value["kinds"]), tuple(value["shown"])
    drawn = DrawnPrompts(data, features, kinds, shown)
    columns = [*features.values(), kinds or shown]
    if any(len(column) != len(drawn) for column in columns):
        raise ValueError("features of prompts must be as many as the prompts")
    return drawn


def _field(dump: Callable[..., Any], load: Callable[..., Any]) -> Any:
    # pydantic is told Any: it would look into the classes, which it need not know, and
    # older ones look for what functions return in the module that has the field.
    return Annotated[Any, PlainSerializer(dump, return_type=Any), PlainValidator(load)]


if TYPE_CHECKING:
    Mask: TypeAlias = NDArray[np.bool_] | None
    Change: TypeAlias = PlaneChange
    Said: TypeAlias = Prompts
    Drawn: TypeAlias = DrawnPrompts
    Tensors: TypeAlias = Mapping[str, NDArray[np.float16]]
else:
    Mask = _field(_dump_mask, _load_mask)
    Change = _field(_dump_change, _load_change)
    Said = _field(_dump_prompts, _load_prompts)
    Drawn = _field(_dump_drawn, _load_drawn)
    Tensors = _field(_dump_tensors, _load_tensors)
ContrastLimits: TypeAlias = tuple[float, float] | None
