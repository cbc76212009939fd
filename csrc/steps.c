/* Stochastic gradient descent on a linear model: mini-batches one after the other, each by blocks of rows
 * that are still in cache when X'g reads them again. Parameters and their steps are doubles, whatever the
 * rows are. */
#include "fastloss.h"
#include "linear.h"
#include "pack.h"
#include "team.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES = 1 << 16, /* of a block's rows, about: a part of the second level of cache */
    FEWEST_ROWS = FL_LANES,
    MOST_ROWS = FL_BLOCK,
    SUM_LANES = 8, /* of the norm: the same order of additions for every compiler */
};

/* What there is one of per row: padded to whole groups of lanes. */
typedef enum { LABELS, WEIGHTS, SCORES, GRADS, MARGINS } margin;

typedef struct {
    const fl_steps_call *call;
    const fl_table *table;
    fl_layout layout;
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

static void gather(const steps_job *job, const void *from, ptrdiff_t start, ptrdiff_t n, char *to)
{
    if (job->call->model.real_bytes == 8)
        for (ptrdiff_t i = 0; i < n; i++)
            ((double *)to)[i] = from ? ((const double *)from)[row_at(job, start + i)] : 1;
    else
        for (ptrdiff_t i = 0; i < n; i++)
            ((float *)to)[i] = from ? ((const float *)from)[row_at(job, start + i)] : 1;
}

/* Rows [start, start + n) of the order: where they lie, or copied one behind the other. */
static fl_matrix dense_rows(const steps_job *job, ptrdiff_t start, ptrdiff_t n)
{
    const fl_linear_call *model = &job->call->model;
    const ptrdiff_t size = model->real_bytes, columns = model->columns, bytes = columns * size;
    fl_matrix m = { n, columns, job->copy, columns, NULL, NULL, 0 };
    if (job->direct && !job->call->order) {
        m.data = model->X.data + start * job->step;
        m.step = job->step / size;
        return m;
    }
    for (ptrdiff_t i = 0; i < n && columns; i++) {
        const ptrdiff_t row = row_at(job, start + i);
        char *to = job->copy + i * bytes;
        if (job->direct)
            memcpy(to, model->X.data + row * job->step, bytes);
        else
            fl_pack(&(fl_shape){ 2, job->lengths }, (int)size, &model->X, row * columns, columns, to);
    }
    return m;
}

/* One row of a sparse matrix: not copied, whatever the order. */
static fl_matrix sparse_row(const steps_job *job, ptrdiff_t i)
{
    const fl_linear_call *model = &job->call->model;
    const char *starts = (const char *)model->starts + row_at(job, i) * model->index_bytes;
    return (fl_matrix){ 1, model->columns, model->X.data, 0, starts, model->indices, model->index_bytes };
}

/* Adds the rows' X'g to the sums, and the sum of their losses to *total. Returns a status. */
static int add_block(const steps_job *job, ptrdiff_t start, ptrdiff_t n, double *total)
{
    const fl_linear_call *model = &job->call->model;
    const ptrdiff_t size = model->real_bytes, padded = (n + FL_LANES - 1) / FL_LANES * FL_LANES;
    const void *working = job->call->working;
    const double intercept = job->call->coef[model->columns];
    char *const *margins = job->margins;
    fl_matrix x;
    double sum = 0;

    if (model->starts) {
        for (ptrdiff_t i = 0; i < n; i++) {
            if (!fl_rows_are_inside(model, row_at(job, start + i), 1))
                return FL_BAD_INDEX;
            x = sparse_row(job, start + i);
            job->table->forward[FL_LAYOUT_sparse](&x, working, intercept, margins[SCORES] + i * size);
        }
    } else {
        x = dense_rows(job, start, n);
        job->table->forward[FL_LAYOUT_rows](&x, working, intercept, margins[SCORES]);
    }
    gather(job, model->y.data, start, n, margins[LABELS]);
    gather(job, model->weight.data, start, n, margins[WEIGHTS]);
    memset(margins[WEIGHTS] + n * size, 0, (padded - n) * size);
    for (ptrdiff_t i = n; i < padded; i++) {
        memcpy(margins[LABELS] + i * size, margins[LABELS], size);
        memcpy(margins[SCORES] + i * size, margins[SCORES], size);
    }
    const void *in[FL_INPUTS] = { margins[LABELS], margins[SCORES], margins[WEIGHTS] };
    void *out[FL_OUTPUTS] = { margins[GRADS], NULL };
    if (model->kernel(padded, in, FL_LANES, 0, out, model->constants, 1, &sum))
        return FL_VIOLATED;
    *total += sum;
    if (model->starts)
        for (ptrdiff_t i = 0; i < n; i++) {
            x = sparse_row(job, start + i);
            job->table->backward[FL_LAYOUT_sparse](&x, margins[GRADS] + i * size, NULL, job->sums);
        }
    else
        job->table->backward[FL_LAYOUT_rows](&x, margins[GRADS], NULL, job->sums);
    return 0;
}

/* ---- one step ---------------------------------------------------------------------------------- */

typedef struct {
    double norm, largest;
    int finite;
} extent;

/* Makes the sums a mean, and measures it. */
static extent mean_gradient(double *sums, ptrdiff_t n, double factor)
{
    double squares[SUM_LANES] = { 0 }, zeros[SUM_LANES] = { 0 }, largest[SUM_LANES] = { 0 }, square = 0,
           zero = 0, all = 0;
    for (ptrdiff_t j = 0; j < n; j += SUM_LANES)
        for (ptrdiff_t l = 0; l < SUM_LANES; l++) { /* behind the gradient are zeros */
            const double g = sums[j + l] * factor, size = fabs(g);
            sums[j + l] = g;
            squares[l] += g * g;
            zeros[l] += g * 0;
            largest[l] = size > largest[l] ? size : largest[l];
        }
    for (int l = 0; l < SUM_LANES; l++) {
        square += squares[l];
        zero += zeros[l];
        all = largest[l] > all ? largest[l] : all;
    }
    return (extent){ sqrt(square), all, zero == 0 };
}

/* Where parameter j goes; its velocity moves along. A coefficient within `cut` of 0 becomes 0. */
static inline double moved(const fl_steps_call *call, ptrdiff_t j, double g, double rate, double l2,
                           double cut)
{
    const double w = call->coef[j], d = g + l2 * w;
    double step = d;
    if (call->velocity) {
        const double v = call->momentum * call->velocity[j] + d;
        call->velocity[j] = v;
        step = call->nesterov ? d + call->momentum * v : v;
    }
    const double there = w - rate * step;
    return there - (there > cut ? cut : there < -cut ? -cut : there);
}

static ptrdiff_t count_odd(const double *x, ptrdiff_t n, double limit)
{
    ptrdiff_t odd = 0;
    for (ptrdiff_t j = 0; j < n; j++)
        odd += !(fabs(x[j]) <= limit);
    return odd;
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
    const extent g = mean_gradient(job->sums, columns + 1, 1 / (double)n);
    call->norm = g.norm;
    call->largest = g.largest > call->largest ? g.largest : call->largest;
    if (!g.finite || !(fabs(total) <= DBL_MAX)) {
        call->odd = count_odd(job->sums, columns + 1, DBL_MAX) + count_odd(&total, 1, DBL_MAX);
        return FL_DIVERGED;
    }
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    for (ptrdiff_t j = 0; j < columns; j++)
        job->next[j] = moved(call, j, clip * job->sums[j], rate, call->l2, rate * call->l1);
    job->next[columns] = moved(call, columns, clip * job->sums[columns], rate, 0, 0);
    if ((call->odd = count_odd(job->next, columns + 1, call->limit)))
        return FL_DIVERGED;
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
    memset(job.sums, 0, sums);

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
