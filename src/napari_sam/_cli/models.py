"""``napari-sam models``: which models there are, and where they are."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_sam._cli.console import fetch, output, say

if TYPE_CHECKING:
    from napari_sam.types import ModelSpec

models_app = typer.Typer(help="List and download models.")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List and download models; alone, the same as `models list`."""
    if context.invoked_subcommand is None:
        list_models()


@models_app.command("list")
def list_models() -> None:
    """Show every model: its image encoder, licence, and whether it is here."""
    from napari_sam import registry

    table = Table(box=None, pad_edge=False)
    for column in ("model", "encoder", "available", "trained on", "licence"):
        # A name must stay whole: it is typed or copied.
        table.add_column(column, no_wrap=column == "model", overflow="fold")
    for spec in registry.list_models():
        here, _, trained_on = _where(spec), *spec.description.rpartition(": ")[1:]
        table.add_row(spec.name, spec.encoder, here, trained_on, spec.license)
    output().print(table)
    say(f"Downloads are kept in {registry.cache_directory()}")
    say(f"Models of your own are looked for in {registry.models_directory()}")


def _where(spec: "ModelSpec") -> str:
    """Whether a model is here, and its size if it is."""
    from napari_sam import registry

    reason = registry.missing_extra(spec)
    if reason is not None:
        return reason.partition(":")[0]
    if not registry.is_available(spec):
        return "to download"
    path = registry.checkpoint_path(spec)
    files = path.iterdir() if path.is_dir() else [path]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    how = "included" if spec.bundled else "downloaded" if spec.url else "yours"
    return f"{how}, {megabytes:.0f} MB"


@models_app.command("download")
def download_model(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
) -> None:
    """Download a model, its licence shown first, and check that it is intact."""
    say(str(fetch(name)))


@models_app.command("path")
def show_path(
    name: Annotated[str | None, typer.Argument(help="Name of a model.")] = None,
) -> None:
    """Print where downloads are kept, or where a model's file is or will be."""
    from napari_sam import registry

    if name is None:
        say(str(registry.cache_directory()))
    else:
        say(str(registry.checkpoint_path(registry.get_spec(name))))
