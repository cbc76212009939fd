"""Import of the extension module, and with it of the OpenMP runtime."""

from __future__ import annotations

import os

# Between two calls the threads of a team wait for the next one. By default they do so at work: libgomp's for some
# milliseconds, libomp's for 200, which slows down whatever else runs. Here they sleep after some 20 microseconds.
# The runtimes read this once, when they are loaded: one that another package has loaded before stays as it is, and
# one that is loaded here keeps it for other packages, too.
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
