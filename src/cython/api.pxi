# The mirror of csrc/fastloss.h: part of _core.pyx.

cdef extern from "fastloss.h" nogil:
    enum:
        FL_LANES, FL_BLOCK, FL_CONSTANTS, FL_MAX_INPUTS, FL_MAX_OUTPUTS, FL_MAX_DIMS

    ctypedef struct fl_block:
        pass

    ctypedef int fl_kernel(const fl_block *block) noexcept

    ctypedef enum fl_loss:
        FL_N_LOSSES

    ctypedef enum fl_pass:
        FL_PASS_check, FL_PASS_sum, FL_PASS_value, FL_PASS_grad
        FL_PASS_sum_grad, FL_PASS_value_grad, FL_PASS_grad_hess
        FL_N_PASSES

    ctypedef enum fl_sgd_rule:
        FL_SGD_PLAIN, FL_SGD_MOMENTUM, FL_SGD_NESTEROV, FL_N_SGD

    ctypedef struct fl_tile:
        pass

    ctypedef int fl_row_kernel(const fl_tile *tile) noexcept

    ctypedef enum fl_row_loss:
        FL_N_ROW_LOSSES

    ctypedef struct fl_pointwise_table:
        fl_kernel *loss[FL_N_LOSSES][FL_N_PASSES]
        fl_kernel *sum

    ctypedef struct fl_row_table:
        fl_row_kernel *loss[FL_N_ROW_LOSSES]
        fl_row_kernel *label_cross_entropy

    ctypedef struct fl_sgd_table:
        fl_kernel *rule[FL_N_SGD]

    ctypedef struct fl_table:
        const fl_pointwise_table *pointwise
        const fl_row_table *rows
        const fl_sgd_table *sgd

    const char *fl_loss_name(int loss)
    const char *fl_row_loss_name(int loss)
    const char *fl_row_loss_requirement(int loss)
    int fl_row_loss_labels(int loss)
    int fl_row_loss_is_softmax(int loss)
    enum:
        FL_LABELS_indices, FL_LABELS_rows
    const char *fl_loss_requirement(int loss)

    const char *fl_select_level(const char *wanted)
    const char *fl_level()
    const char *fl_supported_level(int i)
    const fl_table *fl_kernels(int real_bytes)

    ctypedef enum fl_type:
        FL_BOOL, FL_I8, FL_I16, FL_I32, FL_I64, FL_U8, FL_U16, FL_U32, FL_U64, FL_F16, FL_F32, FL_F64
        FL_SWAPPED

    ctypedef struct fl_array:
        char *data
        const Py_ssize_t *strides
        int type

    ctypedef struct fl_shape:
        int ndim
        const Py_ssize_t *length

    ctypedef struct fl_call:
        fl_kernel *kernel
        int real_bytes
        fl_shape shape
        Py_ssize_t size
        int inputs, outputs
        fl_array in_ "in"[FL_MAX_INPUTS]
        fl_array out[FL_MAX_OUTPUTS]
        fl_array weight
        const double *constants
        const void *context
        double scale
        int (*interrupted)() noexcept nogil

    enum:
        FL_VIOLATED, FL_INTERRUPTED, FL_NO_MEMORY, FL_BAD_INDEX, FL_DIVERGED, FL_MAX_CLASSES

    double fl_constant(double k, int real_bytes)
    int fl_run(const fl_call *call, double *sum)
    Py_ssize_t fl_first_violation(const fl_call *call)

    ctypedef struct fl_row_call:
        fl_row_kernel *kernel
        int real_bytes
        fl_shape shape
        Py_ssize_t rows, classes
        fl_array labels, scores, weight, grad, hess, value, lse
        int given
        const double *class_weight
        const double *constants
        const void *context
        double scale
        int (*interrupted)() noexcept nogil

    int fl_run_rows(const fl_row_call *call, double *sum, Py_ssize_t *correct)
    Py_ssize_t fl_first_bad_label(const fl_row_call *call)

    ctypedef struct fl_linear_call:
        fl_kernel *kernel
        int real_bytes
        Py_ssize_t rows, columns
        fl_array X, y, weight
        const void *starts
        const void *indices
        int index_bytes
        Py_ssize_t stored
        const void *coef
        const void *vector
        double intercept, vector_intercept
        const double *constants
        double *sums
        void *scores
        int (*interrupted)() noexcept nogil

    int fl_run_linear(const fl_linear_call *call, double *sum)

    ctypedef struct fl_steps_call:
        fl_linear_call model
        Py_ssize_t scores
        fl_row_kernel *row_kernel
        const cnp.int32_t *label
        const cnp.int64_t *order
        Py_ssize_t rows, batch
        const double *rates
        double l2, l1, momentum, clip_norm, intercept_rate
        int nesterov, fit_intercept, hogwild
        fl_kernel *slope
        const double *slope_constants
        double limit
        double *coef
        void *working
        double *velocity
        double *average
        Py_ssize_t steps, average_from
        double loss, largest, norm
        Py_ssize_t nonfinite

    int fl_run_steps(fl_steps_call *call)
    int fl_run_gradient(fl_steps_call *call, double *sums)

    int fl_num_threads()
    void fl_set_num_threads(int n)
    void fl_set_cpu_limit(int n)
    void fl_set_grain(int microseconds)
    int fl_thread_limit()
    void fl_set_thread_limit(int n)
    const char *fl_openmp()

    enum:
        FL_POOL_LEAST

    void *fl_pool_take(size_t size)
    void fl_pool_give(void *block, size_t size, void (*release)(void *, size_t) noexcept nogil)
    size_t fl_pool_limit(size_t size, void (*release)(void *, size_t) noexcept nogil)
