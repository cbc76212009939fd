# Stochastic gradient descent on a linear model: part of _core.pyx.


cdef class Descent:
    """The parameters of a linear model, in float64 with the intercept last, and the steps that move them.

    The caller, fastloss.linear_sgd, has checked shapes and dtypes: y and weight are contiguous and aligned, in the
    dtype in which X is computed, X is as linear_pass takes it, and the orders name rows that there are.
    """

    cdef fl_steps_call call
    cdef Layout layout
    cdef tuple arrays  # whose addresses the call has
    cdef readonly ndarray coef
    cdef readonly ndarray average

    def __init__(self, Loss loss, X, ndarray y, weight, ndarray coef, ndarray working, *, Py_ssize_t batch_size,
                 bint fit_intercept, double l2, double l1, double momentum, bint nesterov, double clip_norm,
                 double intercept_rate, bint hogwild, average_from, double limit):
        cdef fl_linear_call *model = &self.call.model
        cdef int i
        cdef ndarray velocity = np.zeros(len(coef))
        self.coef = np.array(coef, np.float64)
        self.average = None if average_from is None else self.coef.copy()
        self.arrays = X, y, weight, working, velocity
        model.real_bytes = cnp.PyArray_ITEMSIZE(y)
        model.kernel = fl_kernels(model.real_bytes).loss[loss.id][<int>FL_PASS_sum_grad]
        model.rows, model.columns = cnp.PyArray_DIM(y, 0), cnp.PyArray_DIM(coef, 0) - 1
        describe_matrix(model, self.layout.strides[0], X)
        describe(&model.y, NULL, y, 1)
        if weight is not None:
            describe(&model.weight, NULL, weight, 1)
        for i in range(FL_CONSTANTS):
            model.constants[i] = loss.constants[model.real_bytes == 8][i]
        model.interrupted = interrupted
        self.call.batch, self.call.fit_intercept = batch_size, fit_intercept
        self.call.l2, self.call.l1, self.call.clip_norm = l2, l1, clip_norm
        self.call.intercept_rate, self.call.hogwild = intercept_rate, hogwild
        self.call.momentum, self.call.nesterov, self.call.limit = momentum, nesterov, limit
        self.call.coef = <double *>cnp.PyArray_DATA(self.coef)
        self.call.working = cnp.PyArray_DATA(working)
        if momentum:
            self.call.velocity = <double *>cnp.PyArray_DATA(velocity)
        if average_from is not None:
            self.call.average = <double *>cnp.PyArray_DATA(self.average)
            self.call.average_from = average_from

    def epoch(self, order, Py_ssize_t rows, ndarray rates):
        """A step for each batch of these rows, an int64 array, or of the first ones for None.

        Returns 'violated', 'diverged' or None; the step of which that is true was not taken. `rates` is float64,
        a learning rate for each batch.
        """
        cdef int status
        self.call.order = NULL if order is None else <const cnp.int64_t *>cnp.PyArray_DATA(<ndarray>order)
        self.call.rows, self.call.rates = rows, <const double *>cnp.PyArray_DATA(rates)
        with nogil:
            status = fl_run_steps(&self.call)
        if status & FL_NO_MEMORY:
            raise MemoryError(f"no room for the gradient by {self.call.model.columns} columns")
        if status & FL_INTERRUPTED:
            raise_pending()
        if status & FL_BAD_INDEX:
            refuse_indices(self.call.model.columns)
        return "violated" if status & FL_VIOLATED else "diverged" if status & FL_DIVERGED else None

    @property
    def batch_size(self):
        return self.call.batch

    @property
    def steps(self):
        return self.call.steps

    @property
    def loss(self):
        """Of the last epoch, the sum of its rows' losses, each before the step that it led to."""
        return self.call.loss

    @property
    def norm(self):
        return self.call.norm

    @property
    def largest(self):
        return self.call.largest

    @property
    def odd(self):
        return self.call.odd
