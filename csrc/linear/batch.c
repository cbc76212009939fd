/* How the gradient of a batch is computed: its rows are cut into blocks that stay in cache and into tasks for
 * the team of threads, and the tasks' sums are added as a tree. */
#include "linear/batch.h"
#include "drivers/pack.h"
#include "linear/importance.h"
#include "linear/rows.h"

#include <string.h>

enum {
    /* about the bytes of a block's rows, which stay in cache, and the fewest of a task's */
    BLOCK_BYTES = 1 << 15,
    FEWEST_ROWS = 4,
    MOST_ROWS = FL_BLOCK,
    TASK_ROWS = FL_LANES, /* the fewest rows of a task */
    FEW_TASKS = 8,        /* so many tasks are cut whatever memory their sums need */
    MOST_SUMS = 1 << 18,
    LONG_ENOUGH = 4, /* so many rows that lie one behind the other are not copied */
};

/* ---- where rows lie ---------------------------------------------------------------------------- */

static ptrdiff_t row_at(const fl_batches *b, ptrdiff_t i) { return fl_row_at(b->call, i); }

/* How many rows lie one behind the other, from the i-th of the order on and before the end-th. */
static ptrdiff_t stretch(const fl_batches *b, ptrdiff_t i, ptrdiff_t end)
{
    ptrdiff_t n = end - i;
    if (b->call->order)
        for (n = 1; i + n < end && row_at(b, i + n) == row_at(b, i) + n; n++)
            ;
    return n;
}

/* Copies one number for each row, or 1 where `from` is NULL; behind them the last one again, or 0. */
#define GATHER(real)                                                                         \
    for (ptrdiff_t i = 0; i < n; i++)                                                        \
        ((real *)to)[i] = from ? ((const real *)from)[fl_row_at(call, start + i)] : (real)1; \
    for (ptrdiff_t i = n; i < padded; i++)                                                   \
        ((real *)to)[i] = again ? ((real *)to)[n - 1] : (real)0;

static void gather(const fl_steps_call *call, const void *from, ptrdiff_t start, ptrdiff_t n,
                   ptrdiff_t padded, int again, void *to)
{
    if (call->model.real_bytes == 8) {
        GATHER(double)
    } else {
        GATHER(float)
    }
}

/* A block of n rows, which kernels read in parts: stretches of rows that lie one behind the other. Where
 * these are short, dense rows are copied, and the whole block is one part. The order alone decides on the
 * parts, and so on the order of the additions. */
typedef struct {
    ptrdiff_t start, n, next; /* next is the place in the order of the rows that come after these */
    int together, copied;
} block;

static void copy_rows(const fl_batches *b, const block *k, char *copy)
{
    const fl_linear_call *model = &b->call->model;
    const ptrdiff_t columns = model->columns, bytes = columns * model->real_bytes;
    for (ptrdiff_t i = 0; i < k->n && columns; i++, copy += bytes) {
        const ptrdiff_t row = row_at(b, k->start + i);
        if (!b->direct) {
            fl_pack(&(fl_shape){ 2, b->lengths }, model->real_bytes, &model->X, row * columns, columns, copy);
            continue;
        }
        if (k->next + i < b->call->rows)
            for (ptrdiff_t line = 0; line < bytes; line += 64)
                __builtin_prefetch(model->X.data + row_at(b, k->next + i) * b->step + line, 0, 2);
        memcpy(copy, model->X.data + row * b->step, bytes);
    }
}

static block open_block(const fl_batches *b, ptrdiff_t start, ptrdiff_t n, ptrdiff_t next, char *copy)
{
    const fl_linear_call *model = &b->call->model;
    const ptrdiff_t first = stretch(b, start, start + n);
    const int together = model->starts || first >= (n < LONG_ENOUGH ? n : LONG_ENOUGH);
    const block k = { start, n, next, together, !model->starts && !(together && b->direct) };
    if (k.copied)
        copy_rows(b, &k, copy);
    return k;
}

/* The part that begins with the block's row i. */
static fl_matrix part_at(const fl_batches *b, const block *k, ptrdiff_t i, const char *copy)
{
    const fl_linear_call *model = &b->call->model;
    const ptrdiff_t size = model->real_bytes, columns = model->columns, row = row_at(b, k->start + i);
    fl_matrix x = { k->n - i, columns, model->X.data, columns, NULL, model->indices, model->index_bytes, 0 };
    if (k->together)
        x.rows = stretch(b, k->start + i, k->start + k->n);
    if (model->starts) {
        x.starts = (const char *)model->starts + row * model->index_bytes;
    } else if (k->copied) {
        x.data = copy + i * columns * size;
    } else {
        x.data = model->X.data + row * b->step;
        x.step = b->step / size;
        if (k->next + i < b->call->rows)
            x.ahead = (row_at(b, k->next + i) - row) * b->step;
    }
    return x;
}

/* ---- one block of rows ------------------------------------------------------------------------- */

/* The vectors in a worker's workspace; *copy is set to where it copies the rows of a block. */
static fl_row_vectors vectors_of(const fl_batches *b, int worker, char **copy)
{
    char *labels = fl_workspace_of(&b->arena, worker), *scores = labels + 2 * b->vector_bytes,
         *behind = scores + b->call->scores * b->vector_bytes;
    *copy = behind + b->vector_bytes;
    return (fl_row_vectors){ labels, labels + b->vector_bytes, scores, b->call->row_kernel ? scores : behind,
                             b->vector_bytes };
}

/* Puts the derivatives of a loss of rows in the place of the scores. These are vectors of one class each,
 * which a tile that is `across` describes: a group is the distance of two vectors, and a strip FL_LANES rows.
 */
static int differentiate_rows(const fl_steps_call *call, const fl_row_vectors *at, ptrdiff_t start,
                              ptrdiff_t n, double *total)
{
    const ptrdiff_t size = call->model.real_bytes;
    int32_t label[FL_TILE_ROWS];
    _Alignas(64) char value[FL_TILE_ROWS * sizeof(double)];
    for (ptrdiff_t row = 0, rows; row < n; row += rows) {
        const ptrdiff_t left = n - row;
        const fl_rows scores = { at->scores + row * size, (ptrdiff_t)at->vector_bytes / size, FL_LANES };
        int correct;
        double sum;
        rows = left < FL_TILE_ROWS ? left : FL_TILE_ROWS;
        for (ptrdiff_t i = 0; i < FL_TILE_ROWS; i++)
            label[i] = i < rows ? call->label[fl_row_at(call, start + row + i)] : -1;
        const fl_tile tile = { .across = 1,
                               .valued = 1,
                               .rows = rows,
                               .classes = call->scores,
                               .scores = scores,
                               .grad = scores,
                               .label = label,
                               .weight = at->weights + row * size,
                               .value = value,
                               .correct = &correct,
                               .constants = call->model.constants,
                               .scale = 1,
                               .sum = &sum };
        if (call->row_kernel(&tile))
            return FL_VIOLATED;
        *total += sum;
    }
    return 0;
}

int fl_differentiate(const fl_steps_call *call, const fl_row_vectors *at, ptrdiff_t start, ptrdiff_t n,
                     double *total)
{
    const fl_linear_call *model = &call->model;
    const ptrdiff_t size = model->real_bytes, padded = fl_whole_groups(n);
    double sum = 0;
    gather(call, model->weight.data, start, n, padded, 0, at->weights);
    for (ptrdiff_t k = 0; k < call->scores; k++)
        memset(at->scores + k * at->vector_bytes + n * size, 0, (padded - n) * size); /* of weight 0 */
    if (call->row_kernel)
        return differentiate_rows(call, at, start, n, total);
    gather(call, model->y.data, start, n, padded, 1, at->labels);
    const fl_block block = { .n = padded,
                             .inputs = 2,
                             .outputs = 1,
                             .in = { at->labels, at->scores },
                             .out = { at->grads },
                             .weight = at->weights,
                             .weight_step = FL_LANES,
                             .constants = model->constants,
                             .scale = 1,
                             .sum = &sum };
    if (model->kernel(&block))
        return FL_VIOLATED;
    *total += sum;
    return 0;
}

/* Adds the rows' X'g to the sums, and the sum of their losses to *total. Returns a status. */
static int add_block(const fl_batches *b, const fl_row_vectors *at, ptrdiff_t start, ptrdiff_t n,
                     ptrdiff_t next, char *copy, double *sums, double *total)
{
    const fl_steps_call *call = b->call;
    const fl_linear_call *model = &call->model;
    const fl_layout layout = model->starts ? FL_LAYOUT_sparse : FL_LAYOUT_rows;
    const ptrdiff_t size = model->real_bytes, columns = model->columns;
    const block k = open_block(b, start, n, next, copy);
    fl_matrix x;

    for (ptrdiff_t i = 0; i < n; i += x.rows) {
        x = part_at(b, &k, i, copy);
        if (model->starts && !fl_rows_are_inside(model, row_at(b, start + i), x.rows))
            return FL_BAD_INDEX;
        for (ptrdiff_t s = 0; s < call->scores; s++)
            b->table->forward[layout](&x, (const char *)call->working + s * fl_working_stride(model) * size,
                                      call->coef[call->scores * columns + s],
                                      at->scores + s * b->vector_bytes + i * size);
    }
    const int status = fl_differentiate(call, at, start, n, total);
    if (status)
        return status;
    const double plain = call->slope ? fl_real_at((int)size, at->grads, 0) : 0;
    if (plain != 0)
        fl_put_real((int)size, at->grads, 0, 1); /* so the sums become the row itself */
    for (ptrdiff_t i = 0; i < n; i += x.rows) {
        x = part_at(b, &k, i, copy);
        for (ptrdiff_t s = 0; s < call->scores; s++, x.ahead = 0)
            b->table->backward[layout](&x, at->grads + s * b->vector_bytes + i * size, NULL,
                                       sums + s * (columns + 1));
    }
    if (plain != 0)
        fl_importance_step(call, call->rates[start], plain, fl_real_at((int)size, at->labels, 0),
                           fl_real_at((int)size, at->weights, 0), fl_real_at((int)size, at->scores, 0),
                           columns, sums);
    return 0;
}

/* ---- tasks ------------------------------------------------------------------------------------- */

/* A power of two, so that all tasks of a batch have nearly the same number of rows, and all workers nearly
 * the same number of tasks. Sparse rows have one task: to add up the dense sums of several would cost what
 * they gain. */
ptrdiff_t fl_batch_tasks(const fl_batches *b, ptrdiff_t n)
{
    const ptrdiff_t most =
        b->call->model.starts ? 1 : fl_clip(MOST_SUMS / b->stride, FEW_TASKS, FL_MOST_BATCH_TASKS);
    ptrdiff_t tasks = 1;
    while (tasks < most && n / tasks >= 2 * TASK_ROWS &&
           n * b->row_bytes * b->call->scores / tasks > BLOCK_BYTES)
        tasks *= 2;
    return tasks;
}

/* Of two neighbouring tasks, the one that ends last adds both up. So the order of the additions is a tree
 * whose shape depends on the number of tasks alone, and few sums go from one thread to another. */
static void add_up(fl_batches *b, ptrdiff_t task, ptrdiff_t tasks)
{
    for (ptrdiff_t step = 1; step < tasks; step *= 2) {
        task -= task % (2 * step);
        if (atomic_fetch_add_explicit(&b->nodes[task + step].found, 1, memory_order_acq_rel) % 2 == 0)
            return;
        double *to = b->sums + task * b->stride, *from = to + step * b->stride;
        for (ptrdiff_t j = 0; j < b->stride; j++)
            to[j] += from[j];
    }
}

int fl_run_batch_task(fl_batches *b, ptrdiff_t first, ptrdiff_t n, ptrdiff_t task, int worker)
{
    const fl_steps_call *call = b->call;
    const ptrdiff_t tasks = fl_batch_tasks(b, n), start = first + n * task / tasks,
                    end = first + n * (task + 1) / tasks, next_batch = start + call->batch;
    char *copy;
    const fl_row_vectors at = vectors_of(b, worker, &copy);
    double *sums = b->sums + task * b->stride, total = 0;
    int status = 0;
    memset(sums, 0, b->stride * sizeof *sums);
    for (ptrdiff_t i = start, n_block; i < end && !status; i += n_block) {
        n_block = fl_clip(end - i, 0, b->per_block);
        status =
            add_block(b, &at, i, n_block, i + n_block < end ? i + n_block : next_batch, copy, sums, &total);
        if (!worker && !status && fl_watch_interrupted(&b->watch, call->model.interrupted))
            status = FL_INTERRUPTED;
    }
    sums[b->stride - 1] = total;
    if (!status)
        add_up(b, task, tasks);
    return status;
}

/* ---- memory ------------------------------------------------------------------------------------ */

int fl_open_batches(fl_batches *b, const fl_steps_call *call, int threads)
{
    const fl_linear_call *model = &call->model;
    const ptrdiff_t size = model->real_bytes, columns = model->columns, *strides = model->X.strides;
    *b = (fl_batches){ .call = call,
                       .table = fl_kernels((int)size)->linear,
                       .lengths = { model->rows, columns } };
    b->step = strides ? strides[0] : columns * size;
    b->direct = fl_rows_are_direct(model);
    b->row_bytes = columns * size;
    const ptrdiff_t most = b->row_bytes > call->scores * size ? b->row_bytes : call->scores * size;
    const ptrdiff_t rows =
        model->starts ? MOST_ROWS / call->scores : BLOCK_BYTES / fl_clip(most, 1, BLOCK_BYTES);
    b->per_block = fl_clip(rows, FEWEST_ROWS, MOST_ROWS);
    b->stride = (call->scores * (columns + 1) + 2 * FL_LANES) / FL_LANES * FL_LANES;
    b->vector_bytes = fl_whole_lines((size_t)(b->per_block + FL_LANES) * size);
    const size_t copy = model->starts ? 0 : (size_t)b->per_block * b->row_bytes;
    const ptrdiff_t tasks = fl_batch_tasks(b, call->batch < call->rows ? call->batch : call->rows);
    const size_t sums = (tasks + 1) * b->stride * sizeof(double);
    if (!fl_open_arena(&b->arena, sums, (3 + call->scores) * b->vector_bytes + copy,
                       fl_clip(threads, 1, tasks), 0))
        return 0;
    b->sums = (double *)b->arena.shared;
    b->spare = b->sums + tasks * b->stride;
    memset(b->sums, 0, sums);
    b->watch = fl_watch_start();
    if (model->starts || b->per_block * most > BLOCK_BYTES)
        b->watch.every = 1; /* a block may take long */
    return 1;
}

void fl_close_batches(fl_batches *b) { fl_close_arena(&b->arena); }
