"""The ``napari-sam`` command: one module for each subcommand.

torch and the like are imported when a command runs, so that ``--help`` is quick.
"""

from typing import Annotated

import typer

from napari_sam import __version__
from napari_sam._cli.bench import bench
from napari_sam._cli.console import CommandGroup
from napari_sam._cli.demo import demo
from napari_sam._cli.models import models_app
from napari_sam._cli.segment import segment

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


app.command()(demo)
app.command()(segment)
app.add_typer(models_app, name="models")
app.command()(bench)
