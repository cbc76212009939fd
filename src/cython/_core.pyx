# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The extension module: losses as objects, and how calls get from Python's arguments to C, which runs without the GIL.

Each of the included files has one subject; they are one module, so that their functions are C functions to each other.
"""

import numpy as np

from fastloss._checks import arrays as _arguments
from fastloss._checks import rows as _row_arguments

cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.math cimport INFINITY
from libc.string cimport memcpy, strcpy
from numpy cimport ndarray

include "api.pxi"

cnp.import_array()

include "runtime.pxi"
include "arrays.pxi"
include "result_pool.pxi"
include "weights.pxi"
include "call.pxi"
include "pointwise.pxi"
include "rows.pxi"
include "loss.pxi"
include "linear.pxi"
include "descent.pxi"
include "sgd.pxi"
