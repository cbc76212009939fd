# Losses of rows of scores: part of _core.pyx.


def row_loss_names():
    """The names in the C registry of row losses, in its order."""
    return [fl_row_loss_name(i).decode() for i in range(<int>FL_N_ROW_LOSSES)]


# The shapes and strides of a call on rows, as in Layout.
cdef struct RowLayout:
    Py_ssize_t shape[FL_MAX_DIMS]
    Py_ssize_t strides[7][FL_MAX_DIMS]


cdef dict ROW_OPTIONS = {"class_weight": None, "ignore_index": None, "axis": -1}


cdef class RowLoss(Loss):
    cdef readonly tuple own  # the names of the parameters that are constants of the C function
    cdef int labels  # what y_true may be: FL_LABELS_indices and FL_LABELS_rows
    cdef bint softmax  # rows have one
    cdef bint smooths  # by parameters that make every label a row of probabilities

    cdef int find_id(self) except -1:
        return row_loss_names().index(self.name)

    cdef str requirement(self):
        return fl_row_loss_requirement(self.id).decode()

    @property
    def __doc__(self):  # a class without a text has None, which would hide that of Loss
        from fastloss._documentation import loss_doc

        return f"{self.name}{self.__signature__}\n\n{loss_doc(self)}"

    cdef dict defaults(self):
        return {**(self.declaration.__kwdefaults__ or {}), **ROW_OPTIONS}

    cdef set_params(self, dict params):
        self.own = tuple(self.declaration.__kwdefaults__ or {})
        options = dict(ROW_OPTIONS)
        constants = {}
        for key, value in params.items():
            (constants if key in self.own else options)[key] = value
        self.set_constants(self.declaration(**constants))
        self._params = {name: value if value is None else float(value) for name, value in constants.items()}
        self._params.update(_row_arguments.check_options(**options))
        self.labels = fl_row_loss_labels(self.id)
        self.softmax = fl_row_loss_is_softmax(self.id)
        self.smooths = self.name == "softmax_cross_entropy"


cdef object evaluate_rows(RowLoss loss, int kind, y_true, y_pred, sample_weight, int reduction, out, dict params):
    return_lse = params.pop("return_lse", False)
    return_correct = params.pop("return_correct", False)
    class_weight = params.pop("class_weight", loss._params["class_weight"])  # not copied into a loss for one call
    if params:
        loss = loss.with_params(params)
    return run_rows(loss, kind, y_true, y_pred, sample_weight, reduction, out, class_weight, return_lse, return_correct)


cdef fl_row_kernel *kernel_of_rows(RowLoss loss, int real_bytes, bint given):
    if loss.smooths and (given or loss._params["label_smoothing"] or loss._params["z_loss"]):
        return fl_kernels(real_bytes).rows.label_cross_entropy
    return fl_kernels(real_bytes).rows.loss[loss.id]


cdef inline void describe_rows(fl_array *a, Py_ssize_t *strides, ndarray array) noexcept:
    describe(a, strides, array, cnp.PyArray_NDIM(array))


cdef object run_rows(RowLoss loss, int kind, y_true, y_pred, sample_weight, int reduction, out, class_weight,
                     return_lse, return_correct):
    cdef fl_row_call call, check
    cdef RowLayout layout
    cdef double total = 0, weights, divisor
    cdef bint finite
    cdef Py_ssize_t correct = 0, i
    cdef ndarray y = as_array("y_true", y_true), p = as_array("y_pred", y_pred), w = None, result, factors
    cdef ndarray view
    axis, ignore_index = loss._params["axis"], loss._params["ignore_index"]

    if not -cnp.PyArray_NDIM(p) <= axis < cnp.PyArray_NDIM(p):
        _row_arguments.refuse_axis(p, axis)
    rows_shape = (<object>p).shape
    axis %= len(rows_shape)
    cdef Py_ssize_t classes = rows_shape[axis]
    shape, rows_shape = rows_shape, rows_shape[:axis] + rows_shape[axis + 1:]
    if not 0 < classes <= FL_MAX_CLASSES:
        _row_arguments.refuse_classes(p, axis)
    cdef bint given = (<object>y).shape == shape
    if given and return_correct:
        raise ValueError("return_correct= needs class indices; pass y_true.argmax(axis)")
    if (return_lse or return_correct) and not loss.softmax:
        raise ValueError(f"{loss.name} has no softmax; return_lse= and return_correct= go with softmax_cross_entropy")
    if given and not loss.labels & FL_LABELS_rows:
        _row_arguments.refuse_rows(loss.name)
    if not given and (not loss.labels & FL_LABELS_indices or (<object>y).shape != rows_shape or is_float(y)):
        _row_arguments.refuse_labels(loss.name, y, p, axis, loss.labels)
    if given and ignore_index is not None:
        raise ValueError("ignore_index= goes with class indices; give rows of probabilities that are not to count "
                         "sample_weight 0")
    if given and class_weight is not None and not loss.smooths:
        _row_arguments.refuse_class_weight(loss.name)

    cdef bint single = is_float(p) and fits_single(p) and (not given or fits_single(y) or not is_float(y))
    dtype = FLOAT32 if single else FLOAT64
    call.real_bytes = 4 if single else 8
    call.given = given
    call.interrupted = NULL
    call.kernel = kernel_of_rows(loss, call.real_bytes, given)
    call.constants = loss.constants[not single]
    call.context = NULL
    view = by_rows(p, axis)
    call.shape.ndim = cnp.PyArray_NDIM(view)
    call.shape.length = layout.shape
    for i in range(call.shape.ndim):
        layout.shape[i] = cnp.PyArray_DIM(view, i)
    call.classes = classes
    call.rows = cnp.PyArray_SIZE(p) // classes
    if cnp.PyArray_SIZE(p) > PY_SSIZE_T_MAX // 8:
        _arguments.refuse_size(shape)
    describe_rows(&call.scores, layout.strides[0], view)
    labels = by_rows(y, axis) if given else y
    describe_rows(&call.labels, layout.strides[1], labels)

    wanted = {"value": reduction == NONE and kind in (VALUE, VALUE_AND_GRAD), "gradient": kind != VALUE,
              "hessian": kind == GRAD_AND_HESS, "lse": bool(return_lse)}
    parts = parts_of(kind, reduction)
    shapes = {"value": rows_shape, "gradient": shape, "hessian": shape}
    if out is None:
        arrays = [None for part in parts if part != "float"]
    else:
        arrays = _arguments.check_outputs(out, parts, shapes, dtype)
    if call.rows == 0 and reduction == MEAN:
        raise ValueError("y_true and y_pred have no rows, and the mean of nothing is undefined; use reduction='sum'")

    factors = None
    if class_weight is not None:
        factors = _row_arguments.check_class_weight(class_weight, classes)
    weights = call.rows
    call.weight.data = NULL
    if sample_weight is not None:
        w = as_array("sample_weight", sample_weight)
        if (<object>w).shape != rows_shape:
            w = _arguments.broadcast_weight(w, rows_shape)
    if sample_weight is not None or ignore_index is not None or factors is not None:
        if sample_weight is not None:
            weigh(w, single, False)  # refuses what is not finite
        if given and factors is not None:
            w, factors, counted = _row_arguments.mixed_weights(labels, w, factors, reduction == MEAN)
        else:
            w, counted = _row_arguments.row_weights(labels, given, w, factors, ignore_index, classes)
        counted, weights = weigh(counted, single, reduction == MEAN)
        if not (given and factors is not None):
            w = counted
        describe_rows(&call.weight, layout.strides[2], w)
    call.class_weight = NULL
    if given and factors is not None:
        call.class_weight = <const double *>cnp.PyArray_DATA(factors)
    divisor = 1.0 if reduction != MEAN or weights == 0 else weights
    call.scale = 1.0 / divisor

    results = []
    inputs = [a for a in (y, p, w) if a is not None]
    call.value.data = call.grad.data = call.hess.data = call.lse.data = NULL
    names = [part for part in parts if part != "float"]
    for i, name in enumerate(names):
        given_out = arrays[i]
        result = given_out
        if given_out is None or overlaps_any(given_out, inputs):
            result = new_array(shapes[name], dtype)
        results.append(result)
        if name == "value":
            describe_rows(&call.value, layout.strides[3], result)
        elif name == "gradient":
            view = by_rows(result, axis)
            describe_rows(&call.grad, layout.strides[4], view)
        else:
            view = by_rows(result, axis)
            describe_rows(&call.hess, layout.strides[5], view)
    lse = None
    if return_lse:
        lse = new_array(rows_shape, dtype)
        describe_rows(&call.lse, layout.strides[6], lse)

    requirement = fl_row_loss_requirement(loss.id).decode()
    if out is not None:  # before anything is written to arrays of the caller
        check_labels(loss, &call, y)
        if given or requirement:
            check = call
            check.value.data = check.grad.data = check.hess.data = check.lse.data = NULL
            if run_row_call(&check, loss, &total, &correct):
                _row_arguments.refuse_domain(loss.name, requirement, given, labels, by_rows(p, axis), w)
    # As in `run`: what is written over its input is not interrupted.
    if not any(target is not None and target is results[i] and np.may_share_memory(target, a)
               for i, target in enumerate(arrays) for a in inputs):
        call.interrupted = interrupted
    if run_row_call(&call, loss, &total, &correct):
        check_labels(loss, &call, y)
        _row_arguments.refuse_domain(loss.name, requirement, given, labels, by_rows(p, axis), w)

    for i, target in enumerate(arrays):
        if target is not None and target is not results[i]:
            target[...] = results[i]
            results[i] = target
    if parts[0] == "float":
        results.insert(0, total / divisor)
    if return_lse:
        results.append(lse)
    if return_correct:
        results.append(correct)
    return results[0] if len(results) == 1 else tuple(results)


cdef bint run_row_call(const fl_row_call *call, RowLoss loss, double *total, Py_ssize_t *correct) except -1:
    """Whether a row that counts violates the loss's domain."""
    cdef int status
    with nogil:
        status = fl_run_rows(call, total, correct)
    if status & FL_NO_MEMORY:
        raise MemoryError(f"{loss.name}: no room for a few rows of {call.classes} classes")
    if status & FL_INTERRUPTED:
        raise_pending()
    return status & FL_VIOLATED != 0


cdef ndarray by_rows(ndarray array, axis):
    """A view whose last axis is that of the classes."""
    return array if axis == cnp.PyArray_NDIM(array) - 1 else np.moveaxis(array, axis, -1)


cdef int check_labels(RowLoss loss, const fl_row_call *call, ndarray y) except -1:
    cdef Py_ssize_t index
    cdef fl_row_call look = call[0]
    if call.given:
        return 0
    look.interrupted = interrupted
    with nogil:
        index = fl_first_bad_label(&look)
    if index >= 0:
        _row_arguments.refuse_label(loss.name, index, y, call.classes)
    raise_pending()
    return 0
