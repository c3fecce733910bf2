"""The commands that train and score models."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_sam import registry
from napari_sam._cli import app, evaluation_plot
from napari_sam._finetuning_options import HeldOut, TrainingStep
from napari_sam._tests.test_finetuning import pairs
from napari_sam.session import Session


@pytest.fixture
def folder(tmp_path):
    """Write labelled images."""
    for i, (image, labels) in enumerate(pairs(2)):
        np.savez(tmp_path / f"{i}.npz", image=image, label=labels)
    return tmp_path


def run(*arguments: object):
    """Run a command in this process."""
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def trained(monkeypatch):
    """Stand in for the training; remember what it was asked for."""
    from napari_sam import finetuning

    asked: dict[str, Any] = {}

    def fake(data, out, model, options, resume):
        asked.update(data=data, model=model, options=options, resume=resume)
        yield TrainingStep(0, 0.0, held_out=HeldOut(0.3, 0.5, 0.7, 0.8))
        yield TrainingStep(1, 9.0, 1.0, 0.1, 0.2, 0.3)
        if asked.get("in_vain"):
            return
        out.write_bytes(b"model")
        better = HeldOut(0.6, 0.7, 0.8, 0.85)
        yield TrainingStep(2, 20.0, held_out=better, is_best=True)
        if asked.get("interrupted"):
            raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "finetune", fake)
    return asked


def test_finetune_says_what_it_gained(folder, tmp_path, trained):
    """Before and after, and how to open the result."""
    out = tmp_path / "cells.pt"
    done = run(
        "finetune", folder, "--out", out, "--train", "lora", "--minutes", 3, "--seed", 5
    )
    assert done.exit_code == 0, done.output
    assert "0.300" in done.output
    assert "0.600" in done.output
    assert "--model cells" in done.output
    assert trained["data"] == folder
    assert trained["options"].train == "lora"
    assert trained["options"].minutes == 3
    assert trained["options"].seed == 5


def test_an_interrupted_training_keeps_the_best(folder, tmp_path, trained):
    """Ctrl+C is an end like any other."""
    trained["interrupted"] = True
    done = run("finetune", folder, "--out", tmp_path / "cells.pt")
    assert done.exit_code == 0
    assert "Stopped" in done.output


def test_a_training_in_vain_says_so(folder, tmp_path, trained):
    """There is no file then, and the exit code is 1."""
    trained["in_vain"] = True
    done = run("finetune", folder, "--out", tmp_path / "cells.pt")
    assert done.exit_code == 1
    assert "Nothing better" in done.output


def test_the_result_goes_where_models_are_looked_for(
    folder, tmp_path, trained, monkeypatch
):
    """Unless a place is given; it is not overwritten without being told to."""
    monkeypatch.setenv(registry.MODELS_VARIABLE, str(tmp_path / "models"))
    assert run("finetune", folder).exit_code == 0
    assert (tmp_path / "models" / "my_model.pt").is_file()
    done = run("finetune", folder)
    assert done.exit_code == 2
    assert "--force" in done.output
    assert run("finetune", folder, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--train", "all"), "train must be one of"),
        (("--minutes", "0"), "minutes must be"),
        (("--out", "none/a.pt"), "no such directory"),
    ],
)
def test_bad_options_fail_in_a_sentence(folder, options, message):
    """With exit code 2, before any work."""
    done = run("finetune", folder, *options)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_evaluate_writes_figures_and_a_plot(folder, tmp_path, predictor, monkeypatch):
    """Means, every object, and a picture."""
    monkeypatch.setattr(registry, "load_model", lambda *_: predictor)
    out, plot = tmp_path / "a.json", tmp_path / "a.png"
    arguments = ("evaluate", "mobile_sam", folder, "--clicks", 5)
    done = run(*arguments, "--out", out, "--plot", plot)
    assert done.exit_code == 0, done.output
    written = json.loads(out.read_text())
    assert written["mean"]["objects"] == len(written["objects"]) == 4
    assert written["mean"]["box"] > 0.8
    assert len(written["objects"][0]["clicks"]) == 5
    colours = {c for _, c in Image.open(plot).getcolors(1 << 20)}
    assert (27, 108, 168) in colours
    done = run(*arguments, "--out", out)
    assert done.exit_code == 2
    assert "--force" in done.output


def test_evaluate_compares_automatic_masks(folder, tmp_path, predictor, monkeypatch):
    """If asked to: AP in the table, in the JSON file and in a second plot."""
    monkeypatch.setattr(registry, "load_model", lambda *_: predictor)
    monkeypatch.setattr(Session, "generate_masks", lambda self: self.image // 100)
    out, plot = tmp_path / "a.json", tmp_path / "a.png"
    arguments = ("evaluate", "mobile_sam", folder, "--clicks", 5, "--automatic")
    done = run(*arguments, "--out", out, "--plot", plot)
    assert done.exit_code == 0, done.output
    assert "AP75" in done.output
    written = json.loads(out.read_text())
    # Disk and square are one mask for each image, so that one of two is found.
    assert [one["objects"] for one in written["automatic"]] == [2, 2]
    assert written["mean"]["ap"] <= written["mean"]["ap50"] <= 0.5
    picture = Image.open(plot)
    assert picture.width == 2 * evaluation_plot.SIZE[0]
    assert (42, 127, 63) in {c for _, c in picture.getcolors(1 << 20)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "no_model", "."), "model must be one of"),
        (("evaluate", "mobile_sam", "no_folder"), "must be a folder"),
        (("evaluate", "mobile_sam", ".", "--clicks", "2"), "clicks must be"),
        (("evaluate", "mobile_sam", ".", "--plot", "a.jpg"), "must end in .png"),
    ],
)
def test_bad_evaluations_fail_in_a_sentence(folder, arguments, message, monkeypatch):
    """With exit code 2."""
    monkeypatch.chdir(folder)
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.output
