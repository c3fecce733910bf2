"""What the commands have in common: options, progress, and how they fail."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam.predictor import Predictor
    from napari_sam.types import ModelSpec, Precision

BAD_INPUT = 2
OTHER_FAILURE = 1

ModelOption = Annotated[str, typer.Option(help="Name of a model (see `models list`).")]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(help="A checkpoint file of your own, instead of a model's name."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, ...")]
PrecisionOption = Annotated[
    str, typer.Option(help="auto, float32, bfloat16 or float16 (GPUs only).")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]


@dataclass(frozen=True)
class ModelChoice:
    """Which model to load, and how: the arguments of `napari_sam.load_model`.

    Parameters
    ----------
    name : str
    checkpoint : Path, optional
    device, precision : str
    """

    name: str = "mobile_sam"
    checkpoint: Path | None = None
    device: str = "auto"
    precision: str = "auto"


def output() -> Console:
    """Console on the standard output stream, for results."""
    return Console(highlight=False)


def messages() -> Console:
    """Console on the standard error stream, for errors, warnings and progress."""
    return Console(stderr=True, highlight=False)


def say(text: str, console: Console | None = None) -> None:
    """Print a line as it is: neither wrapped nor read as markup."""
    (console or output()).print(text, markup=False, soft_wrap=True)


class CommandGroup(TyperGroup):
    """Commands that fail with one sentence on the standard error stream.

    The exit code is 2 for input the user can mend, 1 for what the machine refuses (a
    full disk, no network, no memory). Anything else is a defect and keeps its
    traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command, its warnings shown as lines of their own."""
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort):  # both are kinds of RuntimeError
            raise
        except (ValueError, FileNotFoundError, FileExistsError) as error:
            _show_error(error)
            raise typer.Exit(BAD_INPUT) from None
        except (OSError, RuntimeError, MemoryError, ImportError) as error:
            _show_error(error)
            raise typer.Exit(OTHER_FAILURE) from None


def _show_error(error: Exception) -> None:
    sentence = " ".join(str(error).split()) or type(error).__name__
    say(f"Error: {sentence}", messages())


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    say(f"Warning: {message}", messages())


@contextmanager
def progress(what: str, total: int) -> Iterator[Any]:
    """Show a bar on a terminal; the block calls what it is given after each step.

    Parameters
    ----------
    what : str
        Shown before the bar.
    total : int
        Number of steps.

    Yields
    ------
    callable
        Takes the number of steps done since the last call, 1 by default.
    """
    console = messages()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda steps=1: bar.advance(task, steps)


def load(choice: ModelChoice) -> "Predictor":
    """Load a model; if it must be downloaded, show its licence and progress.

    Raises
    ------
    ValueError, OSError
        As `napari_sam.load_model`.
    """
    from napari_sam import registry

    if choice.checkpoint is None:
        fetch(choice.name)
    precision = cast("Precision", choice.precision)
    return registry.load_model(choice.name, choice.checkpoint, choice.device, precision)


def fetch(name: str, known: "Mapping[str, ModelSpec] | None" = None) -> Path:
    """Download a model unless it is there; its licence is shown first.

    Parameters
    ----------
    name : str
    known : mapping of str to ModelSpec, optional
        Where the name is looked for; by default what `napari_sam.load_model` takes.

    Returns
    -------
    Path
        The checkpoint, or the model's folder.

    Raises
    ------
    ValueError, ImportError, OSError
        As `napari_sam.registry.download`.
    """
    from napari_sam import registry

    spec = registry.get_spec(name) if known is None else known[name]
    if not registry.is_available(spec):
        console = messages()
        say(f"{spec.name}: {spec.description}", console)
        say(f"Licence: {spec.license}", console)
        say(f"Downloading {spec.url}", console)
    return registry.download(spec, progressbar=messages().is_terminal)


def check_output(path: Path, force: bool) -> None:
    """Refuse, before any work is done, a file that could not be written at the end.

    Raises
    ------
    ValueError
        If the directory does not exist, or the file does and is not to be replaced.
    """
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no such directory.")
    if path.is_dir():
        raise ValueError(f"{path} is a directory; name a file.")
    if path.exists() and not force:
        raise ValueError(f"{path} exists; give --force to replace it.")
