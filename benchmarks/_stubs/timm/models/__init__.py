"""Only `timm.models.layers` and `timm.models.registry`."""
