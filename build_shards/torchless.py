"""webdataset without torch, which it imports wherever torch is installed, for readers that no builder uses.

Torch would cost every process of a build 1.5 s and 190 MB. webdataset knows how to live without it.
"""

import contextlib
import sys


def import_webdataset() -> None:
    """Import webdataset with torch hidden. For processes that only build; where torch is loaded, nothing is hidden.

    Such a process can import torch afterwards, but webdataset's datasets are then none of torch's.
    """
    if "torch" in sys.modules:
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's own way to make an import fail
    try:
        with contextlib.suppress(ModuleNotFoundError):  # webdataset is missing: who needs it says so
            import webdataset  # noqa: F401
    finally:
        del sys.modules["torch"]
