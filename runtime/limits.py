"""How large what a bundle brings may be: each bound is checked before the memory that it guards is taken.

They are far above what networks for small computers need, and far below what makes a machine swap or a parser overflow.
"""

from __future__ import annotations

MANIFEST_BYTES = 4 << 20
"""Of a JSON file. Those that ship have 15 kB; a table of 10,000 layers left in fp32 has 2 MB."""
JSON_DEPTH = 32
"""Lists and objects within each other. Ours have 8; Python's own parser gives up at some 1,000, untidily."""
JSON_STRING = 1 << 16
"""Characters of one string. The longest of ours, a list of training data in words, has 500."""
JSON_NUMBER = 1 << 63
"""Integers lie below it in size: numpy, ONNX and JSON readers of other languages have 64 bits."""
FILES = 10_000
"""Files that a manifest may list: each is opened and hashed."""
PATH = 240
"""Bytes of a path within a bundle, so that with its folder it fits file systems that take 255 a name."""
FILE_BYTES = 16 << 30
"""Of one file that is hashed, such as an engine; about 10 s of hashing a GB on an old board."""
MODEL_BYTES = (2 << 30) - 1
"""Of an ONNX file: protobuf, in which it is written, has no larger message."""
TENSORS = 64
"""Inputs, and outputs, of a network."""
RANK = 8
"""Dimensions of a tensor. Video in batches has 5, windowed attention 6; TensorRT takes 8."""
TENSOR_BYTES = 1 << 30
"""Of one input or output: 4096 x 4096 pixels of three floats take a fifth of it."""
MODEL_VALUES = 1 << 32
"""Numbers that a tensor of an ONNX file may be declared to have (16 GB of float32). What it stores, its size bounds."""
ONNX_FIELDS = 4_000_000
"""Fields of an ONNX file that are walked through, tensors' data counted as one. ResNet-50 has 10,000."""
ONNX_DEPTH = 64
"""Messages within messages; a graph within a graph takes three of them. Protobuf itself stops at 100."""
