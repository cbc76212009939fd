# Updates of parameter arrays in place. Part of _core.pyx.


def sgd_update(list moves, bint nesterov, double lr, double weight_decay, double momentum,
               optimizer, dict velocities):
    """Updates of all arrays, (param, grad, velocity, gain) each, in place; then the optimizer has these velocities.

    The caller has checked everything; see fastloss.sgd. No Python code runs here, and so no signal's handler: all
    arrays change, or none.
    """
    for param, grad, velocity, gain in moves:
        update_one(param, grad, velocity, nesterov, lr, weight_decay, momentum, gain)
    optimizer._velocity = velocities


def update_plain(param, grad, velocity, bint nesterov, double lr, double weight_decay, double momentum,
                 double gain):
    """Update one array, if all of them are of the usual kind; return whether they were.

    That is a parameter and a velocity in C order, and a gradient that does not overlap them in part.
    """
    cdef ndarray p, g, v = None
    if type(param) is not ndarray or type(grad) is not ndarray:
        return False
    p, g = <ndarray>param, <ndarray>grad
    cdef int number = cnp.PyArray_TYPE(p)
    if number != cnp.NPY_FLOAT64 and number != cnp.NPY_FLOAT32:
        return False
    if not cnp.PyArray_ISCARRAY(p) or not is_real(g) or not has_same_shape(p, g) or overlap_of(p, g) == IN_PART:
        return False
    if velocity is not None:
        if type(velocity) is not ndarray:
            return False
        v = <ndarray>velocity
        if cnp.PyArray_TYPE(v) != number or not cnp.PyArray_ISCARRAY(v) or not has_same_shape(p, v):
            return False
    update_one(p, g, v, nesterov, lr, weight_decay, momentum, gain)
    return True


cdef int update_one(ndarray param, ndarray grad, ndarray velocity, bint nesterov, double lr, double weight_decay,
                    double momentum, double gain) except -1:
    cdef fl_call call
    cdef Layout layout
    cdef double total
    cdef double[4] constants
    cdef int rule = FL_SGD_PLAIN if velocity is None else FL_SGD_NESTEROV if nesterov else FL_SGD_MOMENTUM
    call.real_bytes = cnp.PyArray_ITEMSIZE(param)
    call.kernel = fl_kernels(call.real_bytes).sgd.rule[rule]
    call.size = set_shape(&call.shape, &layout, param)
    constants[0] = fl_constant(lr, call.real_bytes)
    constants[1] = fl_constant(weight_decay, call.real_bytes)
    constants[2] = fl_constant(momentum, call.real_bytes)
    constants[3] = fl_constant(gain, call.real_bytes)
    call.constants = constants
    call.context = NULL
    call.scale = 1
    call.weight.data = NULL
    call.inputs, call.outputs = 2, 1
    describe(&call.in_[0], layout.strides[0], param, &call.shape)
    describe(&call.in_[1], layout.strides[1], grad, &call.shape)
    call.out[0] = call.in_[0]
    if velocity is not None:
        call.inputs, call.outputs = 3, 2
        describe(&call.in_[2], layout.strides[2], velocity, &call.shape)
        call.out[1] = call.in_[2]
    run_pointwise(&call, True, &total)
    return 0
