/* The gradient of a batch of rows of a linear model. A batch is cut into tasks, each with sums of its own so
 * that the order of the additions is fixed, and a task into blocks of rows, which are still in cache when X'g
 * reads them again. */
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
    size_t vector_bytes; /* of a vector with one number for each row of a block, and whole groups of lanes */
    fl_arena arena;      /* the sums; the workspaces of the workers have vectors and a copy of a block */
    double *sums;        /* of each task the gradient, `stride` numbers apart */
    double *spare;       /* memory of the same size, for the caller */
    struct {
        _Alignas(64) atomic_uint found; /* counts the sums that are ready to be added here, of all batches */
    } nodes[FL_MOST_BATCH_TASKS];
    fl_watch watch; /* of worker 0 */
} fl_batches;

/* Vectors with one number for each row of a block. Where a row has several scores, each of them has a vector,
 * and so have their derivatives: these vectors lie vector_bytes apart. The derivatives of a loss of rows take
 * the place of the scores. */
typedef struct {
    char *labels, *weights, *scores, *grads;
    size_t vector_bytes;
} fl_row_vectors;

/* The distance in call->working from the coefficients of one score to those of the next. */
static inline ptrdiff_t fl_working_stride(const fl_linear_call *model)
{
    return fl_whole_groups(model->columns);
}

static inline ptrdiff_t fl_row_at(const fl_steps_call *call, ptrdiff_t i)
{
    return call->order ? (ptrdiff_t)call->order[i] : i;
}

/* Sets the derivatives of n rows, at most FL_BLOCK, from the start-th of the order on, from their scores, and
 * adds their losses to *total. The vectors are used up to FL_LANES numbers behind these rows. Returns a
 * status. */
int fl_differentiate(const fl_steps_call *call, const fl_row_vectors *at, ptrdiff_t start, ptrdiff_t n,
                     double *total);

/* Returns whether there was memory. */
int fl_open_batches(fl_batches *b, const fl_steps_call *call, int threads);
void fl_close_batches(fl_batches *b);

/* How many tasks a batch of n rows has: n and the matrix alone decide. */
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
