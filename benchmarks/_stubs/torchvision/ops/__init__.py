"""Only `torchvision.ops.boxes`."""
