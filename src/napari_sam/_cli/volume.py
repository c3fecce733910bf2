"""``napari-sam volume``: prompts on a few planes in, whole objects out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_sam._cli.console import (
    CheckpointOption,
    DeviceOption,
    ForceOption,
    ModelChoice,
    ModelOption,
    PrecisionOption,
    load,
    messages,
    progress,
    say,
)
from napari_sam._cli.label_images import CleanOptions, clean, smallest_dtype
from napari_sam._cli.planes import PlaneIndex, by_plane, put_plane
from napari_sam._cli.prompts_file import PromptedObject, read_prompts, whole_numbers
from napari_sam._cli.segment import (
    CLEANING,
    AxesOption,
    ContrastOption,
    FillHolesOption,
    ImageArgument,
    KeepLargestOption,
    OutOption,
    Outputs,
    Sharp,
    SharpOption,
    SmoothOption,
    check_outputs,
    open_image,
    rehearse,
)
from napari_sam._generators import result_of

if TYPE_CHECKING:
    from napari_sam.io import ImageFile
    from napari_sam.propagation import PropagationOptions
    from napari_sam.session import Session
    from napari_sam.types import Plane, Prompts

PromptsArgument = Annotated[
    Path, typer.Option(help="JSON file of prompts.", show_default=False)
]
AlongOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Which of the axes across planes to follow, 0 being the first; by "
        "default the last, which is z of (t, z, y, x).",
        show_default=False,
    ),
]
ConsensusOption = Annotated[
    bool,
    typer.Option(
        "--consensus",
        help="Look along the two other axes too, and keep what two of three say: for "
        "nearly equal spacing; takes three times as long or longer.",
    ),
]
MinSizeOption = Annotated[
    float,
    typer.Option(help="Remove parts of less volume.", rich_help_panel=CLEANING),
]
Seeds = dict[int, dict["Plane", "Prompts"]]


def volume(
    image: ImageArgument,
    prompts: PromptsArgument,
    out: OutOption,
    axes: AxesOption = "-2,-1",
    along: AlongOption = None,
    consensus: ConsensusOption = False,
    contrast: ContrastOption = None,
    sharp: SharpOption = Sharp.OFF,
    fill_holes: FillHolesOption = False,
    smooth: SmoothOption = 0,
    min_size: MinSizeOption = 0,
    keep_largest: KeepLargestOption = False,
    model: ModelOption = "mobile_sam",
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    force: ForceOption = False,
) -> None:
    """Follow objects through a stack from prompts on one or a few planes.

    The prompts file is that of `segment`. An id in several planes is one object,
    and improves with each; negative points alone say that it is not in that plane:

    {"schema_version": 1, "objects": [{"id": 1, "plane": 12, "box": [10, 20,
    50, 70]}, {"id": 1, "plane": 30, "points": [[30, 40]], "point_labels": [0]}]}

    Of (t, z, y, x) each time point with prompts is a volume of its own; --along 0
    follows them through time instead. Labels are cleaned in 3D.
    """
    from napari_sam.session import Session

    start = perf_counter()
    objects = read_prompts(prompts)
    cleaning = CleanOptions(fill_holes, 0, 0, smooth, min_size, keep_largest)
    check_outputs(Outputs(out), image, force)
    opened = open_image(image)
    rehearse(out, opened.ndim - opened.is_rgb)
    plane_axes = whole_numbers("axes", axes)
    predictor = load(ModelChoice(model, checkpoint, device, precision))
    session = Session(
        opened.data, predictor, plane_axes, opened.is_rgb, contrast, sharp=sharp.value
    )
    axis = _axis(session, along)
    stacks = by_stack(session, objects, axis)
    if consensus and opened.axes[session.axes.sliced[axis]] == "T":
        raise ValueError("--consensus must be left out along time.")
    track = follow_consensus if consensus else follow
    labels = track(session, stacks, axis, _options(opened, session, axis))
    for index in stacks:
        where = _stack_slices(session, index, axis)
        spacing = [
            float(step)
            for step, one in zip(opened.spacing, where, strict=False)
            if isinstance(one, slice)
        ]
        labels[where] = clean(labels[where], cleaning, spacing)
    _report_empty(objects, labels)
    _write(out, labels, opened)
    planes = len({session.check_plane(one.plane) for one in objects})
    _summarise(out, objects, planes, perf_counter() - start)


def by_stack(
    session: "Session", objects: Sequence[PromptedObject], along: int
) -> dict[PlaneIndex, Seeds]:
    """Sort prompts by the stack they are in, and then by object.

    Parameters
    ----------
    session : Session
    objects : sequence of PromptedObject
    along : int
        The sliced axis that is followed.

    Returns
    -------
    dict of index to {object id: {plane: Prompts}}
        The index is that of the other sliced axes; () if there are none.

    Raises
    ------
    ValueError
        If there is no such plane, or a prompt lies outside it.
    """
    stacks: dict[PlaneIndex, Seeds] = {}
    for index, group in by_plane(session, objects).items():
        seeds = stacks.setdefault(index[:along] + index[along + 1 :], {})
        plane = index[0] if len(index) == 1 else index
        for one in group:
            seeds.setdefault(one.label, {})[plane] = one.prompts
    return stacks


def follow(
    session: "Session",
    stacks: Mapping[PlaneIndex, Seeds],
    along: int,
    options: "PropagationOptions",
) -> NDArray[Any]:
    """Follow the objects of each stack, with a progress bar over the planes.

    Returns
    -------
    ndarray of the image's shape without colour, unsigned
        In the smallest type that holds the ids.
    """
    labels = _no_labels(session, stacks)
    # All seeds are checked before the first plane is encoded.
    steps = [
        session.propagate_objects(seeds, along=along, options=options)
        for seeds in stacks.values()
    ]
    total = len(steps) * session.stack_shape[along]
    with progress("Following", total) as step:
        for planes in steps:
            for plane, found in planes:
                put_plane(session, labels, session.check_plane(plane), found)
                step()
    return labels


def follow_consensus(
    session: "Session",
    stacks: Mapping[PlaneIndex, Seeds],
    along: int,
    options: "PropagationOptions",
) -> NDArray[Any]:
    """`follow`, along all three axes of each stack."""
    labels = _no_labels(session, stacks)
    work = [
        session.propagate_consensus(seeds, along=along, options=options)
        for seeds in stacks.values()
    ]
    axes = (session.axes.sliced[along], *session.axes.plane)
    total = len(work) * sum(session.image.shape[axis] for axis in axes)
    with progress("Following along three axes", total) as step:
        for index, steps in zip(stacks, work, strict=True):
            found = result_of(steps, lambda _: step())
            labels[_stack_slices(session, index, along)] = found.labels
    return labels


def _no_labels(session: "Session", stacks: Mapping[PlaneIndex, Seeds]) -> NDArray[Any]:
    """Zeros of the image's shape, in the smallest type that holds the ids."""
    highest = max(key for seeds in stacks.values() for key in seeds)
    shape = session.image.shape[: len(session.axes.sliced) + 2]
    return np.zeros(shape, smallest_dtype(highest))


def _axis(session: "Session", along: int | None) -> int:
    count = len(session.stack_shape)
    if count == 0:
        raise ValueError("image must be a stack, got one plane; see `segment`.")
    axis = count - 1 if along is None else along
    if not 0 <= axis < count:
        raise ValueError(f"--along must be 0 to {count - 1}, got {along}.")
    return axis


def _options(
    image: "ImageFile", session: "Session", along: int
) -> "PropagationOptions":
    """How far planes are apart, unless they are points in time."""
    from napari_sam.propagation import PropagationOptions

    axis = session.axes.sliced[along]
    if image.axes[axis] == "T":
        return PropagationOptions()
    rows, columns = session.axes.plane
    step, row, column = (float(image.spacing[a]) for a in (axis, rows, columns))
    return PropagationOptions(spacing=(step, row, column))


def _stack_slices(
    session: "Session", index: PlaneIndex, along: int
) -> tuple[int | slice, ...]:
    """Where a stack is in the array of labels."""
    where: list[int | slice] = [slice(None)] * (len(session.axes.sliced) + 2)
    others = session.axes.sliced[:along] + session.axes.sliced[along + 1 :]
    for axis, position in zip(others, index, strict=True):
        where[axis] = position
    return tuple(where)


def _report_empty(objects: Sequence[PromptedObject], labels: NDArray[Any]) -> None:
    for label in sorted({one.label for one in objects} - set(np.unique(labels))):
        say(f"Warning: object {label} has no voxels.", messages())


def _write(out: Path, labels: NDArray[Any], image: "ImageFile") -> None:
    from napari_sam.io import write_labels

    write_labels(out, labels, like=image)


def _summarise(
    out: Path, objects: Sequence[PromptedObject], planes: int, seconds: float
) -> None:
    count = len({one.label for one in objects})
    say(
        f"{out}: {count} object{'s' * (count > 1)} from prompts in "
        f"{planes} plane{'s' * (planes > 1)}, {seconds:.1f} s"
    )
