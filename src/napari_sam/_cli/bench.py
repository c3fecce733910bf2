"""``napari-sam bench``: how fast this machine encodes planes and answers clicks."""

import json
import platform
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from napari_sam._cli.console import (
    CheckpointOption,
    DeviceOption,
    ForceOption,
    ModelChoice,
    ModelOption,
    PrecisionOption,
    check_output,
    load,
    output,
    progress,
    say,
)

if TYPE_CHECKING:
    from napari_sam.predictor import Predictor

MANY = 64
SEED = 0


def bench(
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each task.")] = 5,
    size: Annotated[int, typer.Option(min=16, help="Side of the plane.")] = 1024,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all times here, too.")
    ] = None,
    model: ModelOption = "mobile_sam",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Measure encoding and clicks on this machine; medians in milliseconds.

    Each task runs once to warm up and then --repeats times. A click includes
    all that happens between the prompt and the mask in the plane's pixels.
    """
    if json_file is not None:
        check_output(json_file, force)
    predictor = load(ModelChoice(model, checkpoint, device, precision))
    times = measure(predictor, size, repeats)
    about = describe(predictor)
    table = Table(box=None, pad_edge=False)
    table.add_column("task")
    for column in ("median ms", "fastest", "slowest"):
        table.add_column(column, justify="right")
    for task, each in times.items():
        shown = median(each), min(each), max(each)
        table.add_row(task, *(f"{ms:.1f}" for ms in shown))
    output().print(table)
    say(", ".join(f"{name} {value}" for name, value in about.items()))
    say(f"plane of {size} x {size} pixels, {repeats} repeats")
    if json_file is not None:
        report = {**about, "size": size, "repeats": repeats, "milliseconds": times}
        json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def describe(predictor: "Predictor") -> dict[str, Any]:
    """Say what was measured on: model, device, number format, processor, threads."""
    import torch

    device = predictor.device
    is_cuda = device.type == "cuda"
    return {
        "model": predictor.name,
        "device": torch.cuda.get_device_name(device) if is_cuda else device.type,
        "precision": str(predictor.dtype).removeprefix("torch."),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Return the name of the processor, as well as the system tells."""
    about = Path("/proc/cpuinfo")
    if about.is_file():
        lines = about.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def measure(predictor: "Predictor", size: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each repeat of each task.

    Parameters
    ----------
    predictor : Predictor
    size : int
        Side of the square plane in pixels.
    repeats : int
        Runs, after one to warm up.

    Returns
    -------
    dict of str to list of float
    """
    import napari_sam as ns

    # What a plane shows makes no difference to the time.
    rng = np.random.default_rng(SEED)
    plane = rng.integers(0, 256, (size, size), np.uint8)
    points = rng.uniform(0, size - 1, (MANY, 2))
    prompts = [ns.Prompts(points=[point]) for point in points]
    embedding = predictor.embed(plane)
    visited = ns.Session(plane, predictor)
    visited.embed()

    def first_click() -> object:
        return ns.Session(plane, predictor).segment(prompts[0])

    tasks: dict[str, Callable[[], object]] = {
        "encode a plane": lambda: _finished(predictor.embed(plane).features),
        "decode 1 prompt": lambda: predictor.decode(embedding, prompts[:1], True),
        f"decode {MANY} prompts": lambda: predictor.decode(embedding, prompts, True),
        "first click in a plane": first_click,
        "another click in it": lambda: visited.segment(prompts[0]),
    }
    times: dict[str, list[float]] = {}
    with progress("Measuring", len(tasks) * (repeats + 1)) as step:
        for name, task in tasks.items():
            times[name] = [_milliseconds(task, step) for _ in range(repeats + 1)][1:]
    return times


def _finished(features: Any) -> object:
    # A GPU works on behind the call until a value is asked for.
    return features.flatten()[0].item()


def _milliseconds(task: Callable[[], object], step: Callable[[], None]) -> float:
    start = perf_counter()
    task()
    elapsed = (perf_counter() - start) * 1e3
    step()
    return elapsed
