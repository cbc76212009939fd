/* Stochastic gradient descent on a linear model: mini-batches one after the other, each by blocks of rows
 * that are still in cache when X'g reads them again. Parameters and their steps are doubles, whatever the
 * rows are. */
#include "fastloss.h"
#include "linear.h"
#include "measure.h"
#include "pack.h"
#include "sparse_steps.h"
#include "team.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES = 1 << 16, /* of a block's rows, about: a part of the second level of cache */
    FEWEST_ROWS = FL_LANES,
    MOST_ROWS = FL_BLOCK,
    LONG_ENOUGH = 4, /* rows that lie together are not copied */
};

/* What there is one of per row: padded to whole groups of lanes. */
typedef enum { LABELS, WEIGHTS, SCORES, GRADS, MARGINS } margin;

typedef struct {
    const fl_steps_call *call;
    const fl_table *table;
    int direct; /* the kernels can read X where it lies */
    ptrdiff_t lengths[2], step, per_block;
    char *margins[MARGINS], *copy;
    double *sums, *next;
    fl_watch watch;
} steps_job;

/* ---- one block of rows ------------------------------------------------------------------------- */

static ptrdiff_t row_at(const steps_job *job, ptrdiff_t i)
{
    return job->call->order ? (ptrdiff_t)job->call->order[i] : i;
}

/* How many of the rows [i, end) of the order lie one behind the other. */
static ptrdiff_t stretch(const steps_job *job, ptrdiff_t i, ptrdiff_t end)
{
    ptrdiff_t n = end - i;
    if (job->call->order)
        for (n = 1; i + n < end && row_at(job, i + n) == row_at(job, i) + n; n++)
            ;
    return n;
}

/* What there is one of per row, 1 where `from` is NULL; behind it the last one again, or 0. */
#define GATHER(real)                                                                     \
    for (ptrdiff_t i = 0; i < n; i++)                                                    \
        ((real *)to)[i] = from ? ((const real *)from)[row_at(job, start + i)] : (real)1; \
    for (ptrdiff_t i = n; i < padded; i++)                                               \
        ((real *)to)[i] = again ? ((real *)to)[n - 1] : (real)0;

static void gather(const steps_job *job, const void *from, ptrdiff_t start, ptrdiff_t n, ptrdiff_t padded,
                   int again, void *to)
{
    if (job->call->model.real_bytes == 8) {
        GATHER(double)
    } else {
        GATHER(float)
    }
}

static void copy_rows(const steps_job *job, ptrdiff_t start, ptrdiff_t n)
{
    const fl_linear_call *model = &job->call->model;
    const ptrdiff_t columns = model->columns, bytes = columns * model->real_bytes;
    for (ptrdiff_t i = 0; i < n && columns; i++) {
        const ptrdiff_t row = row_at(job, start + i);
        char *to = job->copy + i * bytes;
        if (job->direct)
            memcpy(to, model->X.data + row * job->step, bytes);
        else
            fl_pack(&(fl_shape){ 2, job->lengths }, model->real_bytes, &model->X, row * columns, columns, to);
    }
}

/* A block of n rows. The cut into parts depends on the order alone, and with it the order of the sums: parts
 * that lie together, or where these are short the whole of dense rows, copied. */
typedef struct {
    ptrdiff_t start, n;
    int together, copied;
} block;

static block open_block(const steps_job *job, ptrdiff_t start, ptrdiff_t n)
{
    const ptrdiff_t first = stretch(job, start, start + n);
    const int together = job->call->model.starts || first >= (n < LONG_ENOUGH ? n : LONG_ENOUGH);
    const block b = { start, n, together, !job->call->model.starts && !(together && job->direct) };
    if (b.copied)
        copy_rows(job, start, n);
    return b;
}

/* The part that begins with the block's row i. */
static fl_matrix part_at(const steps_job *job, const block *b, ptrdiff_t i)
{
    const fl_linear_call *model = &job->call->model;
    const ptrdiff_t size = model->real_bytes, columns = model->columns, row = row_at(job, b->start + i);
    fl_matrix x = { b->n - i, columns, model->X.data, columns, NULL, model->indices, model->index_bytes, 0 };
    if (b->together)
        x.rows = stretch(job, b->start + i, b->start + b->n);
    if (model->starts) {
        x.starts = (const char *)model->starts + row * model->index_bytes;
    } else if (b->copied) {
        x.data = job->copy + i * columns * size;
    } else {
        x.data = model->X.data + row * job->step;
        x.step = job->step / size;
        if (b->start + i + x.rows < job->call->rows)
            x.ahead = (row_at(job, b->start + i + x.rows) - row) * job->step;
    }
    return x;
}

/* Adds the rows' X'g to the sums, and the sum of their losses to *total. Returns a status. */
static int add_block(const steps_job *job, ptrdiff_t start, ptrdiff_t n, double *total)
{
    const fl_linear_call *model = &job->call->model;
    const fl_layout layout = model->starts ? FL_LAYOUT_sparse : FL_LAYOUT_rows;
    const ptrdiff_t size = model->real_bytes, padded = (n + FL_LANES - 1) / FL_LANES * FL_LANES;
    const double intercept = job->call->coef[model->columns];
    char *const *margins = job->margins;
    const block b = open_block(job, start, n);
    fl_matrix x;
    double sum = 0;

    for (ptrdiff_t i = 0; i < n; i += x.rows) {
        x = part_at(job, &b, i);
        if (model->starts && !fl_rows_are_inside(model, row_at(job, start + i), x.rows))
            return FL_BAD_INDEX;
        job->table->forward[layout](&x, job->call->working, intercept, margins[SCORES] + i * size);
    }
    gather(job, model->y.data, start, n, padded, 1, margins[LABELS]);
    gather(job, model->weight.data, start, n, padded, 0, margins[WEIGHTS]);
    memset(margins[SCORES] + n * size, 0, (padded - n) * size); /* of weight 0 */
    const void *in[FL_INPUTS] = { margins[LABELS], margins[SCORES], margins[WEIGHTS] };
    void *out[FL_OUTPUTS] = { margins[GRADS], NULL };
    if (model->kernel(padded, in, FL_LANES, 0, out, model->constants, 1, &sum))
        return FL_VIOLATED;
    *total += sum;
    for (ptrdiff_t i = 0; i < n; i += x.rows) {
        x = part_at(job, &b, i);
        job->table->backward[layout](&x, margins[GRADS] + i * size, NULL, job->sums);
    }
    return 0;
}

/* ---- one step ---------------------------------------------------------------------------------- */

/* What moves the parameters. By value: the compiler need not fear that writing them changes it. */
typedef struct {
    double rate, clip, l2, cut, momentum;
    int nesterov;
} rule;

static void move(rule r, ptrdiff_t n, const double *w, const double *g, double *velocity, double *next)
{
    if (!velocity)
        for (ptrdiff_t j = 0; j < n; j++)
            next[j] = fl_shrunk(w[j] - r.rate * (r.clip * g[j] + r.l2 * w[j]), r.cut);
    else
        for (ptrdiff_t j = 0; j < n; j++) {
            const double d = r.clip * g[j] + r.l2 * w[j], v = r.momentum * velocity[j] + d;
            velocity[j] = v;
            next[j] = fl_shrunk(w[j] - r.rate * (r.nesterov ? d + r.momentum * v : v), r.cut);
        }
}

static void keep(fl_steps_call *call, const double *next)
{
    const ptrdiff_t columns = call->model.columns;
    memcpy(call->coef, next, (columns + 1) * sizeof *next);
    if (call->model.real_bytes == 8)
        memcpy(call->working, next, columns * sizeof *next);
    else
        for (ptrdiff_t j = 0; j < columns; j++)
            ((float *)call->working)[j] = (float)next[j];
    call->steps++;
    if (call->average && call->steps > call->average_from) {
        const double share = 1 / (double)(call->steps - call->average_from);
        for (ptrdiff_t j = 0; j <= columns; j++)
            call->average[j] += share * (next[j] - call->average[j]);
    }
}

/* Batch `b`: the gradient at the parameters, then the step. One that is not finite is not taken. */
static int take_step(steps_job *job, fl_steps_call *call, ptrdiff_t b, fl_total *loss)
{
    const ptrdiff_t columns = call->model.columns, first = b * call->batch, left = call->rows - first;
    const ptrdiff_t n = left < call->batch ? left : call->batch;
    double total = 0, rate = call->rates[b];
    int status = 0;
    memset(job->sums, 0, (columns + 1) * sizeof(double));
    for (ptrdiff_t i = 0; i < n && !status; i += job->per_block) {
        status = add_block(job, first + i, n - i < job->per_block ? n - i : job->per_block, &total);
        if (!status && fl_watch_interrupted(&job->watch, call->model.interrupted))
            status = FL_INTERRUPTED;
    }
    if (status)
        return status;
    if (!call->fit_intercept)
        job->sums[columns] = 0;
    const fl_extent g = fl_measure(job->sums, columns + 1, 1 / (double)n);
    call->norm = g.norm;
    call->largest = g.largest > call->largest ? g.largest : call->largest;
    if (!g.finite || !(fabs(total) <= DBL_MAX)) {
        call->odd = fl_count_odd(job->sums, columns + 1, DBL_MAX) + fl_count_odd(&total, 1, DBL_MAX);
        return FL_DIVERGED;
    }
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    rule r = { rate, clip, call->l2, rate * call->l1, call->momentum, call->nesterov };
    move(r, columns, call->coef, job->sums, call->velocity, job->next);
    r.l2 = r.cut = 0; /* of the intercept */
    r.rate *= call->intercept_rate;
    move(r, 1, call->coef + columns, job->sums + columns, call->velocity ? call->velocity + columns : NULL,
         job->next + columns);
    const fl_extent there = fl_measure(job->next, columns + 1, 1);
    if (!there.finite || there.largest > call->limit) {
        call->odd = fl_count_odd(job->next, columns + 1, call->limit);
        return FL_DIVERGED;
    }
    *loss = fl_total_add(*loss, (fl_total){ total, 0 });
    keep(call, job->next);
    return 0;
}

/* ---- an epoch ---------------------------------------------------------------------------------- */

static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Whether the kernels can read the rows where they lie. */
static int is_direct(const fl_linear_call *model)
{
    const ptrdiff_t size = model->real_bytes, *strides = model->X.strides;
    return model->X.type == (size == 8 ? FL_F64 : FL_F32) && (uintptr_t)model->X.data % size == 0 &&
           (!strides || (strides[1] == size && strides[0] % size == 0));
}

static ptrdiff_t rows_per_block(const fl_linear_call *model)
{
    const ptrdiff_t bytes = model->columns * model->real_bytes,
                    n = model->starts || !bytes ? MOST_ROWS : BLOCK_BYTES / bytes;
    return n < FEWEST_ROWS ? FEWEST_ROWS : n > MOST_ROWS ? MOST_ROWS : n;
}

int fl_run_steps(fl_steps_call *call)
{
    if (fl_steps_are_lazy(call))
        return fl_run_lazy_steps(call);
    const fl_linear_call *model = &call->model;
    const ptrdiff_t size = model->real_bytes, columns = model->columns, *strides = model->X.strides;
    steps_job job = { .call = call, .table = fl_kernels((int)size), .lengths = { model->rows, columns } };
    job.step = strides ? strides[0] : columns * size;
    job.direct = is_direct(model);
    job.per_block = rows_per_block(model);
    const size_t margin = whole_lines((size_t)(job.per_block + FL_LANES) * size),
                 sums = whole_lines((size_t)(columns + 2 * FL_LANES) * sizeof(double)),
                 copy = model->starts ? 0 : (size_t)job.per_block * columns * size;
    char *memory = malloc(MARGINS * margin + 2 * sums + copy + 64);
    if (!memory)
        return FL_NO_MEMORY;
    char *at = memory + (64 - (uintptr_t)memory % 64);
    for (int i = 0; i < MARGINS; i++, at += margin)
        job.margins[i] = at;
    job.sums = (double *)at;
    job.next = (double *)(at + sums);
    job.copy = at + 2 * sums;
    memset(job.sums, 0, 2 * sums);

    job.watch = fl_watch_start();
    fl_total loss = { 0, 0 };
    int status = 0;
    call->largest = call->norm = 0;
    call->odd = 0;
    for (ptrdiff_t b = 0; b * call->batch < call->rows && !status; b++)
        status = take_step(&job, call, b, &loss);
    call->loss = fl_total_rounded(loss);
    free(memory);
    return status;
}
