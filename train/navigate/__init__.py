"""The navigation network: model, data, loss, evaluation."""
