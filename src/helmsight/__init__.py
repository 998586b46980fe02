"""helmsight takes a vision model from PyTorch to a small computer with a camera.

The parts are `helmsight.train`, `helmsight.export`, `helmsight.runtime`, `helmsight.devices`; the commands
are in `helmsight.cli`. Importing this package loads none of them.
"""

__version__ = "0.1.0"
