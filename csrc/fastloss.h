/* The contract between the kernels, the driver and Python. The only header that Cython reads. */
#ifndef FASTLOSS_H
#define FASTLOSS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/passes.def"

enum {
    FL_LANES = 16,   /* a kernel's length is a multiple of this, and sums run in as many lanes */
    FL_BLOCK = 2048, /* elements between two additions to the pairwise sum */
    FL_INPUTS = 3,   /* y_true, y_pred, sample_weight; or param, grad, velocity */
    FL_OUTPUTS = 2,
    FL_CONSTANTS = 4,
    FL_MAX_DIMS = 64,
};

/* ---- kernels: one block, contiguous, one dtype ------------------------------------------------ */

/* Returns whether an element violates the loss's domain; *sum is set by the passes that have one. The third
 * input advances by third_step for each FL_LANES elements: by FL_LANES, or by 0 to be read again and again.
 * The others are prefetched so many bytes ahead, if that is not 0. */
typedef int fl_kernel(ptrdiff_t n, const void *const *in, ptrdiff_t third_step, ptrdiff_t ahead,
                      void *const *out, const double *constants, double scale, double *sum);

typedef enum {
#define LOSS(name, domain) FL_LOSS_##name,
#define ROW_LOSS(name, way, domain, labels)
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
    FL_N_LOSSES
} fl_loss;

typedef enum {
#define PASS(prefix, name, outputs) prefix##name,
    FL_PASSES(PASS, FL_PASS_)
#undef PASS
        FL_N_PASSES
} fl_pass;

typedef enum { FL_SGD_PLAIN, FL_SGD_MOMENTUM, FL_SGD_NESTEROV, FL_N_SGD } fl_sgd_rule;

/* ---- kernels: rows of scores -------------------------------------------------------------------- */

enum { FL_TILE_ROWS = 64 };

/* A matrix of a tile, in elements from one group of FL_LANES to the next, and from one strip to the next. */
typedef struct {
    void *data; /* NULL: absent */
    ptrdiff_t group, strip;
} fl_rows;

/* Up to FL_TILE_ROWS rows. `across`: FL_LANES rows make a strip, of which group k is class k; the matrices
 * and what there is one of per row are filled up to whole strips. Otherwise a row is a strip, its classes in
 * groups. */
typedef struct {
    int across, valued; /* valued: value and the sum are wanted */
    ptrdiff_t rows, classes;
    fl_rows scores, grad, hess;   /* grad may be scores; hess needs grad */
    fl_rows labels, class_weight; /* probabilities, and by what they are multiplied, in one strip */
    const int32_t *label;         /* of each row the true class, -1 for none */
    const void *weight;           /* of each row; one of weight 0 is absent */
    void *value, *lse;            /* of each row; lse NULL: absent */
    int *correct;                 /* rows whose first largest score is the true class's */
} fl_tile;

/* Sets *sum to the sum of the rows' values. `scale` multiplies the derivatives. Returns whether a label or
 * a score lies outside the loss's domain. */
typedef int fl_row_kernel(const fl_tile *tile, const double *constants, double scale, double *sum);

/* n rows, `step` bytes from one to the next, of `classes` elements, `stride` bytes from one to the next; and
 * strips across them, one behind the other, which are read or written. Lanes that have no row are not
 * touched. */
typedef void fl_exchange_kernel(char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
                                char *strips);
/* ---- kernels: rows of a linear model -------------------------------------------------------------- */

typedef enum { FL_LAYOUT_rows, FL_LAYOUT_columns, FL_LAYOUT_sparse, FL_N_LAYOUTS } fl_layout;

/* A block of rows, `step` elements from one row, or one column, to the next. Of sparse ones (CSR), row i has
 * the elements of data from starts[i] to starts[i + 1], each in the column that its index says; both are
 * int32 or both int64. */
typedef struct {
    ptrdiff_t rows, columns;
    const void *data;
    ptrdiff_t step;
    const void *starts, *indices;
    int index_bytes;
    ptrdiff_t ahead; /* of dense rows: bytes to those that come next, to be fetched; 0: none */
} fl_matrix;

/* scores = X coef + intercept. Behind coef there are zeros, and behind scores there is room, up to whole
 * groups of FL_LANES. */
typedef void fl_forward_kernel(const fl_matrix *x, const void *coef, double intercept, void *scores);
/* Adds X'g to sums, and behind these the sum of g; g is grad, or with `along` their product. There is room
 * for whole groups of FL_LANES sums. */
typedef void fl_backward_kernel(const fl_matrix *x, const void *grad, const void *along, double *sums);

typedef enum {
#define LOSS(name, domain)
#define ROW_LOSS(name, way, domain, labels) FL_ROW_LOSS_##name,
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
    FL_N_ROW_LOSSES
} fl_row_loss;

/* All kernels of one SIMD level and one dtype. */
typedef struct {
    fl_kernel *loss[FL_N_LOSSES][FL_N_PASSES];
    fl_kernel *sgd[FL_N_SGD];
    fl_row_kernel *rows[FL_N_ROW_LOSSES];
    fl_row_kernel *label_cross_entropy;   /* softmax_cross_entropy with labels other than a class */
    fl_exchange_kernel *gather, *scatter; /* from rows to strips, and back */
    fl_forward_kernel *forward[FL_N_LAYOUTS];
    fl_backward_kernel *backward[FL_N_LAYOUTS];
    fl_kernel *sum; /* of its first input, times the weights; violated where that is not finite */
} fl_table;

const char *fl_loss_name(int loss); /* "huber" */
const char *fl_row_loss_name(int loss);
const char *fl_row_loss_requirement(int loss);

/* What y_true may be. */
enum { FL_LABELS_indices = 1, FL_LABELS_rows = 2, FL_LABELS_either = 3 };
int fl_row_loss_labels(int loss);
int fl_row_loss_is_softmax(int loss);      /* whether lse and correct are set */
const char *fl_loss_requirement(int loss); /* of its domain: "y_true must be >= 0", "" for none */

/* ---- dispatch: cpuid -> tables, once ---------------------------------------------------------- */

/* Chooses the best level that the CPU and the operating system support, or `wanted`. Returns NULL, or
 * why it cannot be (a static text). Levels: "v4", "v3", "v2" on x86-64, "native" elsewhere. */
const char *fl_select_level(const char *wanted);
const char *fl_level(void);
const char *fl_supported_level(int i);      /* best first; NULL behind the last */
const fl_table *fl_kernels(int real_bytes); /* 4 or 8 */

/* ---- driver: arrays of any layout, threads, sums ---------------------------------------------- */

enum { FL_VIOLATED = 1, FL_INTERRUPTED = 2, FL_NO_MEMORY = 4, FL_BAD_INDEX = 8, FL_DIVERGED = 16 };

typedef enum {
    FL_BOOL,
    FL_I8,
    FL_I16,
    FL_I32,
    FL_I64,
    FL_U8,
    FL_U16,
    FL_U32,
    FL_U64,
    FL_F16,
    FL_F32,
    FL_F64,
    FL_SWAPPED = 32, /* or-ed in: the other byte order */
} fl_type;

/* An array with the shape of its call. data NULL: absent. A loss's or sum's third input that is absent is all
 * ones; the other inputs, and the outputs that the kernel writes, must be there, and no other outputs.
 * strides NULL: C-contiguous. A stride of 0 broadcasts. */
typedef struct {
    char *data;
    const ptrdiff_t *strides;
    int type;
} fl_array;

typedef struct {
    int ndim;
    const ptrdiff_t *length;
} fl_shape;

typedef struct {
    fl_kernel *kernel;
    int real_bytes;
    fl_shape shape;
    ptrdiff_t size; /* the product of the shape's lengths */
    fl_array in[FL_INPUTS], out[FL_OUTPUTS];
    double constants[FL_CONSTANTS];
    double scale;
    int (*interrupted)(void); /* asked now and then by the calling thread: whether to stop. NULL: never */
} fl_call;

/* A constant for kernels of that size of real. A finite one stays finite and not 0: as 0 or inf it would make
 * a NaN where the loss has a number. */
double fl_constant(double k, int real_bytes);

/* Runs the kernel over all elements in C order. Returns FL_VIOLATED if any violates the domain,
 * FL_INTERRUPTED if call->interrupted said so (outputs are then undefined), else 0. An output may be exactly
 * one of the inputs, but may not overlap one in part. The sum, where the kernel has one, depends on the
 * elements alone: not on threads, strides or the level (among those with FMA). */
int fl_run(const fl_call *call, double *sum);

/* The first element, in C order, for which call->kernel reports a violation; -1 for none, or if interrupted.
 */
ptrdiff_t fl_first_violation(const fl_call *call);

/* A call on rows: of `shape`, whose last axis is that of the classes, are scores, grad and hess; of the shape
 * without it are labels, weight, value and lse. Absent may be: weight (all ones), and what is not wanted. */
typedef struct {
    fl_row_kernel *kernel;
    int real_bytes;
    fl_shape shape;
    ptrdiff_t rows, classes;
    fl_array labels, scores, weight, grad, hess, value, lse;
    int given;                  /* labels are probabilities, and have `shape` */
    const double *class_weight; /* of given labels, a number per class; NULL: all ones */
    double constants[FL_CONSTANTS];
    double scale;
    int (*interrupted)(void);
} fl_row_call;

enum { FL_MAX_CLASSES = 1 << 28 };

/* As fl_run; beside a Hessian there may be no sum unless the values are wanted. Returns FL_VIOLATED where a
 * label is no class or the domain is left, FL_NO_MEMORY before anything is written. */
int fl_run_rows(const fl_row_call *call, double *sum, ptrdiff_t *correct);

/* The first row, in C order, whose label is no class though the row counts; -1 for none, or if
 * interrupted. */
ptrdiff_t fl_first_bad_label(const fl_row_call *call);

/* A pass over the rows of a linear model: scores, the loss on them, and what comes back from its derivatives.
 * X has two dimensions; or it is the `stored` elements of a sparse matrix, contiguous and aligned reals. */
typedef struct {
    fl_kernel *kernel; /* the sum and gradient; with `vector` gradient and Hessian; NULL: scores alone */
    int real_bytes;
    ptrdiff_t rows, columns;
    fl_array X, y, weight;
    const void *starts, *indices; /* of a sparse matrix, as in fl_matrix; NULL: X is dense */
    int index_bytes;
    ptrdiff_t stored;
    const void *coef, *vector; /* a real per column, and zeros up to whole groups of FL_LANES */
    double intercept, vector_intercept;
    double constants[FL_CONSTANTS];
    double *sums; /* set to X'g and, behind it, the sum of g: the gradient, or with `vector` the Hessian times
                     it */
    void *scores; /* a real per row; NULL: not wanted */
    int (*interrupted)(void);
} fl_linear_call;

/* As fl_run; derivatives are those of the sum. Returns FL_NO_MEMORY before anything is written, and
 * FL_BAD_INDEX where starts or indices lead out of the matrix. The result depends on the elements and the
 * layout alone. */
int fl_run_linear(const fl_linear_call *call, double *sum);

/* Stochastic gradient descent over some rows of a linear model: a step after each batch of them, of which the
 * last may be smaller. Of the model, y and weight are contiguous reals, the kernel is the sum and gradient,
 * and coef, intercept, sums and scores are not used. The gradient is the mean over a batch's rows. */
typedef struct {
    fl_linear_call model;
    /* A row of `scores` scores, one but for a loss of rows: a row kernel, which then takes the place of the
     * model's kernel and y, and of each row the true class. */
    ptrdiff_t scores;
    fl_row_kernel *row_kernel;
    const int32_t *label;
    const int64_t *order; /* the rows to be used; NULL: the first ones */
    ptrdiff_t rows, batch;
    const double *rates; /* of each batch, its learning rate */
    double l2, l1, momentum, clip_norm;
    double intercept_rate; /* by which the intercept's learning rates are multiplied */
    int nesterov, fit_intercept;
    int hogwild; /* sparse rows, and no l1, momentum or average: all threads take steps at once */
    /* Of doubles, the gradient alone: a row of weight h counts as h times as many steps as short as you like,
     * which needs batches of one row and weights that are not negative. NULL: not so. */
    fl_kernel *slope;
    double slope_constants[FL_CONSTANTS];
    double limit;  /* a parameter beyond it counts as infinite */
    double *coef;  /* for each score a number per column, and behind all the intercepts; so are velocity and
                      average */
    void *working; /* coef in reals, without the intercepts: of each score zeros up to whole groups of
                      FL_LANES */
    double *velocity, *average;    /* NULL: no momentum; no average */
    ptrdiff_t steps, average_from; /* counts the steps; of those behind average_from the average is taken */
    double loss, largest, norm; /* set to the sum of the losses, each before its step; the largest component
                                   of a gradient; the norm of the last one */
    ptrdiff_t odd;              /* set to the numbers that are not finite, where that ended the work */
} fl_steps_call;

/* Returns 0, or why a step was not taken: FL_VIOLATED, FL_BAD_INDEX, or FL_DIVERGED for a gradient, a loss or
 * parameters that would not be finite; or FL_INTERRUPTED. The parameters are those of the
 * last step in any case. The result depends on the elements alone, but with hogwild. */
int fl_run_steps(fl_steps_call *call);

/* Sets loss, and for each score the rows' X'g and the sum of g, where all rows are one batch. As the former.
 */
int fl_run_gradient(fl_steps_call *call, double *sums);

/* Threads: of this thread's calls if fl_set_thread_limit was given > 0, else of fl_set_num_threads, else what
 * OpenMP offers; of that, where fl_set_cpu_limit was given > 0, no more than so many and than the CPUs that
 * the process may use. 1 in a forked child. */
int fl_num_threads(void);
void fl_set_num_threads(int n);
void fl_set_cpu_limit(int n);
void fl_set_grain(
    int microseconds); /* expected work of a call that the team is woken for; < 0: the usual one */
int fl_thread_limit(void);
void fl_set_thread_limit(int n);
const char *fl_openmp(void); /* "OpenMP 201511", or "none" */

#endif
