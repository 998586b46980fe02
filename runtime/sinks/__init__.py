"""Sinks: callables that take each `Result`. One file each.

A sink that holds something is a context manager too; see `jsonlines.py` for the smallest. A sink does not write
into the frame it is given.
"""
