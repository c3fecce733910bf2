"""The four names of timm that MobileSAM imports; none computes anything at inference.

timm itself needs the real torchvision at import.
"""
