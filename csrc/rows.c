/* Calls on rows of scores: arrays of any layout, cut into the tiles that a row kernel sees. */
#include "fastloss.h"
#include "pack.h"
#include "team.h"

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Up to so many classes a tile is FL_LANES rows, above it is one. */
    FEW_CLASSES = 64,
    /* Elements of a block, about; a block is whole tiles. */
    BLOCK = 4096,
};

typedef enum { SCORES, LABELS, GRAD, HESS, MATRICES, INPUTS = GRAD } matrix;

/* How the threads see a call: `direct` are the matrices that kernels can read and write where they are. */
typedef struct {
    const fl_row_call *call;
    const fl_array *matrix[MATRICES];
    fl_shape rows; /* the shape without the classes */
    int direct[MATRICES];
    int across;
    ptrdiff_t per_block;
    size_t room; /* bytes of a worker */
    char *rooms, *class_weight;
    atomic_ptrdiff_t correct;
} row_job;

/* ---- where rows lie ---------------------------------------------------------------------------- */

static ptrdiff_t class_stride(const fl_row_call *call, const fl_array *a)
{
    return a->strides ? a->strides[call->shape.ndim - 1] : fl_item_size(a->type);
}

static int is_direct(const fl_row_call *call, const fl_array *a)
{
    const ptrdiff_t size = call->real_bytes;
    if (a->type != (size == 8 ? FL_F64 : FL_F32) || (uintptr_t)a->data % size)
        return 0;
    for (int d = 0; a->strides && d < call->shape.ndim; d++)
        if (a->strides[d] % size)
            return 0;
    return 1;
}

/* From a row on: its address, and how many rows (itself included) follow at equal steps. */
typedef struct {
    char *at;
    ptrdiff_t step, run;
} place;

static place locate(const fl_row_call *call, const fl_array *a, ptrdiff_t row)
{
    const int axes = call->shape.ndim - 1;
    const ptrdiff_t *length = call->shape.length, *strides = a->strides;
    if (!strides) {
        const ptrdiff_t step = call->classes * fl_item_size(a->type);
        return (place){ a->data + row * step, step, call->rows - row };
    }
    char *at = a->data;
    const ptrdiff_t step = axes ? strides[axes - 1] : 0;
    ptrdiff_t inner = 1, before = 0; /* rows of the last axes, as far as these are one in memory */
    for (int d = axes - 1, together = 1; d >= 0; d--) {
        const ptrdiff_t i = row % length[d];
        row /= length[d];
        at += i * strides[d];
        together &= strides[d] == inner * step;
        before += together ? i * inner : 0;
        inner *= together ? length[d] : 1;
    }
    return (place){ at, step, inner - before };
}

/* ---- tiles of FL_LANES rows -------------------------------------------------------------------- */

/* Between rows at equal steps, of elements at equal steps, and [classes][FL_LANES]. */
#define TRANSPOSE(word, n, to, from)                                                   \
    for (ptrdiff_t k = 0; k < classes; k++, rows += stride, tile += FL_LANES * size) { \
        word *lanes = (word *)tile;                                                    \
        char *row = rows;                                                              \
        for (ptrdiff_t l = 0; l < (n); l++, row += step) {                             \
            word *cell = (word *)row;                                                  \
            to = from;                                                                 \
        }                                                                              \
    }
#define TRANSPOSE_ANY(word, to, from)       \
    if (n == FL_LANES) {                    \
        TRANSPOSE(word, FL_LANES, to, from) \
    } else {                                \
        TRANSPOSE(word, n, to, from)        \
    }

static void gather(int size, char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
                   char *tile)
{
    if (size == 8) {
        TRANSPOSE_ANY(uint64_t, lanes[l], *cell)
    } else {
        TRANSPOSE_ANY(uint32_t, lanes[l], *cell)
    }
}

static void scatter(int size, char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
                    char *tile)
{
    if (size == 8) {
        TRANSPOSE_ANY(uint64_t, *cell, lanes[l])
    } else {
        TRANSPOSE_ANY(uint32_t, *cell, lanes[l])
    }
}

/* The tile's view of a matrix: in place where lanes already lie side by side, else a copy in `tile`. */
static fl_rows tile_of(const row_job *job, matrix m, ptrdiff_t row, ptrdiff_t n, char *tile, char *packed)
{
    const fl_row_call *call = job->call;
    const fl_array *a = job->matrix[m];
    const ptrdiff_t size = call->real_bytes, classes = call->classes;
    if (!a->data || (m == LABELS && !call->given))
        return (fl_rows){ NULL, 0 };
    if (job->direct[m]) {
        const place p = locate(call, a, row);
        const ptrdiff_t stride = class_stride(call, a);
        if (p.run >= n && p.step == size && n == FL_LANES)
            return (fl_rows){ p.at, stride / size };
        if (p.run >= n) {
            if (m < INPUTS)
                gather((int)size, p.at, p.step, stride, n, classes, tile);
            return (fl_rows){ tile, FL_LANES };
        }
    }
    if (m < INPUTS) {
        fl_pack(&call->shape, (int)size, a, row * classes, n * classes, packed);
        gather((int)size, packed, classes * size, size, n, classes, tile);
    }
    return (fl_rows){ tile, FL_LANES };
}

static void tile_back(const row_job *job, matrix m, ptrdiff_t row, ptrdiff_t n, char *tile, char *packed,
                      fl_rows at)
{
    const fl_row_call *call = job->call;
    const fl_array *a = job->matrix[m];
    const ptrdiff_t size = call->real_bytes, classes = call->classes;
    if (at.data != tile)
        return;
    if (job->direct[m]) {
        const place p = locate(call, a, row);
        if (p.run >= n) {
            scatter((int)size, p.at, p.step, class_stride(call, a), n, classes, tile);
            return;
        }
    }
    scatter((int)size, packed, classes * size, size, n, classes, tile);
    fl_unpack(&call->shape, (int)size, a, row * classes, n * classes, packed);
}

/* ---- single rows ------------------------------------------------------------------------------- */

static fl_rows row_of(const row_job *job, matrix m, ptrdiff_t row, char *packed)
{
    const fl_row_call *call = job->call;
    const fl_array *a = job->matrix[m];
    if (!a->data || (m == LABELS && !call->given))
        return (fl_rows){ NULL, 0 };
    if (job->direct[m] && class_stride(call, a) == call->real_bytes)
        return (fl_rows){ locate(call, a, row).at, FL_LANES };
    if (m < INPUTS)
        fl_pack(&call->shape, call->real_bytes, a, row * call->classes, call->classes, packed);
    return (fl_rows){ packed, FL_LANES };
}

static void row_back(const row_job *job, matrix m, ptrdiff_t row, char *packed, fl_rows at)
{
    const fl_row_call *call = job->call;
    if (at.data == packed)
        fl_unpack(&call->shape, call->real_bytes, job->matrix[m], row * call->classes, call->classes, packed);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

/* What there is one of per row, for up to FL_LANES rows. */
typedef struct {
    ptrdiff_t label[FL_LANES], correct;
    _Alignas(64) char weight[FL_LANES * sizeof(double)], value[FL_LANES * sizeof(double)],
        lse[FL_LANES * sizeof(double)];
} margin;

static int read_margin(const row_job *job, ptrdiff_t row, ptrdiff_t n, margin *m)
{
    const fl_row_call *call = job->call;
    const ptrdiff_t size = call->real_bytes;
    double label[FL_LANES];
    int violated = 0;

    m->correct = 0;
    for (ptrdiff_t l = 0; l < FL_LANES; l++) {
        m->label[l] = -1;
        size == 8 ? (void)(((double *)m->weight)[l] = l < n) : (void)(((float *)m->weight)[l] = l < n);
    }
    if (call->weight.data)
        fl_pack(&job->rows, (int)size, &call->weight, row, n, m->weight);
    if (call->given)
        return 0;
    if (call->labels.type == FL_I64 && !call->labels.strides && (uintptr_t)call->labels.data % 8 == 0)
        for (ptrdiff_t l = 0; l < n; l++) {
            const int64_t k = ((const int64_t *)call->labels.data)[row + l];
            label[l] = k >= 0 && k < call->classes ? (double)k : -1;
        }
    else
        fl_pack(&job->rows, 8, &call->labels, row, n, label);
    for (ptrdiff_t l = 0; l < n; l++) {
        const int is_class = label[l] >= 0 && label[l] < (double)call->classes;
        const double weight = size == 8 ? ((double *)m->weight)[l] : ((float *)m->weight)[l];
        m->label[l] = is_class ? (ptrdiff_t)label[l] : -1;
        violated |= !is_class & (weight != 0);
    }
    return violated ? FL_VIOLATED : 0;
}

static void write_margin(const row_job *job, const fl_array *a, ptrdiff_t row, ptrdiff_t n,
                         const char *values)
{
    if (a->data)
        fl_unpack(&job->rows, job->call->real_bytes, a, row, n, values);
}

static int run_tile(row_job *job, fl_tile *t, margin *m, const fl_rows *view, double *sum)
{
    int correct;
    t->across = job->across;
    t->classes = job->call->classes;
    t->scores = view[SCORES];
    t->labels = view[LABELS];
    t->class_weight = (fl_rows){ job->class_weight, FL_LANES };
    t->grad = view[GRAD];
    t->hess = view[HESS];
    t->label = m->label;
    t->weight = m->weight;
    t->value = m->value;
    t->lse = m->lse;
    t->correct = &correct;
    const int violated = job->call->kernel(t, job->call->constants, job->call->scale, sum);
    m->correct += correct;
    return violated ? FL_VIOLATED : 0;
}

/* Up to FL_LANES rows as one tile; those that are not there are copies of the last. */
static int run_across(row_job *job, ptrdiff_t row, ptrdiff_t n, char *room, margin *m, double *sum)
{
    const ptrdiff_t size = job->call->real_bytes, tile_bytes = job->call->classes * FL_LANES * size;
    char *packed = room + MATRICES * tile_bytes;
    fl_rows view[MATRICES];
    fl_tile t;
    for (int i = 0; i < MATRICES; i++) {
        char *tile = room + i * tile_bytes;
        view[i] = tile_of(job, i, row, n, tile, packed);
        if (i < INPUTS && view[i].data == tile)
            for (char *group = tile; n < FL_LANES && group < tile + tile_bytes; group += FL_LANES * size)
                for (ptrdiff_t l = n; l < FL_LANES; l++)
                    memcpy(group + l * size, group + (n - 1) * size, size);
    }
    const int status = run_tile(job, &t, m, view, sum);
    for (int i = INPUTS; i < MATRICES; i++)
        tile_back(job, i, row, n, room + i * tile_bytes, packed, view[i]);
    return status;
}

/* One row, number l of the margin. */
static int run_along(row_job *job, ptrdiff_t row, ptrdiff_t l, char *room, margin *all, double *sum)
{
    const size_t size = job->call->real_bytes, row_bytes = job->call->classes * size;
    fl_rows view[MATRICES];
    margin m;
    fl_tile t;
    m.correct = 0;
    for (int i = 0; i < FL_LANES; i++) {
        m.label[i] = all->label[l];
        memcpy(m.weight + i * size, all->weight + l * size, size);
    }
    for (int i = 0; i < MATRICES; i++)
        view[i] = row_of(job, i, row, room + i * row_bytes);
    const int status = run_tile(job, &t, &m, view, sum);
    for (int i = INPUTS; i < MATRICES; i++)
        row_back(job, i, row, room + i * row_bytes, view[i]);
    all->correct += m.correct;
    memcpy(all->value + l * size, m.value, size);
    memcpy(all->lse + l * size, m.lse, size);
    return status;
}

static int run_block(const void *job_of_rows, ptrdiff_t block, fl_room *room, fl_total *sum)
{
    row_job *job = (row_job *)job_of_rows;
    const fl_row_call *call = job->call;
    const ptrdiff_t start = block * job->per_block, rest = call->rows - start;
    const ptrdiff_t end = start + (rest < job->per_block ? rest : job->per_block);
    int status = 0;
    ptrdiff_t correct = 0;

    *sum = (fl_total){ 0, 0 };
    for (ptrdiff_t row = start; row < end; row += FL_LANES) {
        const ptrdiff_t n = end - row < FL_LANES ? end - row : FL_LANES;
        margin m;
        status |= read_margin(job, row, n, &m);
        for (ptrdiff_t l = 0; l < (job->across ? 1 : n); l++) {
            double x;
            status |= job->across ? run_across(job, row, n, room->blocks, &m, &x)
                                  : run_along(job, row + l, l, room->blocks, &m, &x);
            *sum = fl_total_add(*sum, (fl_total){ x, 0 });
        }
        write_margin(job, &call->value, row, n, m.value);
        write_margin(job, &call->lse, row, n, m.lse);
        correct += m.correct;
    }
    atomic_fetch_add_explicit(&job->correct, correct, memory_order_relaxed);
    return status;
}

/* ---- a call ------------------------------------------------------------------------------------ */

static void enter(const void *job_of_rows, int worker, fl_room *room)
{
    const row_job *job = job_of_rows;
    room->shared = 0;
    room->blocks = job->rooms + worker * job->room;
}

static void leave(fl_room *room) { (void)room; }

static void prepare(row_job *job, const fl_row_call *call)
{
    job->call = call;
    job->rows = (fl_shape){ call->shape.ndim - 1, call->shape.length };
    job->matrix[SCORES] = &call->scores;
    job->matrix[LABELS] = &call->labels;
    job->matrix[GRAD] = &call->grad;
    job->matrix[HESS] = &call->hess;
    for (int i = 0; i < MATRICES; i++)
        job->direct[i] =
            (i != LABELS || call->given) && job->matrix[i]->data && is_direct(call, job->matrix[i]);
    job->across = call->classes <= FEW_CLASSES;
    job->per_block = BLOCK / call->classes / FL_LANES * FL_LANES;
    if (job->per_block < 1)
        job->per_block = job->across ? FL_LANES : call->classes > BLOCK ? 1 : BLOCK / call->classes;
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
    ptrdiff_t workers = blocks < few ? 1 : fl_num_threads();
    workers = workers < FL_MAX_WORKERS ? workers : FL_MAX_WORKERS;
    const size_t lanes = job.across ? (MATRICES + 1) * FL_LANES : MATRICES;
    const size_t weights = call->given ? (size_t)call->classes * FL_LANES * call->real_bytes : 0;
    job.room = (lanes * call->classes * call->real_bytes + 63) / 64 * 64;
    char *memory = malloc(job.room * workers + weights + 128);
    if (!memory && workers > 1)
        memory = malloc(job.room * (workers = 1) + weights + 128);
    if (!memory)
        return FL_NO_MEMORY;
    job.rooms = memory + (64 - (uintptr_t)memory % 64);
    job.class_weight = call->given ? job.rooms + job.room * workers : NULL;
    fill_class_weight(&job);
    const fl_job work = { &job, blocks, few, (int)workers, enter, leave, run_block, call->interrupted };
    const int status = fl_run_job(&work, sum);
    free(memory);
    *correct = atomic_load(&job.correct);
    return status;
}

ptrdiff_t fl_first_bad_label(const fl_row_call *call)
{
    row_job job;
    prepare(&job, call);
    for (ptrdiff_t row = 0; row < call->rows; row += FL_LANES) {
        const ptrdiff_t rest = call->rows - row;
        margin m;
        if (!read_margin(&job, row, rest < FL_LANES ? rest : FL_LANES, &m))
            continue;
        while (!read_margin(&job, row, 1, &m))
            row++;
        return row;
    }
    return -1;
}
