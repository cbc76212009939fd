/* A call of a loss of rows on whole arrays. */
#ifndef FL_API_ROWS_H
#define FL_API_ROWS_H

#include "api/array.h"
#include "api/status.h"
#include "api/tile.h"

/* Of `shape`, whose last axis is that of the classes, are scores, grad and hess; of the shape without it are
 * labels, weight, value and lse. Absent may be: weight (all ones), and what is not wanted. */
typedef struct {
    fl_row_kernel *kernel;
    int real_bytes;
    fl_shape shape;
    ptrdiff_t rows, classes;
    fl_array labels, scores, weight, grad, hess, value, lse;
    int given;                  /* labels are probabilities, and have `shape` */
    const double *class_weight; /* of given labels, a number per class; NULL: all ones */
    const double *constants;    /* as in fl_call, and so are these */
    const void *context;
    double scale;
    int (*interrupted)(void);
} fl_row_call;

/* As fl_run; beside a Hessian there may be no sum unless the values are wanted. Returns FL_VIOLATED where a
 * label is no class or the domain is left, FL_NO_MEMORY before anything is written. */
int fl_run_rows(const fl_row_call *call, double *sum, ptrdiff_t *correct);

/* The first row, in C order, whose label is no class though the row counts; -1 for none, or if interrupted.
 */
ptrdiff_t fl_first_bad_label(const fl_row_call *call);

#endif
