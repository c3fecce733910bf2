"""Encodings that end halfway."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_sam._tests.tiny_models import tiny_predictor
from napari_sam.modeling.image_encoder_tinyvit import TinyViT
from napari_sam.session import Session
from napari_sam.stopping import Stopped, may_stop, stoppable


class Countdown:
    """Says to stop when it was asked so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_only_what_is_in_the_block_may_be_stopped():
    """Nothing stops outside of it; blocks are nested, and end."""
    may_stop()
    with stoppable(lambda: True):
        with stoppable(lambda: False):
            may_stop()
        with pytest.raises(Stopped):
            may_stop()
    may_stop()


def test_stopping_is_no_error():
    """What handles errors of others must let it through."""
    assert not issubclass(Stopped, Exception)


def test_other_threads_go_on():
    """Another thread may run the same model."""
    ended = []

    def run() -> None:
        may_stop()
        ended.append(True)

    with stoppable(lambda: True):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert ended == [True]


@pytest.mark.parametrize("times", [0, 1])
def test_an_encoding_ends_halfway_and_nothing_is_kept_of_it(times):
    """The cache has no half embedding; the next encoding is whole."""
    plane = np.random.default_rng(0).integers(0, 255, (24, 32), dtype=np.uint8)
    session = Session(plane, tiny_predictor())
    with pytest.raises(Stopped), stoppable(Countdown(times)):
        session.embed()
    assert len(session.cache.host) == 0
    whole = tiny_predictor().embed(plane).features
    torch.testing.assert_close(session.embed().features, whole, atol=1e-2, rtol=0)


def test_the_default_encoder_can_be_stopped_at_many_places():
    """TinyViT is asked between its blocks, each a small part of the time."""
    encoder = TinyViT(256).eval()
    asked = Countdown(10**6)
    with torch.inference_mode(), stoppable(asked):
        encoder(torch.zeros(1, 3, 256, 256))
    assert 10**6 - asked.left >= 20
