/* A pass over the rows of a linear model: scores, the loss on them, and what comes back from its derivatives.
 */
#ifndef FL_API_LINEAR_H
#define FL_API_LINEAR_H

#include "api/array.h"
#include "api/kernel.h"
#include "api/status.h"

/* X has two dimensions; or it is the `stored` elements of a sparse matrix, contiguous and aligned reals. */
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
    const double *constants; /* as in fl_call */
    double *sums;            /* set to X'g and, behind it, the sum of g: the gradient, or with `vector` the
                                Hessian times it */
    void *scores;            /* a real per row; NULL: not wanted */
    int (*interrupted)(void);
} fl_linear_call;

/* As fl_run; derivatives are those of the sum. Returns FL_NO_MEMORY before anything is written, and
 * FL_BAD_INDEX where starts or indices lead out of the matrix. The result depends on the elements and the
 * layout alone. */
int fl_run_linear(const fl_linear_call *call, double *sum);

#endif
