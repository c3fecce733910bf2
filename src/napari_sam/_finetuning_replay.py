"""What the scores of three masks were made of, so that their head learns from many.

A click is answered with the mask of the highest score. Which one that should be differs
between the user's images and photographs, and an update sees a few clicks of one kind
only. The head that makes the scores is small: it is fitted first, to many clicks of
both kinds, and at each update it learns from these and from newer ones again. Their
tokens are a little out of date by then, but cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from napari_sam._finetuning_losses import score_loss

if TYPE_CHECKING:
    import numpy as np

Kind: TypeAlias = Literal["labels", "photographs"]
# Clicks of each kind that are kept, the newest, and that an update learns from.
KEPT_CLICKS, REPLAYED_CLICKS = 256, 48
# There are more kinds of photographs than of the user's images.
WEIGHTS = {"labels": 1.0, "photographs": 8.0}
FIT_UPDATES, FIT_RATE, ANCHOR = 160, 1e-4, 1.0


class ScoreReplay:
    """Clicks that the head for the predicted IoU of a decoder has scored.

    Parameters
    ----------
    head : Module
        Tokens (B, 256) to scores (B, 4), of a single mask and of the three.
    """

    def __init__(self, head: nn.Module) -> None:
        self.head = head
        self.clicks: dict[str, tuple[Tensor, Tensor]] = {}
        self._last: Tensor | None = None
        head.register_forward_pre_hook(self._see)

    def _see(self, _: nn.Module, told: tuple[Tensor, ...]) -> None:
        self._last = told[0].detach().float()

    def add(self, kind: Kind, wanted: Tensor) -> None:
        """Keep the clicks scored last, and the scores (B, 3) they should have."""
        if self._last is None:
            raise ValueError("the head must have made scores before clicks are added.")
        new = self._last, wanted.detach().float()
        if kind in self.clicks:
            old = self.clicks[kind]
            new = torch.cat([old[0], new[0]]), torch.cat([old[1], new[1]])
        self.clicks[kind] = new[0][-KEPT_CLICKS:], new[1][-KEPT_CLICKS:]

    def loss(self, rng: np.random.Generator, most: int = REPLAYED_CLICKS) -> Tensor:
        """`score_loss` of some clicks of each kind; only the head learns from it."""
        terms = []
        for kind, (tokens, wanted) in self.clicks.items():
            some = rng.permutation(len(tokens))[:most]
            chosen = torch.from_numpy(some).to(tokens.device)
            term = score_loss(self._scores(tokens[chosen]), wanted[chosen])
            terms.append(WEIGHTS[kind] * term)
        return torch.stack(terms).sum()

    def fit(self, rng: np.random.Generator) -> float:
        """Fit the head to all clicks that are kept, and return the loss.

        It is held near where it was (Xuhong et al., "Explicit inductive bias for
        transfer learning", 2018), as there are fewer clicks than weights.
        """
        parameters = list(self.head.parameters())
        start = [one.detach().clone() for one in parameters]
        optimizer = torch.optim.AdamW(parameters, lr=FIT_RATE, weight_decay=0.0)
        for _ in range(FIT_UPDATES):
            way = [
                (one - old).square().sum()
                for one, old in zip(parameters, start, strict=True)
            ]
            loss = self.loss(rng, KEPT_CLICKS)
            optimizer.zero_grad(set_to_none=True)
            (loss + ANCHOR * torch.stack(way).sum()).backward()
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def _scores(self, tokens: Tensor) -> Tensor:
        seen = self._last
        scores: Tensor = self.head(tokens)[:, 1:]
        self._last = seen
        return scores

    def state(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return what is kept."""
        return dict(self.clicks)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        device = next(self.head.parameters()).device
        self.clicks = {
            kind: (tokens.to(device), wanted.to(device))
            for kind, (tokens, wanted) in state.items()
        }
