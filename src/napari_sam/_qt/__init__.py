"""What opens in a napari window; everything that knows Qt is in here."""
