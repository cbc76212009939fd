/* The rows of the batches of stochastic gradient descent: tasks, whose sums are their own so that their order
 * is fixed, and blocks that are still in cache when X'g reads them again. */
#ifndef FL_BATCH_H
#define FL_BATCH_H

#include "api/descent.h"
#include "api/levels.h"
#include "drivers/operands.h"
#include "memory/arena.h"
#include "threads/team.h"

#include <stdatomic.h>

enum { FL_MOST_BATCH_TASKS = 64 };

typedef struct {
    const fl_steps_call *call;
    const fl_linear_table *table;
    int direct; /* the kernels can read X where it lies */
    ptrdiff_t lengths[2], step, row_bytes, per_block, stride;
    size_t margin;  /* bytes of what there is one of per row, padded to whole groups of lanes */
    fl_arena arena; /* sums, and workspaces of the workers */
    double *sums;   /* of each task the gradient, `stride` numbers apart */
    double *spare;  /* as much room, for the caller */
    struct {
        _Alignas(64) atomic_uint found; /* sums that are to be added here, and of earlier batches */
    } nodes[FL_MOST_BATCH_TASKS];
    fl_watch watch; /* of worker 0 */
} fl_batches;

/* Where there is what one row has one of, or for the scores and their derivatives one of each score: margins,
 * so many bytes apart. The derivatives of a loss of rows are in the place of the scores. */
typedef struct {
    char *labels, *weights, *scores, *grads;
    size_t margin;
} fl_desk;

/* From one score's coefficients, of `working`, to the next's. */
static inline ptrdiff_t fl_apart(const fl_linear_call *model) { return fl_whole_groups(model->columns); }

static inline ptrdiff_t fl_row_at(const fl_steps_call *call, ptrdiff_t i)
{
    return call->order ? (ptrdiff_t)call->order[i] : i;
}

/* Turns the scores of n rows, at most FL_BLOCK, from the start-th of the order on, into derivatives, and adds
 * the losses to *total. Room for FL_LANES more than these rows is used. Returns a status. */
int fl_differentiate(const fl_steps_call *call, const fl_desk *at, ptrdiff_t start, ptrdiff_t n,
                     double *total);

/* Returns whether there was memory. */
int fl_open_batches(fl_batches *b, const fl_steps_call *call, int threads);
void fl_close_batches(fl_batches *b);

/* Of a batch of n rows; fixed by these alone. */
ptrdiff_t fl_batch_tasks(const fl_batches *b, ptrdiff_t n);

/* Adds to the sums of the whole batch, which are those of its first task as soon as all are done, for each
 * score the rows' X'g and, behind it, the sum of g; and last of the `stride` numbers the sum of the losses.
 * Returns a status. */
int fl_run_batch_task(fl_batches *b, ptrdiff_t first, ptrdiff_t n, ptrdiff_t task, int worker);

/* Arrays of float or double, by the size of an element. */
static inline double fl_real_at(int size, const void *x, ptrdiff_t i)
{
    return size == 4 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static inline void fl_put_real(int size, void *x, ptrdiff_t i, double value)
{
    if (size == 4)
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

#endif
