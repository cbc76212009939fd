# The way of one call, which every form of a loss shares: its outputs, their memory, the check of the domain, what is
# handed back. A form is a subclass: it reads the arguments, and knows how C is called. Part of _core.pyx.


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


@cython.no_gc  # a call lives no longer than its function
cdef class Call:
    """One evaluation of a loss.

    What the forms set when they read the arguments: `single`, whether the results are float32; the shape of a value
    that is not reduced, and that of the derivatives; how many elements or rows are averaged, and by what the mean is
    divided. `is_summed` says that the derivatives are those of a scalar, which are added up at the end.
    """

    cdef Loss loss
    cdef int kind, reduction
    cdef Layout *layout
    cdef bint single, is_summed
    cdef tuple value_shape, gradient_shape
    cdef Py_ssize_t count
    cdef double divisor
    cdef list parameters  # of the loss, as they were passed to the call

    cdef int read(self, y_true, y_pred, sample_weight, dict options) except -1:
        """Read the arguments, or raise what is wrong with them."""
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
    """Whether an output needs no further look: a writeable array in C order, of this shape and dtype."""
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
    """How an output meets the arrays that are read: in part with one of them, else exactly with one, else apart."""
    cdef Overlap found, worst = APART
    for array in arrays:
        found = overlap_of(out, <ndarray>array)
        if found > worst:
            worst = found
    return worst


cdef object evaluate(Call call, out):
    """The result of a call that has read its arguments.

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
        arrays = call.arrays_read()
    if call.count == 0 and call.reduction == MEAN:
        call.refuse_empty()

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
