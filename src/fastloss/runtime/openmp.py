"""Importing the extension module, and with it the OpenMP runtime, whose threads are to sleep between calls."""

from __future__ import annotations

import os

# Between two calls the threads of a team wait for the next one. By default they spin, and so slow down whatever else
# runs: those of libgomp for some milliseconds, those of libomp for 200. With these settings they sleep after about 20
# microseconds. A runtime reads them once, when it is loaded. So one that another package has loaded before keeps its
# own settings, and one that is loaded here keeps these for other packages, too.
WAIT = {"GOMP_SPINCOUNT": "300", "KMP_BLOCKTIME": "0"}
CHOICES = {"OMP_WAIT_POLICY", *WAIT}

_chosen = CHOICES & set(os.environ)
if not _chosen:
    os.environ.update(WAIT)
try:
    from fastloss._core import num_threads

    num_threads()  # libomp reads its environment at the first call
finally:
    if not _chosen:
        for name in WAIT:
            os.environ.pop(name, None)
