# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Loss objects and the way of one call: checks, addresses, then C without the GIL."""

import numpy as np

from fastloss._checks import arrays as _arguments
from fastloss._checks import rows as _row_arguments

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.math cimport INFINITY
from libc.string cimport strcpy
from numpy cimport ndarray

include "api.pxi"

cnp.import_array()

# A call on fewer elements is over before handing the GIL to another thread would pay.
cdef enum:
    KEEP_GIL = 2 * FL_BLOCK

cdef enum Kind:
    VALUE, GRAD, VALUE_AND_GRAD, GRAD_AND_HESS

cdef enum Reduction:
    MEAN, SUM, NONE

cdef str _MEAN = "mean"
cdef object FLOAT32 = np.dtype(np.float32), FLOAT64 = np.dtype(np.float64)


# ---- the C side -------------------------------------------------------------------------------------


def select_level(wanted=None):
    """Choose the SIMD level, by name or the best one; raise ImportError if it cannot be.

    "x86-64-v3" is "v3", and "baseline" the lowest level.
    """
    cdef bytes name
    cdef const char *error
    if wanted:
        level_name = wanted.lower().removeprefix("x86-64-")
        name = (supported_levels().pop() if level_name == "baseline" else level_name).encode()
        error = fl_select_level(name)
    else:
        error = fl_select_level(NULL)
    if error != NULL:
        raise ImportError(
            f"FASTLOSS_ISA={wanted} {error.decode()}; this machine has "
            f"{', '.join(supported_levels()) or 'none of the levels that fastloss was built for'}"
        )


def level():
    return fl_level().decode()


def supported_levels():
    """The SIMD levels that this machine can run, best first."""
    names = []
    while fl_supported_level(len(names)) != NULL:
        names.append(fl_supported_level(len(names)).decode())
    return names


def openmp():
    return fl_openmp().decode()


def num_threads():
    return fl_num_threads()


def set_num_threads(int n):
    fl_set_num_threads(n)


def set_cpu_limit(int n):
    fl_set_cpu_limit(n)


def set_grain(int microseconds):
    """For tests: 0 lets every call of some blocks use the team; -1 is the usual grain."""
    fl_set_grain(microseconds)


def thread_limit():
    return fl_thread_limit()


def set_thread_limit(int n):
    fl_set_thread_limit(n)


def loss_names():
    """The names in the C registry, in its order."""
    return [fl_loss_name(i).decode() for i in range(<int>FL_N_LOSSES)]


cdef extern from "Python.h":
    int check_signals "PyErr_CheckSignals"() noexcept  # an exception stays set


cdef int interrupted() noexcept nogil:
    """Whether a signal's handler, such as that of Ctrl-C, has raised."""
    with gil:
        return check_signals() != 0


cdef int raise_pending() except? -1:
    """Let an exception that C has left behind come up."""
    return -1


cdef inline bint run(fl_call *call, double *total) except -1:
    """Whether an element violates the domain.

    A call that writes over its input is not interrupted: nobody could tell which elements are new.
    """
    cdef int status
    if call.size < KEEP_GIL:
        status = fl_run(call, total)
    else:
        if not is_in_place(call):
            call.interrupted = interrupted
        with nogil:
            status = fl_run(call, total)
    if status == FL_INTERRUPTED:
        raise_pending()
    return status == FL_VIOLATED


cdef bint is_in_place(const fl_call *call) noexcept:
    cdef int i, k
    for k in range(call.outputs):
        if call.weight.data == call.out[k].data:
            return True
        for i in range(call.inputs):
            if call.in_[i].data == call.out[k].data:
                return True
    return False


cdef enum:
    OPERANDS = 5  # of a call: y_true, y_pred, the weights and two results; or param, grad and velocity

# The shape and strides of a call. Copies: while the GIL is released, another thread may assign to
# array.shape, which frees the originals.
cdef struct Layout:
    Py_ssize_t shape[FL_MAX_DIMS]
    Py_ssize_t strides[OPERANDS][FL_MAX_DIMS]


cdef void set_shape(fl_call *call, Layout *layout, ndarray array) noexcept:
    cdef int d
    call.interrupted = NULL
    call.shape.ndim = cnp.PyArray_NDIM(array)
    call.size = cnp.PyArray_SIZE(array)
    call.shape.length = layout.shape
    for d in range(call.shape.ndim):
        layout.shape[d] = cnp.PyArray_DIM(array, d)


cdef void describe(fl_array *a, Py_ssize_t *strides, ndarray array, int ndim) noexcept:
    """An operand; one of fewer dimensions than the call is a scalar, whose strides are 0."""
    cdef int d
    a.data = <char *>cnp.PyArray_DATA(array)
    a.type = type_code(array)
    a.strides = NULL
    if cnp.PyArray_NDIM(array) == ndim and cnp.PyArray_IS_C_CONTIGUOUS(array):
        return
    a.strides = strides
    for d in range(ndim):
        strides[d] = cnp.PyArray_STRIDE(array, d) if cnp.PyArray_NDIM(array) == ndim else 0


cdef inline char kind_of(ndarray array) noexcept:
    return (<cnp.dtype>array.descr).kind


cdef int type_code(ndarray array) noexcept:
    """The fl_type of an array that as_array has let through."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(array)
    cdef int code
    cdef char kind = kind_of(array)
    if kind == c"f":
        code = FL_F16 if size == 2 else FL_F32 if size == 4 else FL_F64
    elif kind == c"i":
        code = FL_I8 if size == 1 else FL_I16 if size == 2 else FL_I32 if size == 4 else FL_I64
    elif kind == c"u":
        code = FL_U8 if size == 1 else FL_U16 if size == 2 else FL_U32 if size == 4 else FL_U64
    else:
        code = FL_BOOL
    if cnp.PyArray_ISBYTESWAPPED(array):
        code |= FL_SWAPPED
    return code


# ---- arguments --------------------------------------------------------------------------------------


cdef inline bint is_real(ndarray array) noexcept:
    cdef int number = cnp.PyArray_TYPE(array)  # not the kind: other packages define floats of their own
    return (cnp.NPY_BOOL <= number <= cnp.NPY_FLOAT64) or number == cnp.NPY_FLOAT16


cpdef ndarray as_array(str name, x):
    if type(x) is ndarray and is_real(<ndarray>x):
        return x
    return _arguments.convert(name, x)


cdef bint is_float(ndarray array) noexcept:
    return kind_of(array) == c"f"


cdef bint fits_single(ndarray array) noexcept:
    """Whether float32 holds every value of the dtype."""
    return cnp.PyArray_ITEMSIZE(array) <= (4 if is_float(array) else 2)


cdef int reduction_code(reduction) except -1:
    if isinstance(reduction, str):
        if reduction == "mean":
            return MEAN
        if reduction == "sum":
            return SUM
        if reduction == "none":
            return NONE
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def memory_range(ndarray array):
    """The addresses between which an array lies: (first byte, behind the last)."""
    cdef size_t low = <size_t>cnp.PyArray_DATA(array), high = low + cnp.PyArray_ITEMSIZE(array)
    cdef Py_ssize_t reach
    cdef int d
    if cnp.PyArray_SIZE(array) == 0:
        return low, low
    for d in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, d) - 1) * cnp.PyArray_STRIDE(array, d)
        if reach < 0:
            low += reach
        else:
            high += reach
    return low, high


cdef bint same_memory(ndarray a, ndarray b):
    """Whether element i of one is element i of the other: then writing in place is exact."""
    return (
        cnp.PyArray_DATA(a) == cnp.PyArray_DATA(b)
        and a.dtype == b.dtype
        and (<object>a).shape == (<object>b).shape
        and (<object>a).strides == (<object>b).strides
    )


def apart(ndarray param, ndarray grad):
    """The gradient, or a copy of it where moving the parameter would change what is still to be read."""
    return grad if same_memory(param, grad) or not np.may_share_memory(param, grad) else grad.copy()


cdef bint overlaps_any(ndarray out, list inputs):
    """Whether an output overlaps an input other than exactly."""
    for a in inputs:
        if out is not a and np.may_share_memory(out, a) and not same_memory(out, a):
            return True
    return False


cdef tuple parts_of(int kind, int reduction):
    """What a call returns."""
    if kind == GRAD:
        return ("gradient",)
    if kind == GRAD_AND_HESS:
        return ("gradient", "hessian")
    value = "value" if reduction == NONE else "float"
    return (value,) if kind == VALUE else (value, "gradient")


# ---- one call ---------------------------------------------------------------------------------------


cdef inline int pass_of(int kind, int reduction) noexcept:
    if kind == GRAD:
        return FL_PASS_grad
    if kind == GRAD_AND_HESS:
        return FL_PASS_grad_hess
    if kind == VALUE:
        return FL_PASS_value if reduction == NONE else FL_PASS_sum
    return FL_PASS_value_grad if reduction == NONE else FL_PASS_sum_grad


cdef inline bint is_straight(y_true, y_pred) noexcept:
    """Two contiguous arrays of one shape and one dtype, float32 or float64: no Python layer is needed."""
    if type(y_true) is not ndarray or type(y_pred) is not ndarray:
        return False
    cdef ndarray y = <ndarray>y_true, p = <ndarray>y_pred
    cdef int number = cnp.PyArray_TYPE(y), ndim = cnp.PyArray_NDIM(y), d
    if number != cnp.PyArray_TYPE(p) or (number != cnp.NPY_FLOAT64 and number != cnp.NPY_FLOAT32):
        return False
    if not (cnp.PyArray_ISCARRAY_RO(y) and cnp.PyArray_ISCARRAY_RO(p)) or ndim != cnp.PyArray_NDIM(p):
        return False
    for d in range(ndim):
        if cnp.PyArray_DIM(y, d) != cnp.PyArray_DIM(p, d):
            return False
    return cnp.PyArray_SIZE(y) > 0


cdef object straight(Loss loss, int kind, ndarray y, ndarray p):
    """The whole of a call without weights, `out` or parameters, reduction "mean"."""
    cdef fl_call call
    cdef double total
    cdef int which = pass_of(kind, MEAN), number = cnp.PyArray_TYPE(y), i
    cdef ndarray first = None, second = None

    call.real_bytes = 8 if number == cnp.NPY_FLOAT64 else 4
    call.kernel = fl_kernels(call.real_bytes).pointwise.loss[loss.id][which]
    call.shape.ndim = cnp.PyArray_NDIM(p)
    call.interrupted = NULL
    call.shape.length = <const Py_ssize_t *>cnp.PyArray_DIMS(p)
    call.size = cnp.PyArray_SIZE(p)
    call.scale = 1.0 / <double>call.size
    call.constants = loss.constants[number == cnp.NPY_FLOAT64]
    call.context = NULL
    call.inputs = 2
    call.outputs = 0 if kind == VALUE else 2 if kind == GRAD_AND_HESS else 1
    for i in range(2):
        call.in_[i].strides = call.out[i].strides = NULL
        call.in_[i].type = call.out[i].type = FL_F64 if number == cnp.NPY_FLOAT64 else FL_F32
    call.in_[0].data = <char *>cnp.PyArray_DATA(y)
    call.in_[1].data = <char *>cnp.PyArray_DATA(p)
    call.weight.data = NULL
    if kind != VALUE:
        first = new_result(call.shape.ndim, cnp.PyArray_DIMS(p), number)
        call.out[0].data = <char *>cnp.PyArray_DATA(first)
    if kind == GRAD_AND_HESS:
        second = new_result(call.shape.ndim, cnp.PyArray_DIMS(p), number)
        call.out[1].data = <char *>cnp.PyArray_DATA(second)
    if run(&call, &total):
        refuse_domain(loss, &call, y, p)
    if kind == VALUE:
        return total / <double>call.size
    if kind == GRAD:
        return first
    if kind == VALUE_AND_GRAD:
        return total / <double>call.size, first
    return first, second


cdef fl_call domain_check(Loss loss, const fl_call *call) noexcept:
    """The call that looks at the domain alone."""
    cdef fl_call check = call[0]
    check.kernel = fl_kernels(call.real_bytes).pointwise.loss[loss.id][<int>FL_PASS_check]
    check.outputs = 0
    return check


cdef object refuse_domain(Loss loss, const fl_call *call, y, p):
    """Raise for the first element outside of the loss's domain."""
    cdef fl_call check = domain_check(loss, call)
    cdef Py_ssize_t index
    check.interrupted = interrupted
    with nogil:
        index = fl_first_violation(&check)
    if index < 0:
        raise_pending()
    _arguments.refuse_domain(loss.name, fl_loss_requirement(loss.id).decode(), index, y, p)


cdef double sum_of(ndarray array, bint *finite) except? -1:
    """The sum of an array of at least one dimension, in the order of every other sum."""
    cdef fl_call call
    cdef Layout layout
    cdef double total
    call.real_bytes = 4 if fits_single(array) else 8
    call.kernel = fl_kernels(call.real_bytes).pointwise.sum
    set_shape(&call, &layout, array)
    describe(&call.in_[0], layout.strides[0], array, call.shape.ndim)
    call.inputs, call.outputs = 1, 0
    call.weight.data = NULL
    call.constants = NULL
    call.context = NULL
    call.scale = 1
    finite[0] = not run(&call, &total) and total - total == 0
    return total


cdef tuple weigh(ndarray weight, bint single, bint mean):
    """The weights in a range where nothing over- or underflows, and their sum."""
    cdef bint finite
    cdef double total = sum_of(weight, &finite)
    if not finite:
        _arguments.refuse_weight(weight)
    if mean and not (1e-12 if single else 1e-250) < abs(total) < (1e12 if single else 1e250):
        weight = _arguments.rescale_weight(weight)  # the mean does not change
        total = sum_of(weight, &finite)
        if total == 0 and weight.any():
            raise ValueError("sample_weight sums to 0, so the weighted mean is undefined; use reduction='sum'")
    return weight, total


cdef object general(Loss loss, int kind, y_true, y_pred, sample_weight, int reduction, out):
    """A call with any dtypes, layouts, scalars, weights and outputs."""
    cdef fl_call call, check
    cdef Layout layout
    cdef double total = 0, weights, divisor
    cdef bint finite
    cdef int which = pass_of(kind, reduction), i
    cdef ndarray y = as_array("y_true", y_true), p = as_array("y_pred", y_pred), w = None, result
    cdef bint y_weak = type(y_true) in (int, float, bool), p_weak = type(y_pred) in (int, float, bool)
    y_shape, p_shape = (<object>y).shape, (<object>p).shape

    if y_shape != p_shape and y_shape != () and p_shape != ():
        _arguments.refuse_shapes(y, p)
    # The derivative by a scalar y_pred of a mean or sum over many y_true is a scalar, too.
    cdef bint summed = p_shape == () and y_shape != () and reduction != NONE and kind != VALUE
    shape = y_shape if p_shape == () else p_shape

    # The dtype of the arithmetic is NumPy's promotion, with float64 for integers alone and float32 for
    # float16; a Python number takes the other's. The result is in it too, but in float32 where y_pred is
    # a single (or half) float and only integer labels asked for more.
    cdef bint single = (
        (y_weak or fits_single(y)) and (p_weak or fits_single(p)) and not (y_weak and p_weak)
        and ((is_float(y) and not y_weak) or (is_float(p) and not p_weak))
    )
    cdef bint single_result = single or (
        is_float(p) and not p_weak and fits_single(p) and not is_float(y)
    )
    dtype = FLOAT32 if single_result else FLOAT64

    call.real_bytes = 4 if single else 8
    call.kernel = fl_kernels(call.real_bytes).pointwise.loss[loss.id][which]
    call.constants = loss.constants[not single]
    call.context = NULL
    call.inputs, call.outputs = 2, 0
    set_shape(&call, &layout, y if p_shape == () else p)
    if call.size > PY_SSIZE_T_MAX // 8:
        _arguments.refuse_size(shape)
    describe(&call.in_[0], layout.strides[0], y, call.shape.ndim)
    describe(&call.in_[1], layout.strides[1], p, call.shape.ndim)
    call.weight.data = NULL

    parts = parts_of(kind, reduction)
    if out is None:
        arrays = [None for part in parts if part != "float"]
    else:
        arrays = _arguments.check_outputs(out, parts, p_shape if summed else shape, dtype)
    if call.size == 0 and reduction == MEAN:
        raise ValueError("y_true and y_pred are empty, and the mean of nothing is undefined; use reduction='sum'")

    weights = call.size
    if sample_weight is not None:
        w = as_array("sample_weight", sample_weight)
        if (<object>w).shape != shape:
            w = _arguments.broadcast_weight(w, shape)
        w, weights = weigh(w, single, reduction == MEAN)
        describe(&call.weight, layout.strides[2], w, call.shape.ndim)
    # All weights 0: there is nothing to average, and the kernels leave out what has weight 0.
    divisor = 1.0 if reduction != MEAN or weights == 0 else weights
    call.scale = 1.0 if summed else 1.0 / divisor

    results = []
    inputs = [a for a in (y, p, w) if a is not None]
    for i, given in enumerate(arrays):
        result = given
        if summed or given is None or overlaps_any(given, inputs):
            result = new_array(shape, dtype)
        results.append(result)
        describe(&call.out[i], layout.strides[3 + i], result, call.shape.ndim)
        call.outputs = i + 1

    if out is not None and fl_loss_requirement(loss.id)[0] != 0:
        check = domain_check(loss, &call)  # before anything is written to arrays of the caller
        if run(&check, &total):
            refuse_domain(loss, &call, y, p)
    if run(&call, &total):
        refuse_domain(loss, &call, y, p)

    if summed:
        results = [_arguments.scalar(sum_of(array, &finite) / divisor, dtype) for array in results]
    for i, given in enumerate(arrays):
        if given is not None and given is not results[i]:
            given[...] = results[i]
            results[i] = given
    if parts[0] == "float":
        results.insert(0, total / divisor)
    return results[0] if len(results) == 1 else tuple(results)


# ---- losses -----------------------------------------------------------------------------------------


cdef class Loss:
    """A loss: called for its value, with methods for its derivatives. Immutable.

    See Also
    --------
    fastloss.losses : the names of all losses.
    fastloss.get : a loss by name.
    """

    cdef readonly str name
    cdef readonly str family
    cdef readonly Method grad
    cdef readonly Method value_and_grad
    cdef readonly Method grad_and_hess
    cdef readonly object declaration
    cdef dict _params
    cdef int id
    cdef double constants[2][FL_CONSTANTS]  # for float32 and float64
    cdef object __weakref__

    def __init__(self, declaration):
        """`declaration` is the function that documents the loss and turns its parameters into constants."""
        if self.declaration is not None:
            raise TypeError(f"{self!r} cannot be changed; use bind")
        self.declaration = declaration
        self.name = declaration.__name__
        self.family = declaration.__module__.rpartition(".")[2]
        self.id = self.find_id()
        self.set_params(declaration.__kwdefaults__ or {})
        self.add_methods()

    cdef int find_id(self) except -1:
        return loss_names().index(self.name)

    cdef dict defaults(self):
        return self.declaration.__kwdefaults__ or {}

    cdef set_params(self, dict params):
        self.set_constants(self.declaration(**params))
        self._params = {name: value if value is None else float(value) for name, value in params.items()}

    cdef set_constants(self, tuple constants):
        for i in range(FL_CONSTANTS):
            for k in range(2):
                self.constants[k][i] = fl_constant(constants[i], 4 + 4 * k) if i < len(constants) else 0.0

    cdef add_methods(self):
        self.grad = Method(self, GRAD, "grad")
        self.value_and_grad = Method(self, VALUE_AND_GRAD, "value_and_grad")
        self.grad_and_hess = Method(self, GRAD_AND_HESS, "grad_and_hess")

    cdef Loss with_params(self, dict params):
        """The same loss with other parameters, for one call: its methods are not there yet."""
        for key in params:
            if key not in self._params:
                _arguments.refuse_keyword(self.name, key, tuple(self._params))
        cdef Loss loss = type(self).__new__(type(self))
        loss.declaration, loss.name, loss.family, loss.id = self.declaration, self.name, self.family, self.id
        loss.set_params({**self._params, **params})
        return loss

    def __call__(self, y_true, y_pred, *, sample_weight=None, reduction=_MEAN, out=None, **params):
        return evaluate(self, VALUE, y_true, y_pred, sample_weight, reduction, out, params)

    def __class_getitem__(cls, parameters):
        from types import GenericAlias

        return GenericAlias(cls, parameters)

    def bind(self, **params):
        """Return the same loss with other defaults.

        Parameters
        ----------
        **params
            Parameters of the loss by name; those left out keep their present defaults.

        Returns
        -------
        Loss
            Picklable, comparable and hashable, as every loss.

        Raises
        ------
        TypeError
            If the loss has no parameter of that name, or the value is no number.
        ValueError
            If a parameter is out of range.

        Examples
        --------
        >>> import fastloss as fl
        >>> wide = fl.huber.bind(delta=2.0)
        >>> wide([0.0], [3.0]) == fl.huber([0.0], [3.0], delta=2.0)
        True
        """
        cdef Loss loss = self.with_params(params)
        loss.add_methods()
        return loss

    @property
    def params(self):
        """The parameters and their present values, as a new dict."""
        return dict(self._params)

    @property
    def traits(self):
        """What is known of the loss with these parameters: see `fastloss.traits.Traits`."""
        return self.declaration.traits.resolved(self._params, self.requirement())

    cdef str requirement(self):
        return fl_loss_requirement(self.id).decode()

    @property
    def __name__(self):
        return self.name

    @property
    def __module__(self):
        return self.declaration.__module__

    @property
    def __qualname__(self):
        return self.name

    @property
    def __doc__(self):
        from fastloss._documentation import loss_doc

        return f"{self.name}{self.__signature__}\n\n{loss_doc(self)}"

    @property
    def __signature__(self):
        from fastloss._documentation import signature

        return signature(self)

    def __repr__(self):
        defaults = self.defaults()
        changed = {k: v for k, v in self._params.items() if v != defaults[k]}
        arguments = ", ".join(f"{k}={v!r}" for k, v in changed.items())
        return f"fastloss.{self.name}" + (f".bind({arguments})" if changed else "")

    def __eq__(self, other):
        if not isinstance(other, Loss):
            return NotImplemented
        return self.name == other.name and self._params == (<Loss>other)._params

    def __hash__(self):
        return hash((self.name, tuple(self._params.items())))

    def __reduce__(self):
        from fastloss.registry import restore

        return restore, (self.name, self._params)


cdef class Method:
    """One of a loss's derivatives, called as the loss is."""

    cdef readonly Loss __self__
    cdef readonly str __name__
    cdef int kind
    cdef object __weakref__

    def __cinit__(self, Loss loss not None, int kind, str name not None):
        self.__self__ = loss
        self.kind = kind
        self.__name__ = name

    def __call__(self, y_true, y_pred, *, sample_weight=None, reduction=_MEAN, out=None, **params):
        return evaluate(self.__self__, self.kind, y_true, y_pred, sample_weight, reduction, out, params)

    @property
    def __doc__(self):
        from fastloss._documentation import method_doc

        return f"{self.__qualname__}{self.__signature__}\n\n{method_doc(self.__self__, self.__name__)}"

    @property
    def __qualname__(self):
        return f"{self.__self__.name}.{self.__name__}"

    @property
    def __module__(self):
        return self.__self__.__module__

    @property
    def __signature__(self):
        return self.__self__.__signature__

    def __repr__(self):
        return f"{self.__self__!r}.{self.__name__}"

    def __eq__(self, other):
        if not isinstance(other, Method):
            return NotImplemented
        return self.kind == (<Method>other).kind and self.__self__ == (<Method>other).__self__

    def __hash__(self):
        return hash((self.kind, self.__self__))

    def __reduce__(self):
        return getattr, (self.__self__, self.__name__)


cdef inline object evaluate(Loss loss, int kind, y_true, y_pred, sample_weight, reduction, out, dict params):
    if loss.declaration is None:
        raise TypeError("this loss was never initialised; use fastloss.get")
    if isinstance(loss, RowLoss):
        return evaluate_rows(<RowLoss>loss, kind, y_true, y_pred, sample_weight, reduction_code(reduction), out, params)
    if params:
        loss = loss.with_params(params)
    if sample_weight is None and out is None and reduction is _MEAN and is_straight(y_true, y_pred):
        return straight(loss, kind, <ndarray>y_true, <ndarray>y_pred)
    return general(loss, kind, y_true, y_pred, sample_weight, reduction_code(reduction), out)


include "result_pool.pxi"
include "rows.pxi"
include "linear.pxi"
include "descent.pxi"


# ---- SGD --------------------------------------------------------------------------------------------


def sgd_update(list moves, bint nesterov, double lr, double weight_decay, double momentum,
               optimizer, dict velocities):
    """Updates of all arrays, (param, grad, velocity, gain) each, in place; then the optimizer has these velocities.

    The caller has checked everything; see fastloss.sgd. No Python code runs here, and so no signal's handler: all
    arrays change, or none.
    """
    for param, grad, velocity, gain in moves:
        update_one(param, grad, velocity, nesterov, lr, weight_decay, momentum, gain)
    optimizer._velocity = velocities


cdef update_one(ndarray param, ndarray grad, velocity, bint nesterov, double lr, double weight_decay,
                double momentum, double gain):
    cdef fl_call call
    cdef Layout layout
    cdef double total
    cdef double constants[4]
    cdef int rule = FL_SGD_PLAIN if velocity is None else FL_SGD_NESTEROV if nesterov else FL_SGD_MOMENTUM
    call.real_bytes = cnp.PyArray_ITEMSIZE(param)
    call.kernel = fl_kernels(call.real_bytes).sgd.rule[rule]
    set_shape(&call, &layout, param)
    constants[0] = fl_constant(lr, call.real_bytes)
    constants[1] = fl_constant(weight_decay, call.real_bytes)
    constants[2] = fl_constant(momentum, call.real_bytes)
    constants[3] = fl_constant(gain, call.real_bytes)
    call.constants = constants
    call.context = NULL
    call.scale = 1
    describe(&call.in_[0], layout.strides[0], param, call.shape.ndim)
    describe(&call.in_[1], layout.strides[1], grad, call.shape.ndim)
    call.out[0] = call.in_[0]
    call.weight.data = NULL
    call.inputs, call.outputs = 2, 1
    if velocity is not None:
        call.inputs, call.outputs = 3, 2
        describe(&call.in_[2], layout.strides[2], velocity, call.shape.ndim)
        call.out[1] = call.in_[2]
    run(&call, &total)
