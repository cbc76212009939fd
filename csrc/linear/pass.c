/* One pass over the rows of a linear model, in blocks that are still in cache when X'g reads them again. */
#include "api/levels.h"
#include "api/linear.h"
#include "api/threads.h"
#include "drivers/operands.h"
#include "drivers/pack.h"
#include "linear/rows.h"
#include "threads/team.h"

#include <stdint.h>
#include <string.h>

enum {
    COLUMN_BYTES = 1 << 19, /* of a block that is read by columns, where longer runs are faster */
    SHORT_RUN = 512,
    BLOCK_BYTES = 1 << 16, /* of a block of rows, about: a part of the second level of cache */
    MOST_ROWS = FL_BLOCK,
    FEWEST_ROWS = 4,
    FEW_BLOCKS = 4, /* a call of fewer stays on its own thread */
    /* Each task has sums of its own, so that the order of the additions is fixed. There are MOST_TASKS at
     * most, and MOST_SUMS in all tasks together, but FEWEST_TASKS in any case: every team needs some. */
    MOST_TASKS = 128,
    FEWEST_TASKS = 8,
    MOST_SUMS = 1 << 18,
    LONG = 1 << 23,  /* bytes of X that take every CPU long enough to make waking a team worth it */
    INDEX_BYTES = 4, /* what an index of any size counts as, so that blocks, and the bits, are the same for
                        all of them */
};

/* Vectors with one number for each row of a block, padded to whole groups of lanes. */
typedef enum { LABELS, WEIGHTS, SCORES, ALONG, FIRST, SECOND, VECTORS } row_vector;

typedef struct {
    const fl_linear_call *call;
    fl_shape shape, rows; /* of X, and of a vector with one number per row */
    ptrdiff_t lengths[2];
    fl_layout layout;
    int direct; /* the kernels read X where it lies */
    int is_long;
    ptrdiff_t per_block, per_task, stride;
    double *sums;
    size_t vector_bytes;
} linear_job;

/* ---- one block --------------------------------------------------------------------------------- */

static const void *read_vector(const linear_job *job, const fl_array *a, ptrdiff_t start, ptrdiff_t n,
                               int padded, char *copy)
{
    const int size = job->call->real_bytes;
    if (!padded && fl_is_direct(size, a))
        return a->data + start * size;
    fl_pack(&job->rows, size, a, start, n, copy);
    return copy;
}

/* Ones for the rows that are there and zeros behind them, or the call's weights. */
static const void *read_weights(const linear_job *job, ptrdiff_t start, ptrdiff_t n, ptrdiff_t padded,
                                char *copy)
{
    const int size = job->call->real_bytes;
    memset(copy + n * size, 0, (padded - n) * size);
    if (job->call->weight.data)
        return read_vector(job, &job->call->weight, start, n, padded > n, copy);
    for (ptrdiff_t i = 0; i < n; i++)
        if (size == 8)
            ((double *)copy)[i] = 1;
        else
            ((float *)copy)[i] = 1;
    return copy;
}

static int64_t index_at(const fl_linear_call *call, const void *indices, ptrdiff_t k)
{
    return call->index_bytes == 4 ? ((const int32_t *)indices)[k] : ((const int64_t *)indices)[k];
}

int fl_rows_are_inside(const fl_linear_call *call, ptrdiff_t start, ptrdiff_t n)
{
    const int64_t first = index_at(call, call->starts, start), end = index_at(call, call->starts, start + n);
    const uint64_t columns = call->columns;
    int outside = (first < 0) | (end > call->stored);
    for (ptrdiff_t i = start; i < start + n; i++)
        outside |= index_at(call, call->starts, i) > index_at(call, call->starts, i + 1);
    if (outside)
        return 0;
    if (call->index_bytes == 4) {
        const uint32_t limit = columns > INT32_MAX ? (uint32_t)INT32_MAX + 1 : (uint32_t)columns;
        for (int64_t k = first; k < end; k++) /* a negative one is beyond all columns */
            outside |= ((const uint32_t *)call->indices)[k] >= limit;
    } else {
        for (int64_t k = first; k < end; k++)
            outside |= ((const uint64_t *)call->indices)[k] >= columns;
    }
    return !outside;
}

static fl_matrix read_rows(const linear_job *job, ptrdiff_t start, ptrdiff_t n, char *copy)
{
    const fl_linear_call *call = job->call;
    const fl_array *x = &call->X;
    const ptrdiff_t size = call->real_bytes, columns = call->columns;
    fl_matrix m = { n, columns, x->data, columns, call->starts, call->indices, call->index_bytes, 0 };
    if (call->starts) {
        m.starts = (const char *)call->starts + start * call->index_bytes;
    } else if (job->direct) {
        const ptrdiff_t step = x->strides ? x->strides[0] : columns * size;
        m.data = x->data + start * step;
        m.step = (job->layout == FL_LAYOUT_columns ? x->strides[1] : step) / size;
        m.ahead = n * step;
    } else if (columns) {
        fl_pack(&job->shape, (int)size, x, start * columns, n * columns, copy);
        m.data = copy;
    }
    return m;
}

static int run_block(const void *job_of_rows, ptrdiff_t block, fl_workspace *workspace, fl_total *sum)
{
    const linear_job *job = job_of_rows;
    const fl_linear_call *call = job->call;
    const fl_linear_table *table = fl_kernels(call->real_bytes)->linear;
    const int size = call->real_bytes;
    const ptrdiff_t start = block * job->per_block, left = call->rows - start;
    const ptrdiff_t n = left < job->per_block ? left : job->per_block;
    const ptrdiff_t padded = fl_whole_groups(n);
    double *sums = job->sums + block / job->per_task * job->stride, total = 0;
    char *vectors[VECTORS];

    *sum = (fl_total){ 0, 0 };
    if (call->starts && !fl_rows_are_inside(call, start, n))
        return FL_BAD_INDEX;
    for (int i = 0; i < VECTORS; i++)
        vectors[i] = workspace->memory + i * job->vector_bytes;
    const fl_matrix x = read_rows(job, start, n, workspace->memory + VECTORS * job->vector_bytes);
    table->forward[job->layout](&x, call->coef, call->intercept, vectors[SCORES]);
    if (call->scores)
        memcpy((char *)call->scores + start * size, vectors[SCORES], n * size);
    if (!call->kernel)
        return 0;

    const fl_block values = {
        .n = padded,
        .inputs = 2,
        .outputs = call->vector ? 2 : 1,
        .in = { read_vector(job, &call->y, start, n, padded > n, vectors[LABELS]), vectors[SCORES] },
        .out = { vectors[FIRST], vectors[SECOND] },
        .weight = read_weights(job, start, n, padded, vectors[WEIGHTS]),
        .weight_step = FL_LANES,
        .constants = call->constants,
        .scale = 1,
        .sum = &total,
    };
    if (padded > n) {
        fl_fill_up(size, vectors[LABELS], n, padded);
        fl_fill_up(size, vectors[SCORES], n, padded);
    }
    const int violated = call->kernel(&values);
    sum->hi = total;
    if (block % job->per_task == 0)
        memset(sums, 0, job->stride * sizeof *sums);
    if (call->vector)
        table->forward[job->layout](&x, call->vector, call->vector_intercept, vectors[ALONG]);
    table->backward[job->layout](&x, vectors[call->vector ? SECOND : FIRST],
                                 call->vector ? vectors[ALONG] : NULL, sums);
    return violated ? FL_VIOLATED : 0;
}

/* ---- a call ------------------------------------------------------------------------------------ */

/* How many elements of a sparse matrix belong to rows. Its starts have not been checked. */
static ptrdiff_t elements(const fl_linear_call *call)
{
    const int64_t first = index_at(call, call->starts, 0), end = index_at(call, call->starts, call->rows);
    return first < 0 || end > call->stored || end < first ? call->stored : (ptrdiff_t)(end - first);
}

static void prepare(linear_job *job, const fl_linear_call *call)
{
    const ptrdiff_t size = call->real_bytes, columns = call->columns;
    const ptrdiff_t *strides = call->X.strides;
    job->call = call;
    job->lengths[0] = call->rows;
    job->lengths[1] = columns;
    job->shape = (fl_shape){ 2, job->lengths };
    job->rows = (fl_shape){ 1, job->lengths };
    const int dense = !call->starts && fl_is_real(call->real_bytes, &call->X);
    const int by_rows = dense && fl_rows_are_direct(call);
    const int by_columns = dense && !by_rows && strides[0] == size && strides[1] % size == 0;
    job->layout = call->starts ? FL_LAYOUT_sparse : by_columns ? FL_LAYOUT_columns : FL_LAYOUT_rows;
    job->direct = call->starts || by_rows || by_columns;
    const ptrdiff_t row_bytes =
        call->starts ? elements(call) / call->rows * (size + INDEX_BYTES) : columns * size;
    const ptrdiff_t block_bytes = by_columns ? COLUMN_BYTES : BLOCK_BYTES;
    job->per_block = fl_clip(block_bytes / fl_clip(row_bytes, 1, block_bytes),
                             by_columns ? SHORT_RUN : FEWEST_ROWS, MOST_ROWS);
    job->per_block -= job->per_block % (job->per_block < FL_LANES ? FEWEST_ROWS : FL_LANES);
    job->is_long = call->rows * row_bytes >= LONG;
    const ptrdiff_t blocks = (call->rows + job->per_block - 1) / job->per_block;
    const ptrdiff_t tasks = fl_clip(MOST_SUMS / (columns + 1), FEWEST_TASKS, MOST_TASKS);
    job->per_task = (blocks + tasks - 1) / tasks;
    job->stride = (columns + FL_LANES) / FL_LANES * FL_LANES;
    job->vector_bytes = fl_whole_lines((job->per_block + FL_LANES) * size);
}

/* The sums of all tasks, as a tree whose shape depends on their number alone. */
static void add_up(const linear_job *job, ptrdiff_t tasks)
{
    for (ptrdiff_t step = 1; step < tasks; step *= 2)
        for (ptrdiff_t t = 0; t + step < tasks; t += 2 * step) {
            double *to = job->sums + t * job->stride, *from = to + step * job->stride;
            for (ptrdiff_t j = 0; j <= job->call->columns; j++)
                to[j] += from[j];
        }
    memcpy(job->call->sums, job->sums, (job->call->columns + 1) * sizeof(double));
}

int fl_run_linear(const fl_linear_call *call, double *sum)
{
    linear_job job;
    *sum = 0;
    if (call->kernel)
        memset(call->sums, 0, (call->columns + 1) * sizeof(double));
    if (!call->rows)
        return 0;
    prepare(&job, call);
    const ptrdiff_t blocks = (call->rows + job.per_block - 1) / job.per_block;
    const ptrdiff_t tasks = (blocks + job.per_task - 1) / job.per_task;
    const size_t sums = call->kernel ? (size_t)(tasks * job.stride) * sizeof(double) : 0;
    const size_t copy = job.direct ? 0 : job.per_block * call->columns * call->real_bytes;
    const ptrdiff_t workers = blocks < FEW_BLOCKS ? 1 : fl_clip(fl_num_threads(), 1, FL_MAX_WORKERS);
    fl_arena arena;
    if (!fl_open_arena(&arena, sums, VECTORS * job.vector_bytes + copy, workers, 0))
        return FL_NO_MEMORY;
    job.sums = (double *)arena.shared;
    const fl_job work = { .call = &job,
                          .blocks = blocks,
                          .few = FEW_BLOCKS,
                          .workers = arena.workers,
                          .arena = &arena,
                          .run = run_block,
                          .interrupted = call->interrupted };
    const int status = fl_run_tasks(&work, job.per_task, job.is_long, sum);
    if (call->kernel && status <= FL_VIOLATED)
        add_up(&job, tasks);
    fl_close_arena(&arena);
    return status;
}
