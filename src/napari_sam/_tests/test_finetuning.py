"""Fine-tuning a tiny model: what is trained, what is kept, what survives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam import (
    _finetuning_guard,
    _finetuning_options,
    _finetuning_replay,
    _finetuning_trainer,
    finetuning,
)
from napari_sam._finetuning_check import KEPT, Checker, chosen_objects, merit
from napari_sam._finetuning_copy import is_trained
from napari_sam._finetuning_data import LabelledImage
from napari_sam._finetuning_options import (
    LAST_RATE,
    FinetuneOptions,
    HeldOut,
    TrainingStep,
    schedule,
)
from napari_sam._finetuning_trainer import Trainer
from napari_sam._tests.tiny_models import tiny_predictor, tiny_sam
from napari_sam.finetuning import check_target, finetune
from napari_sam.registry import OpenedModel

QUICK = FinetuneOptions(steps=6, check_every=3, batch=1, remember=0.3, held_out=0.4)


def pairs(count=3):
    """Make planes with a bright disk and a bright square each."""
    made = []
    for i in range(count):
        rng = np.random.default_rng(i)
        rows, columns = np.ogrid[:48, :64]
        labels = np.zeros((48, 64), np.int32)
        labels[(rows - 16 - i) ** 2 + (columns - 18) ** 2 < 110] = 1
        labels[10 + i : 34, 38:56] = 2
        noise = rng.integers(0, 40, labels.shape)
        made.append(((labels > 0) * 150 + noise.astype(np.uint8), labels))
    return [(image.astype(np.uint8), labels) for image, labels in made]


def images(count=3):
    """Make the same as labelled images."""
    return [
        LabelledImage(image, labels, str(i), str(i))
        for i, (image, labels) in enumerate(pairs(count))
    ]


def open_tiny(_model="tiny") -> OpenedModel:
    """Stand in for `open_base`: a model that is in no registry."""
    state = tiny_sam().state_dict()
    parts = ("tiny", "sha256:tiny", state)
    return OpenedModel("tiny", "tiny.pt", "sha256:tiny", "MIT", state, *parts)


def build_tiny(state, source="tiny"):
    """Stand in for `build_from_state`."""
    model = tiny_sam(1)
    model.load_state_dict(state, strict=True)
    return model.requires_grad_(True)


def make_tiny(put) -> None:
    """Fine-tune a tiny model in short simulations, with few photographs to remember."""
    put(finetuning, "open_base", open_tiny)
    put(finetuning, "build_from_state", build_tiny)
    put(_finetuning_trainer, "PRACTISED", ("chelsea",))
    put(_finetuning_guard, "LOOKED_AT", ("rocket",))
    put(_finetuning_guard, "GRID", 1)
    put(_finetuning_trainer, "LENGTHS", (1, 1, 2, 2, 3))
    put(_finetuning_trainer, "OBJECT_CLICKS", 2)
    put(_finetuning_trainer, "PHOTOGRAPH_CLICKS", 2)


@pytest.fixture
def tiny(monkeypatch):
    """Fine-tune a tiny model."""
    make_tiny(monkeypatch.setattr)


TRAINED_PARTS = {
    "decoder": ("mask_decoder.",),
    "decoder+prompt": ("mask_decoder.", "prompt_encoder."),
    "lora": ("mask_decoder.", "image_encoder."),
    "full": ("mask_decoder.", "prompt_encoder.", "image_encoder."),
}


@pytest.mark.parametrize("train", TRAINED_PARTS)
def test_gradients_reach_what_is_trained_and_nothing_else(train, monkeypatch):
    """Every trained tensor moves, no other one does, and the base stays."""
    monkeypatch.setattr(_finetuning_trainer, "OBJECT_CLICKS", 4)
    base = tiny_predictor()
    before = {k: v.clone() for k, v in base.model.state_dict().items()}
    options = replace(QUICK, train=train, remember=0, learning_rate=1e-2)
    trainer = Trainer(base, images(1), options)
    start = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    for number in (1, 2, 3, 4):  # the choice, then points and boxes, some with a mask
        trainer.step(number)
    moved = {
        name
        for name, value in trainer.model.state_dict().items()
        if not torch.equal(value, start[name])
    }
    # Only some of three masks learn, and only kinds of points that were given.
    still = {n for n in trainer.names if n not in moved}
    chance = ("output_hypernetworks_mlps", "point_embeddings")
    assert {n for n in still if not any(part in n for part in chance)} == set()
    assert moved <= set(trainer.names)
    assert all(is_trained(name, train) for name in moved)
    assert {n.partition(".")[0] + "." for n in moved} == set(TRAINED_PARTS[train])
    if train == "lora":
        encoder = [n for n in moved if n.startswith("image_encoder.")]
        assert all(".parametrizations.weight.0." in n for n in encoder)
    for name, value in base.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_classifier_of_tinyvit_is_not_trained():
    """It takes no part in an answer, and would only make the file larger."""
    assert not is_trained("image_encoder.head.weight", "full")
    assert not is_trained("image_encoder.norm_head.bias", "full")


def test_training_lowers_the_loss(monkeypatch):
    """On objects that it has seen, without flips and cuts."""
    monkeypatch.setattr(_finetuning_trainer, "LENGTHS", (1,) * 5)
    monkeypatch.setattr(_finetuning_options, "WARM_UP", 1)
    options = replace(QUICK, remember=0, augment=False, learning_rate=3e-3)
    trainer = Trainer(tiny_predictor(), images(1), options)
    losses = [trainer.step(number).loss for number in range(1, 21)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_the_average_follows_the_weights():
    """It lies between the start and what has been reached."""
    trainer = Trainer(tiny_predictor(), images(1), replace(QUICK, remember=0))
    for number in range(1, 4):
        trainer.step(number)
    name = "mask_decoder.iou_token.weight"
    start, average = trainer.start[name], trainer.average[name]
    way = (trainer.trained[name].detach() - start).norm()
    assert 0 < (average - start).norm() < way
    half = trainer.between(0.5, trainer.average)[name]
    torch.testing.assert_close(half, (start + average) / 2)


def test_the_learning_rate_rises_and_falls():
    """In a few updates to all of it, then to nearly nothing at the end of the run."""
    rates = [schedule(1000, done) for done in np.linspace(0, 1, 20)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(LAST_RATE) == schedule(1000, 1.5)
    assert schedule(1, 0) < 0.1


def test_photographs_are_looked_at_only_for_what_could_be_best(tiny, tmp_path):
    """They cost time; what is worse on the images held out is dropped as it is."""
    options = replace(QUICK, steps=4, check_every=1)
    steps = list(finetune(pairs(), tmp_path / "a.pt", options=options))
    start = best = steps[0].held_out
    assert start is not None
    for step in steps[1:]:
        found = step.held_out
        assert found is not None
        alone = replace(found, kept=float("nan"))
        assert np.isnan(found.kept) != (merit(alone, start) > merit(best, start))
        if step.is_best:
            best = found


def test_what_knows_more_but_forgot_is_looked_for_half_way(tiny, tmp_path, monkeypatch):
    """Between the base and the last weights, though none was better than the base."""
    start = dict(tiny_predictor().model.named_parameters())
    ways = []

    class Forgetting(Checker):
        """The farther the weights are, the more they know; the farthest forgot all."""

        def __call__(self, weights):
            way = sum(float((w - start[n]).detach().norm()) for n, w in weights.items())
            ways.append(way)
            return HeldOut(way, way, way, way)

        def with_kept(self, held_out):
            forgot = 0 < held_out.mean == max(ways)
            return replace(held_out, kept=0.0 if forgot else 1.0)

    monkeypatch.setattr(finetuning, "Checker", Forgetting)
    # The choice among the masks stays: how far weights are is up to the steps alone.
    monkeypatch.setattr(_finetuning_replay, "FIT_RATE", 0.0)
    options = replace(QUICK, steps=4, check_every=1, learning_rate=1e-5)
    steps = list(finetune(pairs(), tmp_path / "a.pt", options=options))
    assert not any(step.is_best for step in steps[: -len(finetuning.SHARES)])
    found = np.array(ways[-len(finetuning.SHARES) :]) / max(ways)
    np.testing.assert_allclose(found, finetuning.SHARES, rtol=1e-2)
    assert steps[-len(finetuning.SHARES)].is_best


def test_the_choice_is_learned_for_any_weights(tiny):
    """Only the head for the scores changes; what is being trained stays."""
    options = replace(QUICK, remember=0.5)
    trainer = Trainer(tiny_predictor(), images(1), options)
    moved = {n: w + 0.01 for n, w in trainer.start.items()}
    chosen, loss = trainer.choose(moved, 3)
    assert np.isfinite(loss)
    for name, tensor in chosen.items():
        is_head = "iou_prediction_head" in name
        assert torch.equal(tensor, moved[name]) != is_head
        assert torch.equal(trainer.trained[name], trainer.start[name])
    again, _ = trainer.choose(moved, 3)
    assert all(torch.equal(again[n], tensor) for n, tensor in chosen.items())
    assert set(trainer.replay.clicks) == {"labels", "photographs"}


def test_accumulated_rounds_make_one_update():
    """As many rounds as were asked for."""
    trainer = Trainer(
        tiny_predictor(), images(1), replace(QUICK, accumulate=3, remember=0)
    )
    number = 1  # the first step makes no round
    while trainer.rounds < 7:
        number += 1
        trainer.step(number)
    assert trainer.updates == trainer.rounds // 3


def curve(steps):
    """Return what a run says, without the time it took."""
    return [repr(replace(step, seconds=0.0)) for step in steps]


def test_a_run_reports_and_writes(tiny, tmp_path):
    """The base, checks after one and every third step, then what lies between."""
    out = tmp_path / "a.pt"
    steps = list(finetune(pairs(), out, options=QUICK))
    assert [one.number for one in steps[:7]] == [*range(7)]
    checked = [one.number for one in steps[:7] if one.held_out is not None]
    assert checked == [0, 1, 3, 6]
    assert steps[0].held_out.kept == 1
    for step in steps[1:7]:
        trained, remembered = np.isfinite(step.loss), np.isfinite(step.remembered)
        assert trained != remembered
    assert out.is_file() == any(one.is_best for one in steps)
    assert not (tmp_path / "a.pt.resume").exists()


def test_the_same_seed_gives_the_same_curve(tiny, tmp_path):
    """And another seed another one."""
    short = replace(QUICK, steps=3)
    runs = [
        curve(finetune(pairs(), tmp_path / "a.pt", options=replace(short, seed=seed)))
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def any_change(found: HeldOut, start: HeldOut) -> float:
    """Stand in for `merit`: a random model gets better only by chance."""
    return -9.0 if found == start else found.mean


def killed(out: Path) -> None:
    """Train in a process of its own that is killed in the middle of step 5."""
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(finetuning.__file__).parents[1])!r})
from napari_sam import finetuning
from napari_sam._tests import test_finetuning as here
here.make_tiny(setattr)
finetuning.merit = here.any_change
for step in finetuning.finetune(here.pairs(), {str(out)!r}, options=here.QUICK):
    if step.number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_run_goes_on_from_its_last_check(tiny, tmp_path, monkeypatch):
    """With the same curve and the same result as a run that was never killed."""
    monkeypatch.setattr(finetuning, "merit", any_change)
    whole = list(finetune(pairs(), tmp_path / "whole.pt", options=QUICK))
    killed(tmp_path / "killed.pt")
    rest = list(finetune(pairs(), tmp_path / "killed.pt", options=QUICK, resume=True))
    assert [one.number for one in rest[:3]] == [4, 5, 6]
    assert curve(rest) == curve(whole[4:])
    found, expected = (
        torch.load(tmp_path / name, weights_only=True)["tensors"]
        for name in ("killed.pt", "whole.pt")
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], expected[k]) for k in expected)


def test_only_the_same_run_is_resumed(tiny, tmp_path):
    """Other options or data are another run; when to stop may change."""
    out = tmp_path / "a.pt"
    with pytest.raises(ValueError, match="there is nothing to resume"):
        finetune(pairs(), out, options=QUICK, resume=True)
    run = finetune(pairs(), out, options=QUICK)
    for step in run:
        if step.number == 4:
            break
    run.close()
    for data, options in (
        (pairs(), replace(QUICK, batch=2)),
        (pairs(4), QUICK),
    ):
        with pytest.raises(ValueError, match="belongs to a run with other data"):
            finetune(data, out, options=options, resume=True)
    longer = replace(QUICK, steps=4)
    assert next(iter(finetune(pairs(), out, options=longer, resume=True))).number == 4
    (tmp_path / "a.pt.resume").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="truncated"):
        finetune(pairs(), out, options=QUICK, resume=True)


@pytest.mark.parametrize("train", TRAINED_PARTS)
def test_the_file_holds_what_was_reached(tiny, tmp_path, train):
    """Put on the base again, it gives the trained model."""
    from napari_sam._tuned_checkpoint import is_tuned, read_about, tuned_state

    out = tmp_path / "a.pt"
    options = replace(QUICK, train=train, held_out=0, steps=2, remember=0)
    list(finetune(pairs(1), out, options=options))
    loaded = torch.load(out, weights_only=True)
    assert is_tuned(loaded)
    about = read_about(loaded, "a")
    assert (about.base, about.train, about.license) == ("tiny", train, "MIT")
    assert about.data["train_objects"] == 2
    state = tuned_state(tiny_sam().state_dict(), loaded, "a")
    base = tiny_sam().state_dict()
    changed = {n.partition(".")[0] + "." for n in state if (state[n] != base[n]).any()}
    assert changed == set(TRAINED_PARTS[train])
    build_tiny(state)


@pytest.mark.parametrize("train", TRAINED_PARTS)
def test_the_file_holds_what_was_checked(tiny, tmp_path, monkeypatch, train):
    """Not the weights that are trained on, of which it is an average, or a part way."""
    checked: list[dict[str, torch.Tensor]] = []

    class Remembering(Checker):
        """Keeps the weights that it looks at."""

        def __call__(self, weights):
            checked.append({name: one.clone() for name, one in weights.items()})
            return super().__call__(weights)

    monkeypatch.setattr(finetuning, "Checker", Remembering)
    monkeypatch.setattr(finetuning, "merit", any_change)
    out = tmp_path / "a.pt"
    options = replace(QUICK, train=train, learning_rate=1e-2, steps=2, check_every=1)
    steps = list(finetune(pairs(), out, options=options))
    best = max(number for number, step in enumerate(steps) if step.is_best)
    number = sum(step.held_out is not None for step in steps[:best])
    stored = torch.load(out, weights_only=True)["tensors"]
    there = [*stored.values(), *tiny_sam().state_dict().values()]
    for name, wanted in checked[number].items():
        assert any(torch.equal(wanted, one) for one in there), name


def test_without_anything_held_out_the_last_model_is_kept(tiny, tmp_path):
    """One image cannot be held out from itself."""
    steps = list(finetune(pairs(1), tmp_path / "a.pt", options=QUICK))
    assert all(one.held_out is None for one in steps)
    assert (tmp_path / "a.pt").is_file()


def test_training_ends_when_checks_are_in_vain(tiny, tmp_path, monkeypatch):
    """After as many as are allowed."""
    # Steps so small that they change nothing.
    monkeypatch.setattr(_finetuning_replay, "FIT_RATE", 0.0)
    options = replace(
        QUICK, steps=9, patience=2, check_every=1, learning_rate=1e-30, remember=0
    )
    steps = list(finetune(pairs(), tmp_path / "a.pt", options=options))
    assert steps[-1].number == 2
    assert not any(one.is_best for one in steps)
    assert not (tmp_path / "a.pt").exists()


def test_the_last_steps_are_checked(tiny, tmp_path, monkeypatch):
    """Also if the run does not end with a check; it may be the best."""
    monkeypatch.setattr(finetuning, "merit", any_change)
    steps = list(finetune(pairs(), tmp_path / "a.pt", options=replace(QUICK, steps=4)))
    checked = [one.number for one in steps if one.held_out is not None]
    assert checked[:4] == [0, 1, 3, 4]
    trained = [
        one.number for one in steps if np.isfinite([one.loss, one.remembered]).any()
    ]
    assert trained == [1, 2, 3, 4]


def test_time_is_kept_for_the_checks_at_the_end(tiny, tmp_path):
    """A quarter of it at most, so that something is learned at all."""
    options = replace(QUICK, steps=None, minutes=1)
    run = finetuning._Run(open_tiny(), (images(2), images(1)), options, Path(), "")
    assert run._training_seconds() == 60
    run.progress.check_seconds = 2
    assert run._training_seconds() == 60 - 2 * (1 + len(finetuning.SHARES))
    run.progress.check_seconds = 1000
    assert run._training_seconds() == 45


def test_time_is_up(tiny, tmp_path):
    """After the step that is being done; the first one always is."""
    options = replace(QUICK, steps=None, minutes=1e-9)
    steps = list(finetune(pairs(), tmp_path / "a.pt", options=options))
    assert [one.number for one in steps[:2]] == [0, 1]
    assert steps[1].held_out is not None
    assert steps[-1].number == 1


def test_what_gets_worse_costs_more():
    """With many clicks, with boxes, on photographs."""
    base = HeldOut(0.4, 0.6, 0.8, 0.8, 1.0)
    better = replace(base, click1=0.6)
    assert merit(better, base) > merit(base, base) == base.mean
    assert merit(replace(better, box=0.65), base) < merit(base, base)
    assert merit(replace(better, click5=0.65), base) < merit(base, base)
    assert merit(replace(better, kept=KEPT), base) == merit(better, base)
    assert merit(replace(better, kept=KEPT - 0.2), base) < merit(base, base)
    assert merit(replace(better, kept=float("nan")), base) == merit(better, base)


def test_few_objects_are_looked_at_mirrored_too():
    """So that one odd object does not decide; many are enough as they are."""
    assert len(chosen_objects(images(1), 0)) == 3
    assert len(chosen_objects(images(4), 0)) == 4
    assert chosen_objects([], 0) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": "encoder"}, "train must be one of decoder"),
        ({"minutes": 0}, "minutes must be"),
        ({"minutes": float("nan")}, "minutes must be"),
        ({"minutes": "5"}, "minutes must be"),
        ({"steps": 0}, "steps must be"),
        ({"steps": 2.5}, "steps must be"),
        ({"batch": True}, "batch must be"),
        ({"patience": -1}, "patience must be"),
        ({"learning_rate": -1e-4}, "learning_rate must be"),
        ({"learning_rate": float("inf")}, "learning_rate must be"),
        ({"held_out": 1}, "held_out must be"),
        ({"remember": -0.1}, "remember must be"),
        ({"seed": -1}, "seed must be"),
        ({"precision": "float16"}, "precision must be"),
    ],
)
def test_bad_options_are_refused(options, message):
    """With what is allowed."""
    with pytest.raises(ValueError, match=message):
        FinetuneOptions(**options)


def test_bad_arguments_are_refused_before_any_work(tiny, tmp_path):
    """In one sentence, and nothing is written."""
    with pytest.raises(ValueError, match=r"out must end in \.pt"):
        finetune(pairs(), tmp_path / "a.txt")
    with pytest.raises(ValueError, match="existing directory"):
        finetune(pairs(), tmp_path / "none" / "a.pt")
    with pytest.raises(ValueError, match="out must be a path"):
        check_target(3)
    with pytest.raises(ValueError, match="options must be FinetuneOptions"):
        finetune(pairs(), tmp_path / "a.pt", options={"steps": 3})
    with pytest.raises(ValueError, match="data must"):
        finetune(3, tmp_path / "a.pt")
    tiny_objects = [(np.zeros((2048, 2048), np.uint8), np.eye(2048, dtype=int)[::-1])]
    tiny_objects[0][1][:, 1:] = 0
    with pytest.raises(ValueError, match="too small"):
        list(finetune(tiny_objects, tmp_path / "a.pt", options=QUICK))
    assert list(tmp_path.iterdir()) == []


def test_a_step_without_training_has_no_losses():
    """NaN, not zero."""
    step = TrainingStep(0, 1.0)
    assert np.isnan([step.loss, step.focal, step.dice, step.iou]).all()
