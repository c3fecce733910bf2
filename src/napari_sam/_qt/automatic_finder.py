"""From a search to objects in the labels: what the widget "Automatic masks" does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sam._detections import check_phrases
from napari_sam._layers import (
    ViewPlane,
    check_target,
)
from napari_sam._layers_view import image_shape
from napari_sam._qt import workspace
from napari_sam._qt.automatic_choices import FindChoices, Found, first_filters
from napari_sam._qt.automatic_engine import (
    Numbered,
    PlaneLabels,
    Search,
    StackSearch,
    search,
    search_stack,
)
from napari_sam._qt.automatic_where import examples_in, region_in
from napari_sam._qt.fit_engine import (
    Comparison,
    FitWords,
    Rankers,
    compare,
    search_stack_for,
)
from napari_sam._qt.label_steps import taken_back
from napari_sam._qt.model_chooser import lacking_for_words
from napari_sam._qt.object_finder import ObjectFinder
from napari_sam._qt.object_writer import count_text
from napari_sam._qt.plane_layer import lengths
from napari_sam._qt.scene import download_text
from napari_sam._text_models import check_folder
from napari_sam.automatic import AutomaticOptions
from napari_sam.sharpening import LARGE_PLANE
from napari_sam.text_ranker import KINDS, RANKERS, load_ranker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

    from napari_sam._candidates import Candidates
    from napari_sam._qt.engine import Engine, Source
    from napari_sam.types import Plane


class Finder(ObjectFinder):
    """Finds objects by itself, lets them be chosen, and writes them into labels.

    Parameters
    ----------
    viewer : napari.Viewer
    engine : Engine
        What the worker calls.
    rankers : KeptModel of TextRanker, optional
    parent : QObject, optional

    Notes
    -----
    `changed` is sent when there is something new to show, `filtered` when the list of
    objects is another one, and `chosen_changed` when another of them is chosen.
    """

    filtered = Signal()
    chosen_changed = Signal(int)

    def __init__(
        self,
        viewer: Any,
        engine: Engine,
        rankers: Rankers | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(viewer, engine, FindChoices(), parent)
        self.rankers = rankers or Rankers(load_ranker, RANKERS)
        # What masks are compared with, from when the user asked for it.
        self.words: FitWords | None = None
        self.region: Shapes | None = None
        self.found: Found | None = None
        self.dismissed: set[int] = set()
        self.chosen = 0

    def _on_refreshed(self) -> None:
        if not workspace.is_in(self.viewer, self.region):
            self.region = next(iter(self.regions), None)

    @property
    def regions(self) -> list[Shapes]:
        """Shapes layers, the topmost first."""
        layers = reversed(workspace.layers_of(self.viewer))
        return [layer for layer in layers if isinstance(layer, Shapes)]

    @property
    def download(self) -> str | None:
        """What downloading the model means; None if it is there."""
        return download_text(self.choices.model)

    @property
    def is_large(self) -> bool:
        """Whether planes are searched tile by tile, and written as they come."""
        if self.image is None or self.view is None:
            return False
        shape = image_shape(self.image)
        rows, columns = (shape[axis] for axis in self.view.plane_axes)
        return rows * columns > LARGE_PLANE

    # What the user does

    def choose(self, **choices: Any) -> None:
        """Change choices; see `FindChoices`."""
        before, self.choices = self.choices, replace(self.choices, **choices)
        # Unless the user has moved a slider.
        if before.filters == first_filters(before.mode):
            filters = choices.get("filters", first_filters(self.choices.mode))
            self.choices = replace(self.choices, filters=filters)
        if not self.choices.phrases:
            self.words = None
        if self.choices.filters != before.filters or {"phrases", "min_fit"} & {
            *choices
        }:
            self._filter()
        if {"phrases", "against", "min_fit"} & {*choices}:
            self.changed.emit()  # of no layer
        else:
            self.refresh()

    def choose_folder(self, folder: str) -> None:
        """Choose a folder with a ranker; refused in a sentence if it has none."""
        with self._errors():
            check_folder(Path(folder), KINDS)
            self.choose(ranker=str(folder))

    @property
    def lacking(self) -> str:
        """What must be installed before words can be compared; "" if nothing."""
        return lacking_for_words(RANKERS)

    def compare(self) -> None:
        """Say how well words fit the objects that are shown, now and from now on."""
        chosen = self.choices
        with self._errors():
            if self.lacking:
                raise ValueError(self.lacking)
            check_phrases((*chosen.phrases, *chosen.against))
            words = FitWords(chosen.phrases, chosen.against, chosen.ranker)
            if self.found is not None and words != self.words:
                self.found = replace(self.found, fits={})
            self.words = words
            self.message = ""
            self._filter()

    def _compare_missing(self, found: Found) -> None:
        """Have what is shown compared, as far as it is not yet."""
        words, missing = self.words, np.isnan(found.fit_scores)
        # If something else is being done, once that has ended.
        if words is None or self.runner.is_busy or not missing.any():
            return
        masks, numbers = found.shown.take(missing), found.numbers[missing]
        plane = found.view.plane
        request = Comparison(found.source, plane, masks, numbers, words)
        work = partial(compare, self.engine, self.rankers, request)
        self._submit(work, lambda _: self._filter())

    def _on_step(self, step: Any) -> None:
        if isinstance(step, dict) and self.found is not None:
            self.found.fits.update(step)
        super()._on_step(step)

    def cancel(self) -> None:
        """Stop what is being done; nothing is changed."""
        self.words = None
        super().cancel()

    def run(self) -> None:
        """Look for objects in the displayed plane."""
        self.refresh()
        if self.image is None or self.view is None or self.source is None:
            return
        if self.is_large and self.choices.mode == "everything":
            self._search_planes(self.image, self.view, [self.view.plane])
            return
        with self._errors():
            request = self._search(self.image, self.view, self.source)
            self.message = ""
            done = partial(self._on_found, self.image, self.view, self.source)
            self._submit(partial(search, self.engine, request), done)

    def _search(self, image: Image, view: ViewPlane, source: Source) -> Search:
        if self.is_large:
            raise ValueError(
                "planes this large are searched for everything, tile by tile: choose "
                "'everything', or cut a part out."
            )
        request = Search(source, view.plane, self.choices.points_per_side)
        mode = self.choices.mode
        if mode == "everything":
            return request
        if mode == "region":
            return replace(request, region=region_in(self.region, image, view))
        if self.target is None:
            raise ValueError("choose the labels above: there are none yet.")
        check_target(self.target, image, view)
        here = view.read(self.target.data, view.index)
        if mode == "free":
            return replace(request, labels=here.copy())
        return replace(request, examples=examples_in(self.target, here))

    def run_stack(self) -> None:
        """Look for objects in the whole stack, and write them into the labels."""
        self.refresh()
        view, image, planes = self.view, self.image, self.stack_planes()
        if image is not None and view is not None and planes:
            self._search_planes(image, view, planes)

    def _search_planes(
        self, image: Image, view: ViewPlane, planes: Sequence[Plane]
    ) -> None:
        """Find objects in planes, and write them into the labels at once."""
        if self.source is None:
            return
        steps, _ = lengths(image, view)
        area = steps[view.plane_axes[0]] * steps[view.plane_axes[1]]
        options = AutomaticOptions(self.choices.points_per_side)
        options = self.choices.filters.applied_to(options, area)
        request = StackSearch(self.source, planes, options)
        done = partial(self._on_stack, image, view)
        with self._errors():
            if self.target is not None:
                check_target(self.target, image, view)
            work = partial(search_stack, self.engine, request)
            if self.words is not None:
                if self.is_large:
                    raise ValueError("words need planes that fit into memory.")
                wanted = self.words, self.choices.min_fit
                work = partial(
                    search_stack_for, self.engine, self.rankers, request, wanted
                )
            self.message = ""
            self._submit(work, done)

    def pick(self, number: int) -> None:
        """Choose one of the objects that are shown; 0 is none."""
        listed = self.found is not None and number in self.found.numbers
        wanted = int(number) if listed else 0
        if wanted == self.chosen:
            return
        self.chosen = wanted
        layer = self.preview.layer
        if wanted and layer is not None and layer.selected_label != wanted:
            layer.selected_label = wanted
        self.chosen_changed.emit(wanted)
        self.changed.emit()

    def accept(self, numbers: Sequence[int]) -> None:
        """Write objects that are shown into the labels, as one step to undo."""
        found = self.found
        if found is None or not len(numbers):
            return
        with self._errors():
            chosen = found.shown.take(np.isin(found.numbers, numbers))
            self._write(found, chosen, numbers)

    def accept_all(self) -> None:
        """Write all objects that are shown into the labels."""
        if self.found is not None:
            self.accept(self.found.numbers.tolist())

    def reject(self, numbers: Sequence[int]) -> None:
        """Take objects off the list."""
        self.dismissed.update(numbers)
        self._filter()

    def reject_all(self) -> None:
        """Take all objects off the list."""
        if self.found is not None:
            self.reject(self.found.numbers.tolist())

    def restore(self) -> None:
        """Bring back what was rejected or accepted."""
        self.dismissed.clear()
        self._filter()

    def undo(self) -> None:
        """Take back what was written last, where nothing else was written since."""
        with self._errors():
            self._say(taken_back(self.writer.steps.undo()))

    # What follows from it

    def _on_found(
        self, image: Image, view: ViewPlane, source: Source, every: Candidates
    ) -> None:
        self.dismissed.clear()
        self.chosen = 0
        nothing = every.take([])
        empty = np.zeros(0, np.intp)
        self.found = Found(image, view, source, Numbered(every), nothing, empty)
        self._filter()
        layer = self.preview.layer
        if layer is not None and self.preview.is_there:
            # A click on an object chooses it.
            self.viewer.layers.selection.active = layer
            layer.mode = "pick"

    def _filter(self) -> None:
        """Choose among the masks that were found; nothing is decoded."""
        found = self.found
        if found is None:
            return
        with self._errors():
            options = self.choices.filters.applied_to(
                found.masks.every.options, found.scale[0]
            )
            shown, numbers = found.masks.select(options)
            kept = ~np.isin(numbers, [*self.dismissed])
            shown, numbers = shown.take(kept), numbers[kept]
            found = replace(found, shown=shown, numbers=numbers)
            self._compare_missing(found)
            if self.words is not None:
                # What is not compared yet stays until it is.
                kept = ~(found.fit_scores <= self.choices.min_fit)
                shown, numbers = shown.take(kept), numbers[kept]
            self.found = replace(found, shown=shown, numbers=numbers)
            self._show(self.found)
        if self.chosen not in self.found.numbers:
            self.chosen = 0
        self.filtered.emit()
        self.changed.emit()

    def _show(self, found: Found) -> None:
        # The same number, and so the same colour, whatever else is filtered away.
        colours = np.zeros(len(found.numbers) + 1, np.int32)
        colours[1:] = found.numbers
        labels = colours[found.shown.label_image()]
        before = self.preview.layer
        layer = self.preview.show(labels, found.image, found.view)
        if layer is not before:
            layer.events.selected_label.connect(self._on_picked)

    def _on_picked(self, event: Any = None) -> None:
        if self.preview.layer is not None:
            self.pick(int(self.preview.layer.selected_label))

    def _write(self, found: Found, chosen: Candidates, numbers: Sequence[int]) -> None:
        def done(count: int) -> None:
            self._say_written(count)
            self.dismissed.update(numbers)
            self._filter()

        planes = [(found.view.plane, chosen.label_image())]
        self.writer.prepare(found.image, found.view, self.preview.layer)
        overlap, receiver = self.choices.overlap, self._receiver(done)
        self.writer.write(found.view, planes, overlap, receiver)

    def _on_stack(
        self, image: Image, view: ViewPlane, planes: list[PlaneLabels]
    ) -> None:
        with self._errors():
            self.writer.prepare(image, view, self.preview.layer)
            receiver = self._receiver(self._say_written)
            self.writer.write(view, planes, self.choices.overlap, receiver)

    def _say_written(self, count: int) -> None:
        name = "" if self.target is None else self.target.name
        self._say(f"{count_text(count)} written into {name}.")

    def _on_failure(self, error: Exception) -> None:
        self.words = None
        super()._on_failure(error)

    def _forget(self) -> None:
        self.found = None
        self.chosen = 0
        self.preview.remove()
        self.filtered.emit()
