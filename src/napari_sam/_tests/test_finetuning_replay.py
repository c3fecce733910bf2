"""The head for the predicted IoU learns from clicks that are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam._finetuning_replay import KEPT_CLICKS, ScoreReplay
from napari_sam.modeling.mask_decoder import Mlp


@pytest.fixture
def head():
    """Make a head with random weights."""
    torch.manual_seed(0)
    return Mlp(8, 16, 16, 4)


def scored(replay, kind, tokens, best):
    """Score tokens, and say which of three masks was the best."""
    with torch.no_grad():
        replay.head(tokens)
    wanted = torch.full((len(tokens), 3), 0.5)
    wanted[:, best] = 0.9
    replay.add(kind, wanted)


def test_each_kind_of_image_gets_its_mask(head, monkeypatch):
    """The part in one, the whole in the other; also clicks that were never seen."""
    monkeypatch.setattr("napari_sam._finetuning_replay.FIT_RATE", 1e-2)
    replay = ScoreReplay(head)
    noise = 0.1 * torch.randn(30, 8, generator=torch.Generator().manual_seed(1))
    kinds = {"labels": (torch.eye(8)[0], 0), "photographs": (torch.eye(8)[1], 2)}
    for kind, (token, best) in kinds.items():
        scored(replay, kind, token + noise[:20], best)
    before = replay.loss(np.random.default_rng(0)).item()
    assert replay.fit(np.random.default_rng(0)) < 0.2 * before
    for token, best in kinds.values():
        assert (head(token + noise[20:])[:, 1:].argmax(1) == best).all()


def test_the_newest_clicks_are_kept(head):
    """So many of each kind; and they survive in a state."""
    replay = ScoreReplay(head)
    with pytest.raises(ValueError, match="must have made scores"):
        replay.add("labels", torch.zeros(1, 3))
    for number in range(3):
        scored(replay, "labels", torch.full((100, 8), float(number)), 0)
    tokens, wanted = replay.clicks["labels"]
    assert len(tokens) == len(wanted) == KEPT_CLICKS
    assert (tokens[:, 0].unique() == torch.arange(3)).all()
    again = ScoreReplay(head)
    again.restore(replay.state())
    rng = np.random.default_rng
    assert again.loss(rng(0)) == replay.loss(rng(0))
