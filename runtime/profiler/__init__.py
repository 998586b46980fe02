"""Latency measured by a fixed protocol, and its reports."""
