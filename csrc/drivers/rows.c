/* Calls on rows of scores: arrays of any layout, cut into the tiles that a row kernel sees. */
#include "api/levels.h"
#include "api/rows.h"
#include "api/threads.h"
#include "drivers/operands.h"
#include "drivers/pack.h"
#include "threads/team.h"

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

enum {
    /* With so many classes and bytes of a row or fewer, strips go across rows; with more, along rows. */
    FEW_CLASSES = 256,
    /* In float64 strips across rows would no longer be in the first level of cache: at 256 classes they
     * took 1.15 times as long as strips along rows, at 200 0.9 times. */
    FEW_BYTES = 208 * sizeof(double),
    /* Bytes of a matrix of a tile of strips across rows: two of them are in the first level of cache. */
    STRIPS = 16384,
    /* About the elements of a block where classes are few, and of a tile where they are many: its last sweep
     * should find them in the second level of cache. */
    BLOCK = 4096,
    TILE = 16384,
};

_Static_assert((int)FL_TILE_ROWS <= (int)FL_MOST_ONES, "the weights of a tile without any");
_Static_assert((int)FEW_BYTES >= (int)(FL_LANES * sizeof(double)),
               "the end of a strip along a row is copied as FL_LANES numbers");

typedef enum { SCORES, LABELS, GRAD, HESS, MATRICES, INPUTS = GRAD } matrix;

/* A call as the threads see it. `direct`: kernels could read and write that matrix where it lies. */
typedef struct {
    const fl_row_call *call;
    const fl_row_table *kernels;
    const fl_array *matrix[MATRICES];
    fl_shape rows; /* the shape without the axis of the classes */
    int used[MATRICES], direct[MATRICES];
    ptrdiff_t class_stride[MATRICES];
    int across;
    ptrdiff_t per_block, per_tile; /* rows */
    char *class_weight;
    atomic_ptrdiff_t correct;
} row_job;

/* ---- where rows lie ---------------------------------------------------------------------------- */

static int is_direct(const fl_row_call *call, const fl_array *a)
{
    const ptrdiff_t size = call->real_bytes;
    if (!fl_is_real(call->real_bytes, a))
        return 0;
    for (int d = 0; a->strides && d < call->shape.ndim; d++)
        if (a->strides[d] % size)
            return 0;
    return 1;
}

/* Where a row lies: its address, and how many rows (itself included) follow at equal steps. */
typedef struct {
    char *at;
    ptrdiff_t step, run;
} row_place;

static row_place locate(const fl_row_call *call, const fl_array *a, ptrdiff_t row)
{
    const int axes = call->shape.ndim - 1;
    const ptrdiff_t *length = call->shape.length, *strides = a->strides;
    if (!strides) {
        const ptrdiff_t step = call->classes * fl_item_size(a->type);
        return (row_place){ a->data + row * step, step, call->rows - row };
    }
    char *at = a->data;
    const ptrdiff_t step = axes ? strides[axes - 1] : 0;
    ptrdiff_t inner = 1, before = 0; /* rows of the last axes, as far as steps over these are equal */
    for (int d = axes - 1, together = 1; d >= 0; d--) {
        const ptrdiff_t i = row % length[d];
        row /= length[d];
        at += i * strides[d];
        together &= strides[d] == inner * step;
        before += together ? i * inner : 0;
        inner *= together ? length[d] : 1;
    }
    return (row_place){ at, step, inner - before };
}

/* ---- tiles of FL_LANES rows -------------------------------------------------------------------- */

/* n rows of a matrix as strips across rows: in place where rows already lie side by side, else a copy in
 * `tile`. Scores are always copied, since kernels write over them. */
static fl_rows lanes_of(const row_job *job, matrix m, ptrdiff_t row, ptrdiff_t n, char *tile, char *packed)
{
    const fl_row_call *call = job->call;
    const fl_array *a = job->matrix[m];
    const ptrdiff_t size = call->real_bytes, classes = call->classes, stride = job->class_stride[m];
    const fl_rows copy = { tile, FL_LANES, FL_LANES * classes };
    const row_place p = locate(call, a, row);
    if (job->direct[m] && p.run >= n) {
        if (m != SCORES && p.step == size && n % FL_LANES == 0)
            return (fl_rows){ p.at, stride / size, FL_LANES };
        if (m < INPUTS)
            job->kernels->gather(p.at, p.step, stride, n, classes, tile);
        return copy;
    }
    if (m < INPUTS) {
        fl_pack(&call->shape, (int)size, a, row * classes, n * classes, packed);
        job->kernels->gather(packed, classes * size, size, n, classes, tile);
    }
    return copy;
}

static void lanes_back(const row_job *job, matrix m, ptrdiff_t row, ptrdiff_t n, char *tile, char *packed)
{
    const fl_row_call *call = job->call;
    const fl_array *a = job->matrix[m];
    const ptrdiff_t size = call->real_bytes, classes = call->classes;
    const row_place p = locate(call, a, row);
    if (job->direct[m] && p.run >= n) {
        job->kernels->scatter(p.at, p.step, job->class_stride[m], n, classes, tile);
        return;
    }
    job->kernels->scatter(packed, classes * size, size, n, classes, tile);
    fl_unpack(&call->shape, (int)size, a, row * classes, n * classes, packed);
}

/* n rows of a matrix as strips along rows: in place where classes lie side by side, else a copy. */
static fl_rows rows_of(const row_job *job, matrix m, ptrdiff_t row, ptrdiff_t n, char *packed)
{
    const fl_row_call *call = job->call;
    const fl_array *a = job->matrix[m];
    const ptrdiff_t size = call->real_bytes, classes = call->classes;
    const row_place p = locate(call, a, row);
    if (job->direct[m] && job->class_stride[m] == size && p.run >= n)
        return (fl_rows){ p.at, FL_LANES, p.step / size };
    if (m < INPUTS)
        fl_pack(&call->shape, (int)size, a, row * classes, n * classes, packed);
    return (fl_rows){ packed, FL_LANES, classes };
}

/* ---- blocks ------------------------------------------------------------------------------------ */

/* The vectors of a tile with one number per row. */
typedef struct {
    int32_t label[FL_TILE_ROWS];
    const void *weight;
    _Alignas(64) char weights[FL_TILE_ROWS * sizeof(double)], value[FL_TILE_ROWS * sizeof(double)],
        lse[FL_TILE_ROWS * sizeof(double)];
} row_vectors;

static int is_absent(const fl_row_call *call, const row_vectors *v, ptrdiff_t i)
{
    return call->real_bytes == 8 ? ((const double *)v->weight)[i] == 0 : ((const float *)v->weight)[i] == 0;
}

/* Sets the labels of n rows, -1 for what is no class. Returns a negative number if any is none. */
static int read_labels(const row_job *job, ptrdiff_t row, ptrdiff_t n, int32_t *to)
{
    const fl_row_call *call = job->call;
    const uint64_t classes = call->classes;
    int any = 0;
    if (call->labels.type == FL_I64 && !call->labels.strides && (uintptr_t)call->labels.data % 8 == 0) {
        /* unsigned, so that -1 is beyond all classes; in halves of 32 bits, which SSE2 can compare */
        const uint64_t *label = (const uint64_t *)call->labels.data + row;
        const uint32_t limit = (uint32_t)classes;
        uint32_t high = 0, beyond = 0;
        for (ptrdiff_t i = 0; i < n; i++) {
            const uint32_t low = (uint32_t)label[i];
            to[i] = (int32_t)low;
            high |= (uint32_t)(label[i] >> 32);
            beyond |= low >= limit;
        }
        for (ptrdiff_t i = 0; (high | beyond) && i < n; i++)
            any |= to[i] = label[i] < classes ? (int32_t)label[i] : -1;
    } else {
        double label[FL_TILE_ROWS];
        fl_pack(&job->rows, 8, &call->labels, row, n, label);
        for (ptrdiff_t i = 0; i < n; i++) {
            to[i] = label[i] >= 0 && label[i] < (double)classes ? (int32_t)label[i] : -1;
            any |= to[i];
        }
    }
    return any;
}

/* Reads labels and weights. Returns FL_VIOLATED where a row that counts has a label that is no class. */
static int read_row_vectors(const row_job *job, ptrdiff_t row, ptrdiff_t n, row_vectors *v)
{
    const fl_row_call *call = job->call;
    v->weight = fl_ones(call->real_bytes, FL_TILE_ROWS);
    if (call->weight.data) {
        memset(v->weights, 0, sizeof v->weights);
        fl_pack(&job->rows, call->real_bytes, &call->weight, row, n, v->weights);
        v->weight = v->weights;
    }
    for (ptrdiff_t i = call->given ? 0 : n; i < FL_TILE_ROWS; i++)
        v->label[i] = -1;
    if (call->given)
        return 0;
    const int any = read_labels(job, row, n, v->label);
    for (ptrdiff_t i = 0; any < 0 && i < n; i++)
        if (v->label[i] < 0 && !is_absent(call, v, i))
            return FL_VIOLATED;
    return 0;
}

static void write_row_vector(const row_job *job, const fl_array *a, ptrdiff_t row, ptrdiff_t n,
                             const char *values)
{
    if (a->data)
        fl_unpack(&job->rows, job->call->real_bytes, a, row, n, values);
}

/* Fills up the last strip with copies of the last row. */
static void fill_up_strip(char *tile, ptrdiff_t n, ptrdiff_t classes, ptrdiff_t size)
{
    const ptrdiff_t there = n % FL_LANES;
    char *group = tile + n / FL_LANES * FL_LANES * classes * size;
    for (ptrdiff_t k = 0; there && k < classes; k++, group += FL_LANES * size)
        fl_fill_up((int)size, group, there, FL_LANES);
}

static int run_tile(const row_job *job, ptrdiff_t row, ptrdiff_t n, char *memory, double *sum, int *correct)
{
    const fl_row_call *call = job->call;
    const ptrdiff_t size = call->real_bytes, tile_bytes = job->per_tile * call->classes * size;
    char *tiles[MATRICES], *packed = memory + MATRICES * tile_bytes;
    fl_rows view[MATRICES];
    row_vectors v;
    int status = read_row_vectors(job, row, n, &v);

    for (int i = 0; i < MATRICES; i++) {
        tiles[i] = memory + i * tile_bytes;
        view[i] = !job->used[i] ? (fl_rows){ NULL, 0, 0 }
                  : job->across ? lanes_of(job, i, row, n, tiles[i], packed)
                                : rows_of(job, i, row, n, tiles[i]);
        if (i < INPUTS && job->across && view[i].data == tiles[i])
            fill_up_strip(tiles[i], n, call->classes, size);
    }
    const fl_tile tile = { .across = job->across,
                           .valued = !call->hess.data || call->value.data,
                           .rows = n,
                           .classes = call->classes,
                           .scores = view[SCORES],
                           .labels = view[LABELS],
                           .class_weight = { job->class_weight, FL_LANES, 0 },
                           .grad = view[GRAD],
                           .hess = view[HESS],
                           .label = v.label,
                           .weight = v.weight,
                           .value = v.value,
                           .lse = call->lse.data ? v.lse : NULL,
                           .correct = correct,
                           .constants = call->constants,
                           .context = call->context,
                           .scale = call->scale,
                           .sum = sum };
    status |= call->kernel(&tile) ? FL_VIOLATED : 0;
    for (int i = INPUTS; i < MATRICES; i++)
        if (view[i].data == tiles[i] && job->across)
            lanes_back(job, i, row, n, tiles[i], packed);
        else if (view[i].data == tiles[i])
            fl_unpack(&call->shape, (int)size, job->matrix[i], row * call->classes, n * call->classes,
                      tiles[i]);
    write_row_vector(job, &call->value, row, n, v.value);
    write_row_vector(job, &call->lse, row, n, v.lse);
    return status;
}

static int run_block(const void *job_of_rows, ptrdiff_t block, fl_workspace *workspace, fl_total *sum)
{
    row_job *job = (row_job *)job_of_rows;
    const ptrdiff_t start = block * job->per_block, rest = job->call->rows - start;
    const ptrdiff_t end = start + (rest < job->per_block ? rest : job->per_block);
    int status = 0;
    ptrdiff_t correct = 0;

    *sum = (fl_total){ 0, 0 };
    for (ptrdiff_t row = start; row < end; row += job->per_tile) {
        const ptrdiff_t left = end - row;
        int hits;
        double x;
        status |=
            run_tile(job, row, left < job->per_tile ? left : job->per_tile, workspace->memory, &x, &hits);
        *sum = fl_total_add(*sum, (fl_total){ x, 0 });
        correct += hits;
    }
    atomic_fetch_add_explicit(&job->correct, correct, memory_order_relaxed);
    return status;
}

/* ---- a call ------------------------------------------------------------------------------------ */

static void prepare(row_job *job, const fl_row_call *call)
{
    job->call = call;
    job->kernels = fl_kernels(call->real_bytes)->rows;
    job->rows = (fl_shape){ call->shape.ndim - 1, call->shape.length };
    job->matrix[SCORES] = &call->scores;
    job->matrix[LABELS] = &call->labels;
    job->matrix[GRAD] = &call->grad;
    job->matrix[HESS] = &call->hess;
    for (int i = 0; i < MATRICES; i++) {
        const fl_array *a = job->matrix[i];
        job->used[i] = a->data && (i != LABELS || call->given);
        job->direct[i] = job->used[i] && is_direct(call, a);
        job->class_stride[i] = !job->used[i] ? 0
                               : a->strides  ? a->strides[call->shape.ndim - 1]
                                             : fl_item_size(a->type);
    }
    job->across = call->classes <= FEW_CLASSES && call->classes * call->real_bytes <= FEW_BYTES;
    job->per_tile = job->across ? STRIPS / (call->classes * call->real_bytes) / FL_LANES * FL_LANES
                                : TILE / call->classes;
    job->per_tile = fl_clip(job->per_tile, job->across ? FL_LANES : 1, FL_TILE_ROWS);
    job->per_block = job->per_tile;
    while (job->per_block * call->classes < BLOCK)
        job->per_block *= 2;
    atomic_init(&job->correct, 0);
}

static void fill_class_weight(const row_job *job)
{
    const fl_row_call *call = job->call;
    const ptrdiff_t copies = job->across ? FL_LANES : 1;
    for (ptrdiff_t i = 0; call->given && i < call->classes * copies; i++) {
        const double w = call->class_weight ? call->class_weight[i / copies] : 1;
        if (call->real_bytes == 8)
            ((double *)job->class_weight)[i] = w;
        else
            ((float *)job->class_weight)[i] = (float)w;
    }
}

int fl_run_rows(const fl_row_call *call, double *sum, ptrdiff_t *correct)
{
    row_job job;
    *sum = 0;
    *correct = 0;
    if (!call->rows)
        return 0;
    prepare(&job, call);
    const ptrdiff_t blocks = (call->rows + job.per_block - 1) / job.per_block;
    const int few = call->classes > BLOCK ? 2 : 8;
    const ptrdiff_t workers = blocks < few ? 1 : fl_clip(fl_num_threads(), 1, FL_MAX_WORKERS);
    const size_t tiles = job.across ? MATRICES + 1 : MATRICES;
    const size_t weights = call->given ? (size_t)call->classes * FL_LANES * call->real_bytes : 0;
    fl_arena arena;
    if (!fl_open_arena(&arena, weights, tiles * job.per_tile * call->classes * call->real_bytes, workers, 0))
        return FL_NO_MEMORY;
    job.class_weight = call->given ? arena.shared : NULL;
    fill_class_weight(&job);
    const fl_job work = { .call = &job,
                          .blocks = blocks,
                          .few = few,
                          .workers = arena.workers,
                          .arena = &arena,
                          .run = run_block,
                          .interrupted = call->interrupted };
    const int status = fl_run_job(&work, sum);
    fl_close_arena(&arena);
    *correct = atomic_load(&job.correct);
    return status;
}

ptrdiff_t fl_first_bad_label(const fl_row_call *call)
{
    row_job job;
    prepare(&job, call);
    fl_watch watch = fl_watch_start();
    for (ptrdiff_t row = 0; row < call->rows; row += FL_TILE_ROWS) {
        const ptrdiff_t rest = call->rows - row;
        if (fl_watch_interrupted(&watch, call->interrupted))
            break;
        row_vectors v;
        if (!read_row_vectors(&job, row, rest < FL_TILE_ROWS ? rest : FL_TILE_ROWS, &v))
            continue;
        while (!read_row_vectors(&job, row, 1, &v))
            row++;
        return row;
    }
    return -1;
}
