"""From a PyTorch model to a bundle: ONNX, artefacts for targets, and the gates they must pass."""
