"""Segment Anything in PyTorch: one concept, one file; names are the checkpoint keys.

The architecture follows Kirillov et al., "Segment Anything" (2023), and for the
TinyViT encoder Zhang et al., "Faster Segment Anything" (2023). The modules hold no
inference mode and no state besides their parameters, so that gradients reach every
parameter; the arithmetic is re-ordered where that is faster and equal up to rounding.
"""
