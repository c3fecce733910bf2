"""The five functions of torchvision that the official SAM code imports.

On Linux the package index serves torchvision as a CUDA build, which does not load
beside a CPU build of torch. These stand-ins compute the same with PIL and torch.
"""
