/* A batch of sparse rows: their losses, and the gradient, which has the columns of these rows alone. */
#ifndef FL_SPARSE_BATCH_H
#define FL_SPARSE_BATCH_H

#include "linear/batch.h"

#include <math.h>

/* The rows are copied, as doubles. Each is filled up to whole groups of lanes with zeros in its last column,
 * so that loops over rows of nearly the same length end where the processor has predicted. */
typedef struct {
    ptrdiff_t n;
    int distinct; /* the last row has no column twice */
    int shared;   /* other threads move the same parameters */
    fl_row_vectors vectors;
    ptrdiff_t *counts; /* elements of each row, without the zeros that fill it up */
    ptrdiff_t *ends;   /* of each row, in columns and elements */
    int32_t *columns;  /* of each element */
    double *elements;
    ptrdiff_t capacity, most_rows; /* how many elements and rows there is memory for */
    double *g;          /* for each score, `most_rows` apart, of each row the derivative of its loss */
    double *sizes;      /* of each row its largest element, in magnitude */
    double *sums;       /* zeros, one per coefficient */
    ptrdiff_t *touched; /* the coefficients that the gradient has */
    double *grads; /* there, and behind them those of the intercepts; and zeros up to whole groups of lanes */
} fl_sparse_batch;

/* The most columns that a batch can name. */
#define FL_MOST_SPARSE_COLUMNS INT32_MAX

/* How many coefficients rows with so many elements can touch. */
ptrdiff_t fl_most_touched(const fl_steps_call *call, ptrdiff_t elements);
/* The bytes of a batch of `most_rows` rows with that many elements, filled up as above. */
size_t fl_sparse_batch_bytes(const fl_steps_call *call, ptrdiff_t most_rows, ptrdiff_t elements);
void fl_lay_out_batch(const fl_steps_call *call, fl_sparse_batch *b, ptrdiff_t most_rows, ptrdiff_t elements,
                      char *memory);
/* The most elements, filled up, that a batch of `most_rows` rows of this call has. */
ptrdiff_t fl_most_elements(const fl_steps_call *call, ptrdiff_t most_rows);

/* Copies n rows from the first-th on. Returns whether they are inside of the matrix. */
int fl_open_batch(const fl_steps_call *call, fl_sparse_batch *b, ptrdiff_t first, ptrdiff_t n);

/* Adds their losses to `loss`, at the coefficients scale * v, and sets the derivatives. Returns a status. */
int fl_score_batch(const fl_steps_call *call, const fl_sparse_batch *b, double scale, ptrdiff_t first,
                   double *loss);

double fl_batch_total(const fl_sparse_batch *b, ptrdiff_t score); /* the sum of g */
/* The sum of each row's largest component of g times x, of the score where it is largest. */
double fl_batch_bound(const fl_steps_call *call, const fl_sparse_batch *b);

/* Sets the coefficients where X'g is not 0, and what it is there. Returns their number. */
ptrdiff_t fl_collect_batch(const fl_steps_call *call, const fl_sparse_batch *b);

/* A step against the gradient; past, unless NULL, is what the average is computed from. */
typedef struct {
    double *v, *past;
    double rate, mass; /* past gets mass times each change of v */
} fl_motion;

/* Moves all coefficients by -rate * X'g / n, without a look at what they become. */
void fl_move_batch(const fl_steps_call *call, const fl_sparse_batch *b, fl_motion m);

static inline double fl_larger(double x, double than) { return x > than ? x : than; }

/* Reads and writes a number that other threads may read and write at the same time. Where `shared` is 0,
 * which the compiler has to know, none does: an atomic double would go by way of an integer, as GCC has it.
 */
static inline double fl_get(int shared, const double *x)
{
    double value = 0;
    if (!shared)
        return *x;
    __atomic_load(x, &value, __ATOMIC_RELAXED);
    return value;
}

static inline void fl_set(int shared, double *x, double value)
{
    if (shared)
        __atomic_store(x, &value, __ATOMIC_RELAXED);
    else
        *x = value;
}

#endif
