"""A GPU that is not there, for what happens if its memory is full."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from napari_sam.predictor import Predictor


def pretend_gpu(monkeypatch: Any, predictor: Predictor, fits: int) -> None:
    """Let a predictor believe in a GPU whose memory holds so many items at once."""

    def limit(function: Any, position: int) -> Any:
        def limited(*arguments: Any) -> Any:
            if predictor.device.type == "cpu":
                return function(*arguments)
            if len(arguments[position]) > fits:
                raise torch.OutOfMemoryError("pretended")
            predictor.device = torch.device("cpu")
            try:
                return function(*arguments)
            finally:
                predictor.device = torch.device("cuda")

        return limited

    monkeypatch.setattr(predictor, "_encode", limit(predictor._encode, 0))
    monkeypatch.setattr(predictor, "_decode", limit(predictor._decode, 1))
    predictor.device = torch.device("cuda")


def warnings_of(call: Any) -> tuple[Any, list[str]]:
    """Return the result of a call, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [str(one.message) for one in caught]
