# Sums of arrays, and the weights of a call with theirs. Part of _core.pyx.


cdef double sum_of(ndarray array, bint *finite) except? -1:
    """The sum of an array, in the order in which a loss adds its values; `finite`: whether it and all numbers are."""
    cdef fl_call call
    cdef Layout layout
    cdef double total = 0
    call.real_bytes = 4 if fits_single(array) else 8
    call.kernel = fl_kernels(call.real_bytes).pointwise.sum
    call.size = set_shape(&call.shape, &layout, array)
    call.inputs, call.outputs = 1, 0
    describe(&call.in_[0], layout.strides[0], array, &call.shape)
    call.weight.data = NULL
    call.constants = NULL
    call.context = NULL
    call.scale = 1
    finite[0] = not run_pointwise(&call, False, &total) and total - total == 0
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
