"""Only `torchvision.transforms.functional`."""
