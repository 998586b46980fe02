"""The face detector: model, data, loss, evaluation."""
