"""``napari-sam auto``: a folder of images in, a folder of labels out."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sam._cli.console import (
    OTHER_FAILURE,
    CheckpointOption,
    DeviceOption,
    ModelOption,
    PrecisionOption,
    fetch,
    messages,
    progress,
    say,
)

if TYPE_CHECKING:
    from napari_sam._series_work import WordFilter
    from napari_sam.series import ImageSeries, SeriesProgress

SourceArgument = Annotated[
    str,
    typer.Argument(
        help="A folder of images, or a pattern in quotes such as 'data/**/*.tif'.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path,
    typer.Option(help="Folder of the labels, and of the state.", show_default=False),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option(
        help="JSON file of prompts, as segment takes it, for all images; or a folder "
        "of such files, each with the name of its image. By default everything is "
        "segmented."
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|local|local:N",
        help="Work on a dask cluster, or in N processes of this machine.",
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(help="Folder of embeddings; with a cluster one that all share."),
]
PointsOption = Annotated[
    int, typer.Option(help="Points along each side of the grid that is tried.")
]
IouOption = Annotated[
    float, typer.Option(help="Predicted IoU that a mask must exceed.")
]
StabilityOption = Annotated[
    float, typer.Option(help="Stability that a mask must have.")
]
AreaOption = Annotated[
    float, typer.Option(help="Pixels that an object must have in a plane.")
]
_WORDS = "Keep only what words fit (extra text)"
WordsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--word", help="Keep masks that fit this. Repeatable.", rich_help_panel=_WORDS
    ),
]
AgainstOption = Annotated[
    list[str] | None,
    typer.Option(
        help="What else is in the images; words compete with it. Repeatable.",
        rich_help_panel=_WORDS,
    ),
]
WordScoreOption = Annotated[
    float,
    typer.Option(
        help="Score from 0 to 1 that one of the words must exceed.",
        rich_help_panel=_WORDS,
    ),
]
RankerOption = Annotated[
    str,
    typer.Option(
        help="clip_base, clip_large, siglip_base, or the folder of such a model.",
        rich_help_panel=_WORDS,
    ),
]
RestartOption = Annotated[
    bool,
    typer.Option("--restart", help="Forget what is done, and begin from the start."),
]


def auto(
    source: SourceArgument,
    out: OutOption,
    prompts: PromptsOption = None,
    scheduler: SchedulerOption = None,
    cache: CacheOption = None,
    points_per_side: PointsOption = 32,
    pred_iou: IouOption = 0.88,
    stability: StabilityOption = 0.95,
    min_area: AreaOption = 0,
    word: WordsOption = None,
    against: AgainstOption = None,
    min_word_score: WordScoreOption = 0.5,
    ranker: RankerOption = "clip_base",
    model: ModelOption = "mobile_sam",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    restart: RestartOption = False,
) -> None:
    """Segment every image of a folder.

    Stopped or interrupted, the same command goes on where it was. An image that fails
    does not stop the others: what failed, and why, is said at the end, and tried again
    the next time.
    """
    from napari_sam._automatic_options import AutomaticOptions
    from napari_sam._cli.auto_prompts import PromptedWork
    from napari_sam._series_work import AutomaticWork
    from napari_sam.series import STATE_FILE, ImageSeries, find_images

    options = AutomaticOptions(
        points_per_side=points_per_side,
        pred_iou_thresh=pred_iou,
        stability_score_thresh=stability,
        area_range=(min_area, float("inf")) if min_area else None,
    )
    words = _word_filter(word or (), against, min_word_score, ranker)
    if words is not None and prompts is not None:
        raise ValueError("--word chooses among all masks; leave --prompts out.")
    weights = None if checkpoint is None else str(checkpoint.resolve())
    settings: dict[str, Any] = {"model": model, "checkpoint": weights}
    settings["precision"] = precision
    if words is not None:
        settings["words"] = asdict(words)
    if prompts is None:
        settings["automatic"] = asdict(options)
    else:
        settings["prompts"] = _fingerprint(prompts)
    if restart:
        (out / STATE_FILE).unlink(missing_ok=True)
    series = ImageSeries(find_images(source), out, settings)
    _fetch(None if weights else model, words)
    loading = {"name": model, "checkpoint": weights, "device": device}
    loading["precision"] = precision
    make_work: Any = (
        partial(AutomaticWork, loading, cache, options, words)
        if prompts is None
        else partial(PromptedWork, loading, cache, prompts)
    )
    with _steps(series, make_work, scheduler) as steps:
        _follow(series, steps)
    _summarise(series)


def _word_filter(
    words: Sequence[str], against: Sequence[str] | None, score: float, ranker: str
) -> "WordFilter | None":
    """Words that masks have to fit; None if there are none."""
    from napari_sam._series_work import WordFilter

    if not words:
        return None
    rivals = {} if against is None else {"against": tuple(against)}
    return WordFilter(tuple(words), score, ranker, **rivals)


def _fetch(model: str | None, words: "WordFilter | None") -> None:
    """Download what has a name."""
    from napari_sam.text_ranker import RANKERS

    if model is not None:
        fetch(model)
    if words is not None and words.ranker in RANKERS:
        fetch(words.ranker, RANKERS)


def _fingerprint(prompts: Path) -> str:
    """Say which prompts they are: changed ones are other settings."""
    files = sorted(prompts.glob("*.json")) if prompts.is_dir() else [prompts]
    if not files or not files[0].is_file():
        raise ValueError(f"--prompts must be a JSON file or a folder, got {prompts}.")
    digest = sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _steps(
    series: "ImageSeries", make_work: Any, scheduler: str | None
) -> Iterator[Generator["SeriesProgress", None, Any]]:
    from napari_sam.series import run_series

    if scheduler is None:
        yield run_series(series, make_work)
        return
    try:
        from napari_sam._series_cluster import connected, run_series_on
    except ImportError:
        raise ValueError(
            "--scheduler needs dask.distributed: "
            "install napari-sam-stacks[distributed]."
        ) from None
    with connected(scheduler) as client:
        yield run_series_on(client, series, make_work)


def _follow(
    series: "ImageSeries", steps: Generator["SeriesProgress", None, Any]
) -> None:
    with progress("Images", len(series.unfinished)) as advance:
        for step in steps:
            if step.image.state in ("done", "failed"):
                advance()
                say(f"{step.image.name}: {step.image.state}", messages())


def _summarise(series: "ImageSeries") -> None:
    failed = [image for image in series if image.state == "failed"]
    done = sum(image.state == "done" for image in series)
    say(f"{series.folder}: {done} of {len(series)} images done")
    for image in failed:
        say(f"Failed: {image.name}: {image.message}", messages())
    if failed:
        raise typer.Exit(OTHER_FAILURE)
