"""Sphinx configuration; ``tox -e docs`` builds with it, and a warning is an error."""

import napari_sam

project = "napari-sam"
author = "napari-sam developers"
project_copyright = "2026, napari-sam developers"
version = release = napari_sam.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"napari-sam {release}"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # numpydoc sections give the types, with shapes and units
autodoc_mock_imports = ["distributed"]  # an extra, of one function
autosummary_generate = True
# Public names live in the package although they are defined in its modules.
autosummary_imported_members = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
