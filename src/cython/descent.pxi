# Stochastic gradient descent on a linear model: part of _core.pyx.


cdef class Descent:
    """Steps that move the parameters of a linear model, in place, for the rows of any number of matrices.

    Only one thread at a time may use it. The caller, fastloss.linear, has checked shapes and dtypes. `parameters`, of
    each score the coefficients and behind all the intercepts, and where not None `velocity` and `average` are
    contiguous float64 of one length. `working` has a row of coefficients for each score, in the dtype in which all
    matrices are computed, with zeros up to whole groups of LANES.
    """

    cdef fl_steps_call call
    cdef Layout layout
    cdef tuple referents  # the arrays and the loss whose memory the call refers to between runs

    def __init__(self, Loss loss, ndarray parameters, ndarray working, *, Py_ssize_t batch_size, velocity=None,
                 average=None, Py_ssize_t average_from=0, Py_ssize_t steps=0, bint fit_intercept=True, double l2=0,
                 double l1=0, double momentum=0, bint nesterov=False, double clip_norm=INFINITY,
                 double intercept_rate=1, double limit=INFINITY, bint importance_aware=False, bint hogwild=False):
        cdef fl_linear_call *model = &self.call.model
        self.referents = parameters, working, velocity, average, loss
        model.real_bytes = cnp.PyArray_ITEMSIZE(working)
        self.call.scores = cnp.PyArray_DIM(working, 0)
        model.columns = cnp.PyArray_DIM(parameters, 0) // self.call.scores - 1
        if isinstance(loss, RowLoss):
            self.call.row_kernel = kernel_of_rows(loss, model.real_bytes, False)
        else:
            model.kernel = fl_kernels(model.real_bytes).pointwise.loss[loss.id][<int>FL_PASS_sum_grad]
        if importance_aware:
            self.call.slope = fl_kernels(8).pointwise.loss[loss.id][<int>FL_PASS_grad]
        model.constants = loss.constants[model.real_bytes == 8]
        self.call.slope_constants = loss.constants[True]
        model.interrupted = interrupted
        self.call.batch, self.call.fit_intercept = batch_size, fit_intercept
        self.call.l2, self.call.l1, self.call.clip_norm = l2, l1, clip_norm
        self.call.intercept_rate, self.call.hogwild = intercept_rate, hogwild
        self.call.momentum, self.call.nesterov, self.call.limit = momentum, nesterov, limit
        self.call.steps, self.call.average_from = steps, average_from
        self.call.coef = <double *>cnp.PyArray_DATA(parameters)
        self.call.working = cnp.PyArray_DATA(working)
        self.call.velocity = NULL if velocity is None else <double *>cnp.PyArray_DATA(<ndarray>velocity)
        self.call.average = NULL if average is None else <double *>cnp.PyArray_DATA(<ndarray>average)

    def run(self, X, ndarray y, weight, order, Py_ssize_t rows, ndarray rates):
        """A step for each batch of these rows, an int64 array, or of the first ones for None.

        X is as linear_pass takes it; y and weight are contiguous, in the dtype of `working`, but y of a loss of rows
        is int32; `rates` is float64, a learning rate for each batch. Returns 'violated', 'diverged' or None; the step
        of which that is true was not taken.
        """
        cdef int status
        self._set_rows(X, y, weight, order, rows)
        self.call.rates = <const double *>cnp.PyArray_DATA(rates)
        with nogil:
            status = fl_run_steps(&self.call)
        return self._outcome(status)

    def gradient(self, X, ndarray y, weight):
        """Of the sum over all rows, per score its coefficients' derivatives and the intercept's; or 'violated'."""
        cdef ndarray sums = np.empty((self.call.scores, self.call.model.columns + 1))
        cdef int status
        self._set_rows(X, y, weight, None, cnp.PyArray_DIM(y, 0))
        with nogil:
            status = fl_run_gradient(&self.call, <double *>cnp.PyArray_DATA(sums))
        return self._outcome(status) or sums

    cdef int _set_rows(self, X, ndarray y, weight, order, Py_ssize_t rows) except -1:
        cdef fl_linear_call *model = &self.call.model
        model.rows = cnp.PyArray_DIM(y, 0)
        describe_matrix(model, self.layout.strides[0], X)
        if self.call.row_kernel != NULL:
            self.call.label = <const cnp.int32_t *>cnp.PyArray_DATA(y)
        else:
            describe_contiguous(&model.y, y)
        model.weight.data = NULL
        if weight is not None:
            describe_contiguous(&model.weight, weight)
        self.call.order = NULL
        if order is not None:
            self.call.order = <const cnp.int64_t *>cnp.PyArray_DATA(<ndarray>order)
        self.call.rows = rows
        return 0

    cdef object _outcome(self, int status):
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
        """Of the last run, the sum of its rows' losses, each before the step that it led to."""
        return self.call.loss

    @property
    def norm(self):
        return self.call.norm

    @property
    def largest(self):
        return self.call.largest

    @property
    def nonfinite(self):
        return self.call.nonfinite
