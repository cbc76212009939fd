# NumPy's arrays as C sees them: their dtypes, layouts and addresses. Part of _core.pyx.


cdef object FLOAT32 = np.dtype(np.float32), FLOAT64 = np.dtype(np.float64)


# The shape of a call and the strides of its operands. They are copied, because another thread may assign to
# array.shape while the GIL is released, which frees the originals.
cdef struct Layout:
    Py_ssize_t shape[FL_MAX_DIMS]
    Py_ssize_t strides[FL_MAX_INPUTS + FL_MAX_OUTPUTS + 1][FL_MAX_DIMS]


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


cdef Py_ssize_t set_shape(fl_shape *shape, Layout *layout, ndarray array) noexcept:
    """The shape of an array as that of a call; returns its number of elements."""
    cdef int d
    shape.ndim = cnp.PyArray_NDIM(array)
    shape.length = layout.shape
    for d in range(shape.ndim):
        layout.shape[d] = cnp.PyArray_DIM(array, d)
    return cnp.PyArray_SIZE(array)


cdef int describe(fl_array *a, Py_ssize_t *strides, ndarray array, const fl_shape *shape) except -1:
    """An operand of the shape of its call, or a scalar, whose strides are 0."""
    return describe_along(a, strides, array, shape.length, shape.ndim)


cdef int describe_along(fl_array *a, Py_ssize_t *strides, ndarray array, const Py_ssize_t *lengths,
                        int ndim) except -1:
    """An operand of `ndim` dimensions of these lengths, or a scalar.

    The shape has been checked before, but Python code may have run since, that of an argument or of another thread,
    and assigned to array.shape. With the new strides C would leave the memory of the array.
    """
    cdef int d
    cdef bint is_scalar = cnp.PyArray_NDIM(array) == 0
    if not is_scalar and not has_lengths(array, lengths, ndim):
        raise ValueError(f"an array was given another shape during the call: {(<object>array).shape}")
    describe_contiguous(a, array)
    if cnp.PyArray_NDIM(array) == ndim and cnp.PyArray_IS_C_CONTIGUOUS(array):
        return 0
    a.strides = strides
    for d in range(ndim):
        strides[d] = 0 if is_scalar else cnp.PyArray_STRIDE(array, d)
    return 0


cdef inline void describe_contiguous(fl_array *a, ndarray array) noexcept:
    """An operand in C order."""
    a.data = <char *>cnp.PyArray_DATA(array)
    a.type = type_code(array)
    a.strides = NULL


cdef inline bint has_lengths(ndarray array, const Py_ssize_t *lengths, int ndim) noexcept:
    cdef int d
    if cnp.PyArray_NDIM(array) != ndim:
        return False
    for d in range(ndim):
        if cnp.PyArray_DIM(array, d) != lengths[d]:
            return False
    return True


# ---- dtypes -------------------------------------------------------------------------------------------


cdef inline bint is_real(ndarray array) noexcept:
    cdef int number = cnp.PyArray_TYPE(array)  # not the kind: other packages define floats of their own
    return (cnp.NPY_BOOL <= number <= cnp.NPY_FLOAT64) or number == cnp.NPY_FLOAT16


cpdef ndarray as_array(str name, x):
    """The argument as an array of real numbers; what has to be converted or refused is Python's."""
    if type(x) is ndarray and is_real(<ndarray>x):
        return x
    return _arguments.convert(name, x)


cdef inline bint is_float(ndarray array) noexcept:
    return kind_of(array) == c"f"


cdef inline bint fits_single(ndarray array) noexcept:
    """Whether float32 holds every value of the dtype."""
    return cnp.PyArray_ITEMSIZE(array) <= (4 if is_float(array) else 2)


# ---- addresses ----------------------------------------------------------------------------------------


# How the memory of two arrays overlaps: not at all; each element with the same one of the other array; or otherwise,
# so that an element that is written may be another one that is still to be read.
cdef enum Overlap:
    APART, EXACT, IN_PART


cdef void find_range(ndarray array, size_t *low, size_t *high) noexcept:
    """The addresses between which an array lies: of its first byte, and of the one behind its last."""
    cdef Py_ssize_t reach
    cdef int d
    low[0] = high[0] = <size_t>cnp.PyArray_DATA(array)
    if cnp.PyArray_SIZE(array) == 0:
        return
    high[0] += cnp.PyArray_ITEMSIZE(array)
    for d in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, d) - 1) * cnp.PyArray_STRIDE(array, d)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach


def memory_range(ndarray array):
    """The addresses between which an array lies: (first byte, behind the last)."""
    cdef size_t low, high
    find_range(array, &low, &high)
    return low, high


cdef bint is_same_memory(ndarray a, ndarray b) noexcept:
    """Whether element i of one is element i of the other: then writing in place is exact."""
    cdef int d
    if cnp.PyArray_DATA(a) != cnp.PyArray_DATA(b) or not has_same_shape(a, b):
        return False
    if cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(b) or cnp.PyArray_ISBYTESWAPPED(a) != cnp.PyArray_ISBYTESWAPPED(b):
        return False
    for d in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, d) != cnp.PyArray_STRIDE(b, d):
            return False
    return True


cdef inline bint has_same_shape(ndarray a, ndarray b) noexcept:
    return has_lengths(a, <const Py_ssize_t *>cnp.PyArray_DIMS(b), cnp.PyArray_NDIM(b))


cdef Overlap overlap_of(ndarray a, ndarray b) noexcept:
    """How the memory of two arrays overlaps, by the ranges of their addresses.

    Two views of which each has its elements between those of the other count as IN_PART, though no element is shared:
    that costs a copy, which is right in any case.
    """
    cdef size_t a_low, a_high, b_low, b_high
    find_range(a, &a_low, &a_high)
    find_range(b, &b_low, &b_high)
    if a_low >= b_high or b_low >= a_high:
        return APART
    return EXACT if is_same_memory(a, b) else IN_PART


def apart(ndarray param, ndarray grad):
    """The gradient, or a copy of it where moving the parameter would change what is still to be read."""
    return grad.copy() if overlap_of(param, grad) == IN_PART else grad
