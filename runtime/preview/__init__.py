"""The preview: a page, figures for it and for Prometheus, over HTTP in threads of their own.

`preview.py` is the sink that everything else hangs on. Nothing here may hold the pipeline up: a result costs it one
sum, pictures are made only while somebody waits for one, and a viewer that is slow waits alone.
"""
