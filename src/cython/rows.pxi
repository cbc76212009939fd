# Calls of losses of rows of scores. Part of _core.pyx.


cdef fl_row_kernel *kernel_of_rows(RowLoss loss, int real_bytes, bint given):
    if loss.smooths and (given or loss._params["label_smoothing"] or loss._params["z_loss"]):
        return fl_kernels(real_bytes).rows.label_cross_entropy
    return fl_kernels(real_bytes).rows.loss[loss.id]


cdef ndarray classes_last(ndarray array, int axis):
    """A view whose last axis is that of the classes: always of the array's own memory, whatever its subclass.

    An array that has lost axes since its shape was checked is returned as it is, for `describe` to refuse.
    """
    cdef cnp.npy_intp order[FL_MAX_DIMS]
    cdef cnp.PyArray_Dims axes
    cdef int ndim = cnp.PyArray_NDIM(array), d
    if axis >= ndim - 1:
        return array
    for d in range(ndim - 1):
        order[d] = d if d < axis else d + 1
    order[ndim - 1] = axis
    axes.ptr, axes.len = order, ndim
    return cnp.PyArray_Transpose(array, &axes)


cdef inline int describe_rows(fl_array *a, Py_ssize_t *strides, ndarray array, const fl_shape *shape) except -1:
    """An operand with a number for each row of a call of that shape."""
    return describe_along(a, strides, array, shape.length, shape.ndim - 1)


@cython.no_gc
cdef class RowCall(Call):
    """A call on rows of scores along an axis, with class indices or rows as labels."""

    cdef fl_row_call call
    cdef ndarray y, p, labels, lse
    cdef ndarray given_weight, weight  # as the caller has passed them, and as they are read
    cdef object class_weight
    cdef ndarray factors  # the weights of the classes, where labels are rows
    cdef int axis
    cdef Py_ssize_t correct
    cdef bint returns_correct

    cdef int read(self, y_true, y_pred, dict options) except -1:
        cdef ndarray y = as_array("y_true", y_true), p = as_array("y_pred", y_pred), scores
        cdef RowLoss loss = <RowLoss>self.loss
        cdef fl_row_call *call = &self.call
        cdef bint given, returns_lse = options.get("return_lse", False)
        self.returns_correct = options.get("return_correct", False)
        self.y, self.p = y, p
        axis = loss._params["axis"]
        if not -cnp.PyArray_NDIM(p) <= axis < cnp.PyArray_NDIM(p):
            _row_arguments.refuse_axis(p, axis)
        self.gradient_shape = (<object>p).shape
        self.axis = axis % len(self.gradient_shape)
        self.value_shape = self.gradient_shape[:self.axis] + self.gradient_shape[self.axis + 1:]
        call.classes = self.gradient_shape[self.axis]
        if not 0 < call.classes <= FL_MAX_CLASSES:
            _row_arguments.refuse_classes(p, self.axis)
        call.given = given = (<object>y).shape == self.gradient_shape
        self.class_weight = options.get("class_weight", loss._params["class_weight"])
        self.refuse_options(given, returns_lse)

        self.single = is_float(p) and fits_single(p) and (not given or fits_single(y) or not is_float(y))
        call.real_bytes = 4 if self.single else 8
        call.kernel = kernel_of_rows(loss, call.real_bytes, given)
        call.constants = loss.constants[not self.single]
        scores = classes_last(p, self.axis)
        if cnp.PyArray_SIZE(p) > PY_SSIZE_T_MAX // 8:
            _arguments.refuse_size(self.gradient_shape)
        call.rows = self.count = set_shape(&call.shape, self.layout, scores) // call.classes
        describe(&call.scores, self.layout.strides[0], scores, &call.shape)
        self.labels = classes_last(y, self.axis) if given else y
        if given:
            describe(&call.labels, self.layout.strides[1], self.labels, &call.shape)
        else:
            describe_rows(&call.labels, self.layout.strides[1], self.labels, &call.shape)
        if returns_lse:
            self.lse = new_results(self.value_shape, cnp.NPY_FLOAT32 if self.single else cnp.NPY_FLOAT64)
            describe_rows(&call.lse, self.layout.strides[6], self.lse, &call.shape)
        return 0

    cdef int refuse_options(self, bint given, bint returns_lse) except -1:
        """Refuse what does not go with the form of the labels."""
        cdef RowLoss loss = <RowLoss>self.loss
        if given and self.returns_correct:
            raise ValueError("return_correct= needs class indices; pass y_true.argmax(axis)")
        if (returns_lse or self.returns_correct) and not loss.softmax:
            raise ValueError(
                f"{loss.name} has no softmax; return_lse= and return_correct= go with softmax_cross_entropy"
            )
        if given and not loss.labels & FL_LABELS_rows:
            _row_arguments.refuse_rows(loss.name)
        if not given and (
            not loss.labels & FL_LABELS_indices or (<object>self.y).shape != self.value_shape or is_float(self.y)
        ):
            _row_arguments.refuse_labels(loss.name, self.y, self.p, self.axis, loss.labels)
        if given and loss._params["ignore_index"] is not None:
            raise ValueError("ignore_index= goes with class indices; give rows of probabilities that are not to count "
                             "sample_weight 0")
        if given and self.class_weight is not None and not loss.smooths:
            _row_arguments.refuse_class_weight(loss.name)
        return 0

    cdef int read_weights(self, sample_weight) except -1:
        cdef RowLoss loss = <RowLoss>self.loss
        cdef fl_row_call *call = &self.call
        cdef ndarray weight = None
        cdef double weights = call.rows
        cdef bint given = call.given, mean = self.reduction == MEAN
        ignore_index, factors = loss._params["ignore_index"], None
        if self.class_weight is not None:
            factors = _row_arguments.check_class_weight(self.class_weight, call.classes)
        cdef bint plain = ignore_index is None and factors is None  # the weights are those of the caller
        if sample_weight is not None:
            weight = self.given_weight = as_array("sample_weight", sample_weight)
            if (<object>weight).shape != self.value_shape:
                weight = _arguments.broadcast_weight(weight, self.value_shape)
            counted, weights = weigh(weight, self.single, mean and plain)  # refuses what is not finite
            if plain:
                weight = counted
        if not plain and given and factors is not None:
            weight, self.factors, counted = _row_arguments.mixed_weights(self.labels, weight, factors, mean)
            call.class_weight = <const double *>cnp.PyArray_DATA(self.factors)
            counted, weights = weigh(counted, self.single, mean)
        elif not plain:
            weight, counted = _row_arguments.row_weights(
                self.labels, given, weight, factors, ignore_index, call.classes
            )
            weight, weights = weigh(counted, self.single, mean)
        if weight is not None:
            describe_rows(&call.weight, self.layout.strides[2], weight, &call.shape)
        self.weight = weight
        self.divisor = 1.0 if not mean or weights == 0 else weights
        call.scale = 1.0 / self.divisor
        return 0

    cdef list arrays_read(self):
        arrays = [array for array in (self.y, self.p, self.given_weight, self.weight) if array is not None]
        return arrays + self.parameters

    cdef int refuse_empty(self) except -1:
        raise ValueError("y_true and y_pred have no rows, and the mean of nothing is undefined; use reduction='sum'")

    cdef int set_output(self, Part part, ndarray array) except -1:
        if part == OF_VALUE:
            describe_rows(&self.call.value, self.layout.strides[3], array, &self.call.shape)
            return 0
        cdef ndarray view = classes_last(array, self.axis)
        if part == OF_GRADIENT:
            describe(&self.call.grad, self.layout.strides[4], view, &self.call.shape)
        else:
            describe(&self.call.hess, self.layout.strides[5], view, &self.call.shape)
        return 0

    cdef int check(self) except -1:
        cdef fl_row_call check = self.call
        cdef double total
        self.check_labels()
        if self.call.given or fl_row_loss_requirement(self.loss.id)[0]:
            check.value.data = check.grad.data = check.hess.data = check.lse.data = NULL
            if self.violates(&check, False, &total):
                self.refuse_domain()
        return 0

    cdef int run(self, bint in_place, double *total) except -1:
        if self.violates(&self.call, in_place, total):
            self.check_labels()
            self.refuse_domain()
        return 0

    cdef int add_results(self, list results) except -1:
        if self.lse is not None:
            results.append(self.lse)
        if self.returns_correct:
            results.append(self.correct)
        return 0

    cdef bint violates(self, fl_row_call *call, bint in_place, double *total) except -1:
        """Run; whether a row that counts violates the loss's domain."""
        cdef int status
        call.interrupted = NULL
        if call.rows * call.classes < KEEP_GIL:
            status = fl_run_rows(call, total, &self.correct)
        else:
            if not in_place:
                call.interrupted = interrupted
            with nogil:
                status = fl_run_rows(call, total, &self.correct)
        if status & FL_NO_MEMORY:
            raise MemoryError(f"{self.loss.name}: no room for a few rows of {call.classes} classes")
        if status & FL_INTERRUPTED:
            raise_pending()
        return status & FL_VIOLATED != 0

    cdef int check_labels(self) except -1:
        """Raise for the first label that is no class."""
        cdef Py_ssize_t index
        cdef fl_row_call look = self.call
        if look.given:
            return 0
        look.interrupted = interrupted
        with nogil:
            index = fl_first_bad_label(&look)
        if index >= 0:
            _row_arguments.refuse_label(self.loss.name, index, self.y, look.classes)
        raise_pending()
        return 0

    cdef int refuse_domain(self) except -1:
        cdef ndarray scores = classes_last(self.p, self.axis)
        _row_arguments.refuse_domain(
            self.loss.name, self.loss.requirement(), self.call.given, self.labels, scores, self.weight
        )
