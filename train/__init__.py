"""Models in PyTorch, their data, and the one training recipe they share."""
