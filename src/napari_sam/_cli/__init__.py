"""The ``napari-sam`` command: one module for each subcommand.

torch and the like are imported when a command runs, so that ``--help`` is quick.
"""

from typing import Annotated

import typer

from napari_sam import __version__
from napari_sam._cli import (
    auto,
    bench,
    clean,
    demo,
    evaluate,
    export,
    finetune,
    models,
    replay,
    segment,
    text,
    volume,
)
from napari_sam._cli.console import CommandGroup

__all__ = ["app"]

app = typer.Typer(
    name="napari-sam",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"napari-sam {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it."
        ),
    ] = False,
) -> None:
    """Segment Anything on images and stacks, from points and boxes."""


app.command()(demo.demo)
app.command()(segment.segment)
app.command()(volume.volume)
app.command()(text.text)
app.command()(auto.auto)
app.command()(clean.clean)
app.command()(export.export)
app.command()(replay.replay)
app.add_typer(models.models_app, name="models")
app.command()(finetune.finetune)
app.command()(evaluate.evaluate)
app.command()(bench.bench)
