"""Mask R-CNN on MindSpore: train, evaluate, export and deploy."""

import os

# oneDNN's plain-layout convolutions have fast kernels up to AVX2 only: with AVX-512 it falls back to its reference
# kernel, 20 to 200 times slower. It reads the variable when MindSpore is imported; a user's own value is kept.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

__version__ = "0.1.0"
