/* The kernels of a linear model: products of its matrix with coefficients, and with derivatives. */
#ifndef FL_API_MATRIX_H
#define FL_API_MATRIX_H

#include <stddef.h>

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

/* scores = X coef + intercept. coef is followed by zeros, and scores by memory that may be overwritten, up to
 * whole groups of FL_LANES. */
typedef void fl_forward_kernel(const fl_matrix *x, const void *coef, double intercept, void *scores);
/* Adds X'g to sums, and behind these the sum of g; g is grad, or with `along` their product. sums has memory
 * for whole groups of FL_LANES. */
typedef void fl_backward_kernel(const fl_matrix *x, const void *grad, const void *along, double *sums);

/* Of one SIMD level and one dtype. */
typedef struct {
    fl_forward_kernel *forward[FL_N_LAYOUTS];
    fl_backward_kernel *backward[FL_N_LAYOUTS];
} fl_linear_table;

#endif
