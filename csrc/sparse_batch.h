/* A batch of sparse rows: their losses, and the gradient, which has the columns of these rows alone. `real`
 * and `index` are the sizes of an element and an index, known where the functions are inlined. */
#ifndef FL_SPARSE_BATCH_H
#define FL_SPARSE_BATCH_H

#include "fastloss.h"
#include "linear.h"

#include <stdint.h>
#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum {
    DOT_LANES = 4,
    AHEAD = 4, /* rows, that are fetched before they are read */
};

/* What there is one of per row of a batch: padded to whole groups of lanes. */
typedef enum { LABELS, WEIGHTS, SCORES, GRADS, MARGINS } margin;

typedef struct {
    char *margins[MARGINS];
    double *sums;       /* zeros, one per column */
    ptrdiff_t *columns; /* that the gradient has */
    double *grads;      /* there, and last that of the intercept; and zeros up to whole groups of lanes */
    int rises;          /* the last row's columns */
} sparse_room;

/* Threads may read and write the same number at once. Where there is one thread, these are plain. */
static ALWAYS_INLINE double get(const double *x)
{
    double value;
    __atomic_load(x, &value, __ATOMIC_RELAXED);
    return value;
}

static ALWAYS_INLINE void set(double *x, double value) { __atomic_store(x, &value, __ATOMIC_RELAXED); }

/* Arrays of float or double, int32 or int64, by the size of an element. */
static ALWAYS_INLINE double real_at(int size, const void *x, ptrdiff_t i)
{
    return size == 4 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static ALWAYS_INLINE void put_real(int size, void *x, ptrdiff_t i, double value)
{
    if (size == 4)
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

static ALWAYS_INLINE ptrdiff_t index_at(int size, const void *x, ptrdiff_t i)
{
    return size == 4 ? (ptrdiff_t)((const int32_t *)x)[i] : (ptrdiff_t)((const int64_t *)x)[i];
}

static ptrdiff_t row_at(const fl_steps_call *call, ptrdiff_t i) { return call->order ? call->order[i] : i; }

/* Where a row's elements are; none where its starts are wrong. */
typedef struct {
    ptrdiff_t start, end;
} span;

static ALWAYS_INLINE span span_of(const fl_linear_call *model, int index, ptrdiff_t row)
{
    const span s = { index_at(index, model->starts, row), index_at(index, model->starts, row + 1) };
    return s.start < 0 || s.start > s.end || s.end > model->stored ? (span){ 0, 0 } : s;
}

/* Rows lie anywhere: what is about one that comes later, and what it holds, where it comes soon. */
static ALWAYS_INLINE void fetch(const fl_steps_call *call, int real, int index, ptrdiff_t i)
{
    const fl_linear_call *model = &call->model;
    if (i + 2 * AHEAD >= call->rows)
        return;
    const ptrdiff_t later = row_at(call, i + 2 * AHEAD);
    const span soon = span_of(model, index, row_at(call, i + AHEAD));
    __builtin_prefetch((const char *)model->starts + later * index, 0, 2);
    __builtin_prefetch(model->y.data + later * real, 0, 2);
    for (ptrdiff_t k = soon.start; k < soon.end; k += 64 / index)
        __builtin_prefetch((const char *)model->indices + k * index, 0, 2);
    for (ptrdiff_t k = soon.start; k < soon.end; k += 64 / real)
        __builtin_prefetch(model->X.data + k * real, 0, 2);
}

/* Whether the row names columns that there are, in rising order: none twice. */
static ALWAYS_INLINE int rises(const fl_linear_call *model, int index, ptrdiff_t row)
{
    const span s = span_of(model, index, row);
    int falls = 0;
    if (s.start == s.end || index_at(index, model->indices, s.start) < 0 ||
        index_at(index, model->indices, s.end - 1) >= model->columns)
        return 0;
    for (ptrdiff_t k = s.start + 1; k < s.end; k++)
        falls |= index_at(index, model->indices, k - 1) >= index_at(index, model->indices, k);
    return !falls;
}

static ALWAYS_INLINE double score(const fl_linear_call *model, int real, int index, span s, const double *v)
{
    ptrdiff_t k = s.start;
    double lanes[DOT_LANES] = { 0 };
    for (; k + DOT_LANES <= s.end; k += DOT_LANES)
#pragma GCC unroll 4 /* or the sums go through memory */
        for (int l = 0; l < DOT_LANES; l++)
            lanes[l] += real_at(real, model->X.data, k + l) * get(v + index_at(index, model->indices, k + l));
    for (; k < s.end; k++)
        lanes[0] += real_at(real, model->X.data, k) * get(v + index_at(index, model->indices, k));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* Whether n rows from `first` on are inside of the matrix; those that come next are fetched. */
static ALWAYS_INLINE int open_rows(const fl_steps_call *call, sparse_room *room, int real, int index,
                                   ptrdiff_t first, ptrdiff_t n)
{
    for (ptrdiff_t i = first; i < first + n; i++) {
        const ptrdiff_t row = row_at(call, i);
        room->rises = rises(&call->model, index, row);
        if (!room->rises && !fl_rows_are_inside(&call->model, row, 1))
            return 0;
        fetch(call, real, index, i);
    }
    return 1;
}

/* Their losses, at the coefficients scale * v, and the derivatives. Returns
 * whether the domain is left. */
static ALWAYS_INLINE int score_rows(const fl_steps_call *call, const sparse_room *room, double scale,
                                    int real, int index, ptrdiff_t first, ptrdiff_t n, double *loss)
{
    const fl_linear_call *model = &call->model;
    const ptrdiff_t padded = (n + FL_LANES - 1) / FL_LANES * FL_LANES;
    const double *v = call->coef, intercept = get(v + model->columns);
    char *const *margins = room->margins;
    for (ptrdiff_t i = 0; i < n; i++) {
        const ptrdiff_t row = row_at(call, first + i);
        const double sum = score(model, real, index, span_of(model, index, row), v);
        put_real(real, margins[SCORES], i, scale * sum + intercept);
        put_real(real, margins[LABELS], i, real_at(real, model->y.data, row));
        put_real(real, margins[WEIGHTS], i, model->weight.data ? real_at(real, model->weight.data, row) : 1);
    }
    for (ptrdiff_t i = n; i < padded; i++) {
        put_real(real, margins[SCORES], i, 0);
        put_real(real, margins[LABELS], i, real_at(real, margins[LABELS], n - 1));
        put_real(real, margins[WEIGHTS], i, 0);
    }
    for (ptrdiff_t i = 0; i < padded; i += FL_BLOCK) {
        const void *in[FL_INPUTS] = { margins[LABELS] + i * real, margins[SCORES] + i * real,
                                      margins[WEIGHTS] + i * real };
        void *out[FL_OUTPUTS] = { margins[GRADS] + i * real, NULL };
        double sum;
        if (model->kernel(padded - i < FL_BLOCK ? padded - i : FL_BLOCK, in, FL_LANES, 0, out,
                          model->constants, 1, &sum))
            return 1;
        *loss += sum;
    }
    return 0;
}

/* The columns where X'g is not 0, and what it is there. Returns their number; behind them there is the sum
 * of g. */
static ALWAYS_INLINE ptrdiff_t add_rows(const fl_steps_call *call, const sparse_room *room, int real,
                                        int index, ptrdiff_t first, ptrdiff_t n)
{
    const fl_linear_call *model = &call->model;
    const int alone = n == 1 && room->rises; /* no sums are needed */
    double all = 0;
    ptrdiff_t found = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const span at = span_of(model, index, row_at(call, first + i));
        const double g = real_at(real, room->margins[GRADS], i);
        all += g;
        if (alone)
            for (; found < at.end - at.start && g != 0; found++) {
                room->columns[found] = index_at(index, model->indices, at.start + found);
                room->grads[found] = g * real_at(real, model->X.data, at.start + found);
            }
        else
            for (ptrdiff_t k = at.start; k < at.end && g != 0; k++)
                room->sums[index_at(index, model->indices, k)] += g * real_at(real, model->X.data, k);
    }
    for (ptrdiff_t i = 0; i < n && !alone; i++) {
        const span at = span_of(model, index, row_at(call, first + i));
        for (ptrdiff_t k = at.start; k < at.end; k++) {
            const ptrdiff_t j = index_at(index, model->indices, k);
            room->columns[found] = j;
            room->grads[found] = room->sums[j];
            found += room->sums[j] != 0;
            room->sums[j] = 0;
        }
    }
    memset(room->grads + found, 0, FL_LANES * sizeof(double));
    room->grads[found] = call->fit_intercept ? all : 0;
    return found;
}

#endif
