# What the calls of all losses have in common: their outputs and the memory of these, when the domain is checked, and
# what is returned. There are two forms of calls, of pointwise losses and of losses of rows. Each is a subclass of Call,
# which reads its arguments and calls C. Part of _core.pyx.


cdef enum Kind:
    VALUE, GRAD, VALUE_AND_GRAD, GRAD_AND_HESS

cdef enum Reduction:
    MEAN, SUM, NONE

# What a call may return as an array; a value that is reduced is a float.
cdef enum Part:
    OF_VALUE, OF_GRADIENT, OF_HESSIAN, MAX_PARTS

cdef str _MEAN = "mean"
cdef tuple PART_NAMES = ("value", "gradient", "hessian")


cdef int reduction_code(reduction) except -1:
    if isinstance(reduction, str):
        if reduction == "mean":
            return MEAN
        if reduction == "sum":
            return SUM
        if reduction == "none":
            return NONE
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


@cython.no_gc  # only call_in_full refers to a call, which so can be part of no cycle
cdef class Call:
    """One evaluation of a loss. It holds all arrays that C reads, and the loss, whose constants C reads."""

    cdef Loss loss
    cdef int kind, reduction
    cdef Layout *layout  # on the stack of call_in_full
    cdef list parameters  # those of the loss's parameters that the caller has passed as arrays

    # The forms set these when they read the arguments.
    cdef bint single  # whether the results are float32
    cdef bint is_summed  # whether the derivatives are those by a scalar, which are added up at the end
    cdef tuple value_shape, gradient_shape  # of a value that is not reduced, and of each derivative
    cdef Py_ssize_t count  # how many elements, or rows, the mean is taken of
    cdef double divisor  # of the sums; 1 where there is no mean

    cdef int read(self, y_true, y_pred, dict options) except -1:
        """Read targets and predictions, or raise what is wrong with them."""
        raise NotImplementedError

    cdef int read_weights(self, sample_weight) except -1:
        """Read the weights, and find by what the mean is divided."""
        raise NotImplementedError

    cdef list arrays_read(self):
        """The arrays of the caller that are read, and what was made of them."""
        raise NotImplementedError

    cdef int refuse_empty(self) except -1:
        """Raise for the mean of nothing."""
        raise NotImplementedError

    cdef int set_output(self, Part part, ndarray array) except -1:
        """Let C write this part of the result to the array."""
        raise NotImplementedError

    cdef int check(self) except -1:
        """Raise for what lies outside of the domain, before anything is written."""
        raise NotImplementedError

    cdef int run(self, bint in_place, double *total) except -1:
        """Compute; raise for what lies outside of the domain."""
        raise NotImplementedError

    cdef int add_results(self, list results) except -1:
        """Append what the form returns beside value and derivatives."""
        return 0

    cdef inline bint has_value(self) noexcept:
        return self.kind == VALUE or self.kind == VALUE_AND_GRAD

    cdef inline int find_parts(self, Part *parts) noexcept:
        """The parts of the result that are arrays, in the order in which they are returned; their number."""
        cdef int n = 0
        if self.reduction == NONE and self.has_value():
            parts[n] = OF_VALUE
            n += 1
        if self.kind != VALUE:
            parts[n] = OF_GRADIENT
            n += 1
        if self.kind == GRAD_AND_HESS:
            parts[n] = OF_HESSIAN
            n += 1
        return n

    cdef inline tuple shape_of(self, Part part):
        return self.value_shape if part == OF_VALUE else self.gradient_shape


cdef bint is_plain_output(out, tuple shape, int number):
    """Whether an output needs no checks in Python: it is a writeable array in C order, of this shape and dtype."""
    if type(out) is not ndarray:
        return False
    cdef ndarray array = <ndarray>out
    cdef int d
    if not cnp.PyArray_ISCARRAY(array) or cnp.PyArray_TYPE(array) != number or cnp.PyArray_NDIM(array) != len(shape):
        return False
    for d in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, d) != <Py_ssize_t>shape[d]:
            return False
    return True


cdef given_outputs(Call call, out, const Part *parts, int n, int number):
    """For each part an array of the caller, or None for a new one."""
    if n == 1 and is_plain_output(out, call.shape_of(parts[0]), number):
        return (out,)
    names = [PART_NAMES[<int>parts[i]] for i in range(n)]
    if call.has_value() and call.reduction != NONE:
        names.insert(0, "float")
    shapes = {"value": call.value_shape, "gradient": call.gradient_shape, "hessian": call.gradient_shape}
    return _arguments.check_outputs(out, tuple(names), shapes, FLOAT32 if call.single else FLOAT64)


cdef Overlap overlap_of_any(ndarray out, list arrays) noexcept:
    """How an output overlaps the arrays that are read: IN_PART one of them, else EXACT one, else APART from all."""
    cdef Overlap found, worst = APART
    for array in arrays:
        found = overlap_of(out, <ndarray>array)
        if found > worst:
            worst = found
    return worst


cdef object evaluate(Call call, sample_weight, out):
    """The result of a call that has read its targets and predictions.

    An array of the caller that overlaps an input in part gets its numbers at the end. One that is exactly an input is
    written to directly; the domain is then checked before, so that an error leaves it as it was, and the work is not
    interrupted, because nobody could tell which elements are new. Other arrays have undefined contents after an error.
    """
    cdef double total = 0
    cdef bint finite, in_place = False
    cdef Overlap overlap
    cdef Part parts[<int>MAX_PARTS]
    cdef ndarray result
    cdef int number = cnp.NPY_FLOAT32 if call.single else cnp.NPY_FLOAT64, n = call.find_parts(parts), i
    cdef list results = [], arrays = None
    given = None
    if out is not None:
        given = given_outputs(call, out, parts, n, number)
    if call.count == 0 and call.reduction == MEAN:
        call.refuse_empty()
    call.read_weights(sample_weight)
    if given is not None:
        arrays = call.arrays_read()

    for i in range(n):
        result = None if given is None else given[i]
        if result is not None:
            overlap = overlap_of_any(result, arrays)
            in_place |= overlap == EXACT
            if call.is_summed or overlap == IN_PART:
                result = None
        if result is None:
            result = new_results(call.value_shape if call.is_summed else call.shape_of(parts[i]), number)
        results.append(result)
        call.set_output(parts[i], result)
    if in_place:
        call.check()
    call.run(in_place, &total)

    if call.is_summed:
        for i in range(n):
            total_of_part = sum_of(<ndarray>results[i], &finite) / call.divisor
            results[i] = _arguments.scalar(total_of_part, FLOAT32 if call.single else FLOAT64)
    if given is not None:
        for i in range(n):
            if given[i] is not None and given[i] is not results[i]:
                given[i][...] = results[i]
                results[i] = given[i]
    if call.reduction != NONE and call.has_value():
        results.insert(0, total / call.divisor)
    call.add_results(results)
    return results[0] if len(results) == 1 else tuple(results)
