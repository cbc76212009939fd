/* Stochastic gradient descent over some rows of a linear model. */
#ifndef FL_API_DESCENT_H
#define FL_API_DESCENT_H

#include "api/linear.h"
#include "api/tile.h"

/* A step after each batch of the rows, of which the last may be smaller. Of the model, y and weight are
 * contiguous reals, the kernel is the sum and gradient, and coef, intercept, sums and scores are not used.
 * The gradient is the mean over a batch's rows. */
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
    const double *slope_constants; /* as model.constants, for doubles */
    double limit;                  /* a parameter beyond it counts as infinite */
    double *coef;  /* for each score a number per column, and behind all the intercepts; so are velocity and
                      average */
    void *working; /* coef in reals, without the intercepts: of each score zeros up to whole groups of
                      FL_LANES */
    double *velocity, *average;    /* NULL: no momentum; no average */
    ptrdiff_t steps, average_from; /* counts the steps; of those behind average_from the average is taken */
    double loss, largest, norm; /* set to the sum of the losses, each before its step; the largest component
                                   of a gradient; the norm of the last one */
    ptrdiff_t nonfinite;        /* set to how many numbers are not finite, where that ended the work */
} fl_steps_call;

/* Returns 0, or why a step was not taken: FL_VIOLATED, FL_BAD_INDEX, or FL_DIVERGED for a gradient, a loss or
 * parameters that would not be finite; or FL_INTERRUPTED. The parameters are those of the last step in any
 * case. The result depends on the elements alone, but with hogwild. */
int fl_run_steps(fl_steps_call *call);

/* Sets loss, and for each score the rows' X'g and the sum of g, where all rows are one batch. As the former.
 */
int fl_run_gradient(fl_steps_call *call, double *sums);

#endif
