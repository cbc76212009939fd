/* How a batch of sparse rows is copied, and how its losses and its gradient, in the columns of these rows
 * alone, are computed. */
#include "linear/sparse_batch.h"

#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum {
    LANES = 4, /* sums side by side: an addition to one need not wait for the last addition to another */
    AHEAD = 8, /* so many rows ahead of the one that is read are fetched */
};

/* Reads an index, int32 or int64. The compiler knows its size where this is inlined, as it knows that of
 * reals. */
static ALWAYS_INLINE ptrdiff_t index_at(int size, const void *x, ptrdiff_t i)
{
    return size == 4 ? (ptrdiff_t)((const int32_t *)x)[i] : (ptrdiff_t)((const int64_t *)x)[i];
}

static ptrdiff_t filled(ptrdiff_t n) { return (n + LANES - 1) / LANES * LANES; }

/* ---- memory ------------------------------------------------------------------------------------ */

ptrdiff_t fl_most_touched(const fl_steps_call *call, ptrdiff_t elements)
{
    return call->scores * (elements < call->model.columns ? elements : call->model.columns);
}

/* Sets where everything lies in `memory`, unless that is NULL; returns the bytes. */
static size_t lay_out(const fl_steps_call *call, fl_sparse_batch *b, ptrdiff_t most_rows, ptrdiff_t elements,
                      char *memory)
{
    const ptrdiff_t scores = call->scores, grads = fl_most_touched(call, elements) + scores + FL_LANES;
    const size_t vector_bytes = fl_whole_lines((size_t)(most_rows + FL_LANES) * call->model.real_bytes);
    size_t used = 0;
#define PLACE(what, bytes) (memory ? (what = (void *)(memory + used)) : NULL, used += fl_whole_lines(bytes))
    PLACE(b->vectors.labels, vector_bytes);
    PLACE(b->vectors.weights, vector_bytes);
    PLACE(b->vectors.scores, scores * vector_bytes);
    PLACE(b->vectors.grads, vector_bytes);
    PLACE(b->counts, most_rows * sizeof *b->counts);
    PLACE(b->ends, most_rows * sizeof *b->ends);
    PLACE(b->g, scores * most_rows * sizeof *b->g);
    PLACE(b->sizes, most_rows * sizeof *b->sizes);
    PLACE(b->columns, elements * sizeof *b->columns);
    PLACE(b->elements, elements * sizeof *b->elements);
    PLACE(b->touched, grads * sizeof *b->touched);
    PLACE(b->grads, grads * sizeof *b->grads);
    PLACE(b->sums, scores * call->model.columns * sizeof *b->sums);
#undef PLACE
    b->vectors.vector_bytes = vector_bytes;
    return used;
}

size_t fl_sparse_batch_bytes(const fl_steps_call *call, ptrdiff_t most_rows, ptrdiff_t elements)
{
    fl_sparse_batch none;
    return lay_out(call, &none, most_rows, elements, NULL);
}

void fl_lay_out_batch(const fl_steps_call *call, fl_sparse_batch *b, ptrdiff_t most_rows, ptrdiff_t elements,
                      char *memory)
{
    lay_out(call, b, most_rows, elements, memory);
    b->capacity = elements;
    b->most_rows = most_rows;
    if (call->row_kernel)
        b->vectors.grads = b->vectors.scores;
}

/* Where a row's elements are. end < start where the starts lead out of the matrix. */
typedef struct {
    ptrdiff_t start, end;
} span;

static ALWAYS_INLINE span span_of(const fl_linear_call *model, int index, ptrdiff_t row)
{
    const span s = { index_at(index, model->starts, row), index_at(index, model->starts, row + 1) };
    return s.start < 0 || s.start > s.end || s.end > model->stored ? (span){ 0, -1 } : s;
}

ptrdiff_t fl_most_elements(const fl_steps_call *call, ptrdiff_t most_rows)
{
    ptrdiff_t largest = 0;
    for (ptrdiff_t first = 0; first < call->rows; first += most_rows) {
        ptrdiff_t sum = 0;
        for (ptrdiff_t i = first; i < first + most_rows && i < call->rows; i++) {
            const span s = span_of(&call->model, call->model.index_bytes, fl_row_at(call, i));
            sum += filled(s.end - s.start);
        }
        largest = sum > largest ? sum : largest;
    }
    return largest;
}

/* ---- rows -------------------------------------------------------------------------------------- */

/* Rows lie anywhere in memory. So of a row that is read later the place where it begins is fetched, and of
 * one that is read soon its elements. */
static ALWAYS_INLINE void fetch(const fl_steps_call *call, int real, int index, ptrdiff_t i)
{
    const fl_linear_call *model = &call->model;
    if (i + 2 * AHEAD >= call->rows)
        return;
    const ptrdiff_t later = fl_row_at(call, i + 2 * AHEAD);
    const span soon = span_of(model, index, fl_row_at(call, i + AHEAD));
    __builtin_prefetch((const char *)model->starts + later * index, 0, 2);
    __builtin_prefetch(model->y.data + later * real, 0, 2);
    for (ptrdiff_t k = soon.start; k < soon.end; k += 64 / 8) { /* each line of doubles */
        __builtin_prefetch((const char *)model->indices + k * index, 0, 2);
        __builtin_prefetch(model->X.data + k * real, 0, 2);
    }
}

/* What is known of a row. */
typedef struct {
    double largest[LANES];  /* element, in magnitude */
    int32_t outside, falls; /* negative where a column is outside, or not above the one before */
    int32_t before;         /* the last column */
} row_facts;

/* LANES elements from k on; behind the last one, zeros in its column. */
static ALWAYS_INLINE void copy_group(const fl_linear_call *model, int real, int index, ptrdiff_t k,
                                     ptrdiff_t last, int32_t *restrict columns, double *restrict elements,
                                     row_facts *restrict row)
{
    const int whole = k + LANES - 1 <= last;
    const int32_t end = (int32_t)model->columns - 1;
#pragma GCC unroll 4
    for (int l = 0; l < LANES; l++) {
        const int is_there = whole || k + l <= last;
        const ptrdiff_t at = is_there ? k + l : last, j = index_at(index, model->indices, at);
        const double x = is_there ? fl_real_at(real, model->X.data, at) : 0;
        const int32_t column = j == (int32_t)j ? (int32_t)j : -1;
        columns[l] = column;
        elements[l] = x;
        row->outside |= column | (int32_t)((uint32_t)end - (uint32_t)column);
        row->falls |= is_there ? (int32_t)((uint32_t)column - (uint32_t)row->before - 1) : 0;
        row->before = column;
        row->largest[l] = fl_larger(fabs(x), row->largest[l]);
    }
}

static double sum_of_sizes(const double *x, ptrdiff_t n)
{
    double sum = 0;
    for (ptrdiff_t k = 0; k < n; k++)
        sum += fabs(x[k]);
    return sum;
}

/* Returns the number of elements, filled up, or -1 where the row leads out of the matrix. */
static ALWAYS_INLINE ptrdiff_t copy_row(const fl_linear_call *model, int real, int index, span s,
                                        ptrdiff_t capacity, int32_t *columns, double *x, double *size,
                                        int *distinct)
{
    const ptrdiff_t n = s.end - s.start, all = filled(n);
    row_facts row = { .before = -1 };
    ptrdiff_t k = 0;
    if (n < 0 || all > capacity)
        return -1;
    for (; k + LANES < n; k += LANES)
        copy_group(model, real, index, s.start + k, s.start + k + LANES - 1, columns + k, x + k, &row);
    if (n > 0)
        copy_group(model, real, index, s.start + k, s.end - 1, columns + k, x + k, &row);
    const double *of = row.largest;
    *distinct = row.falls >= 0;
    *size = row.falls < 0 ? sum_of_sizes(x, n) : fl_larger(fl_larger(of[0], of[1]), fl_larger(of[2], of[3]));
    return row.outside < 0 ? -1 : all;
}

static ALWAYS_INLINE int copy_rows(const fl_steps_call *call, fl_sparse_batch *b, int real, int index,
                                   ptrdiff_t first)
{
    ptrdiff_t used = 0;
    for (ptrdiff_t i = 0; i < b->n; i++) {
        const span s = span_of(&call->model, index, fl_row_at(call, first + i));
        const ptrdiff_t n = copy_row(&call->model, real, index, s, b->capacity - used, b->columns + used,
                                     b->elements + used, b->sizes + i, &b->distinct);
        if (n < 0)
            return 0;
        b->counts[i] = s.end - s.start;
        b->ends[i] = used += n;
        fetch(call, real, index, first + i);
    }
    return 1;
}

int fl_open_batch(const fl_steps_call *call, fl_sparse_batch *b, ptrdiff_t first, ptrdiff_t n)
{
    const fl_linear_call *model = &call->model;
    b->n = n;
    if (model->real_bytes == 4)
        return model->index_bytes == 4 ? copy_rows(call, b, 4, 4, first) : copy_rows(call, b, 4, 8, first);
    return model->index_bytes == 4 ? copy_rows(call, b, 8, 4, first) : copy_rows(call, b, 8, 8, first);
}

/* ---- losses ------------------------------------------------------------------------------------ */

static ALWAYS_INLINE double times(const int32_t *columns, const double *x, ptrdiff_t n, const double *v,
                                  int shared)
{
    double sums[LANES] = { 0 };
    for (ptrdiff_t k = 0; k < n; k += LANES)
#pragma GCC unroll 4 /* or the lanes go through memory */
        for (int l = 0; l < LANES; l++)
            sums[l] += x[k + l] * fl_get(shared, v + columns[k + l]);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

static ALWAYS_INLINE void score_rows(const fl_steps_call *call, const fl_sparse_batch *b, double scale,
                                     int shared)
{
    const ptrdiff_t columns = call->model.columns;
    for (ptrdiff_t s = 0; s < call->scores; s++) {
        const double *v = call->coef + s * columns, *intercept = call->coef + call->scores * columns + s;
        const double constant = fl_get(shared, intercept);
        for (ptrdiff_t i = 0, start = 0; i < b->n; start = b->ends[i++]) {
            const double sum = times(b->columns + start, b->elements + start, b->ends[i] - start, v, shared);
            fl_put_real(call->model.real_bytes, b->vectors.scores + s * b->vectors.vector_bytes, i,
                        scale * sum + constant);
        }
    }
}

int fl_score_batch(const fl_steps_call *call, const fl_sparse_batch *b, double scale, ptrdiff_t first,
                   double *loss)
{
    const int size = call->model.real_bytes;
    if (b->shared)
        score_rows(call, b, scale, 1);
    else
        score_rows(call, b, scale, 0);
    for (ptrdiff_t i = 0; i < b->n; i += FL_BLOCK) {
        const ptrdiff_t at = i * size, left = b->n - i;
        const fl_row_vectors some = { b->vectors.labels + at, b->vectors.weights + at, b->vectors.scores + at,
                                      b->vectors.grads + at, b->vectors.vector_bytes };
        const int status = fl_differentiate(call, &some, first + i, left < FL_BLOCK ? left : FL_BLOCK, loss);
        if (status)
            return status;
    }
    for (ptrdiff_t s = 0; s < call->scores; s++)
        for (ptrdiff_t i = 0; i < b->n; i++)
            b->g[s * b->most_rows + i] = fl_real_at(size, b->vectors.grads + s * b->vectors.vector_bytes, i);
    return 0;
}

/* ---- the gradient ------------------------------------------------------------------------------ */

static void add_rows(const fl_sparse_batch *b, const double *g, double *sums)
{
    const int32_t *columns = b->columns;
    const double *x = b->elements;
    for (ptrdiff_t i = 0, start = 0; i < b->n; start = b->ends[i++]) {
        const ptrdiff_t end = g[i] != 0 ? start + b->counts[i] : start; /* an infinity times 0 would be NaN */
        for (ptrdiff_t k = start; k < end; k++)
            sums[columns[k]] += g[i] * x[k];
    }
}

/* The gradient by the coefficients of one score, which begin at `from`. */
static ptrdiff_t multiply_row(const fl_sparse_batch *b, double g, ptrdiff_t from, ptrdiff_t *touched,
                              double *grads)
{
    const ptrdiff_t n = g != 0 ? b->counts[0] : 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        touched[k] = from + b->columns[k];
        grads[k] = g * b->elements[k];
    }
    return n;
}

static ptrdiff_t collect_sums(const fl_sparse_batch *b, const double *g, ptrdiff_t from, ptrdiff_t *touched,
                              double *grads)
{
    const ptrdiff_t all = b->ends[b->n - 1];
    double *sums = b->sums + from;
    ptrdiff_t found = 0;
    add_rows(b, g, sums);
    for (ptrdiff_t k = 0; k < all; k++) {
        const int32_t j = b->columns[k];
        const double sum = sums[j];
        touched[found] = from + j;
        grads[found] = sum;
        found += sum != 0;
        sums[j] = 0;
    }
    return found;
}

ptrdiff_t fl_collect_batch(const fl_steps_call *call, const fl_sparse_batch *b)
{
    ptrdiff_t found = 0;
    for (ptrdiff_t s = 0; s < call->scores; s++) {
        const double *g = b->g + s * b->most_rows;
        const ptrdiff_t from = s * call->model.columns;
        found += b->n == 1 && b->distinct ? multiply_row(b, *g, from, b->touched + found, b->grads + found)
                                          : collect_sums(b, g, from, b->touched + found, b->grads + found);
    }
    memset(b->grads + found, 0, (call->scores + FL_LANES) * sizeof *b->grads);
    return found;
}

static ALWAYS_INLINE void move_rows(const fl_sparse_batch *b, const double *gs, int shared, int averaged,
                                    fl_motion m)
{
    const int32_t *columns = b->columns;
    const double *x = b->elements, rate = m.rate / (double)b->n;
    for (ptrdiff_t i = 0, start = 0; i < b->n; start = b->ends[i++]) {
        const double g = gs[i];
        const ptrdiff_t end = g != 0 ? b->ends[i] : start;
        for (ptrdiff_t k = start; k < end; k++) {
            const double was = fl_get(shared, m.v + columns[k]), is = was - rate * (g * x[k]);
            fl_set(shared, m.v + columns[k], is);
            if (averaged)
                m.past[columns[k]] += m.mass * (is - was);
        }
    }
}

void fl_move_batch(const fl_steps_call *call, const fl_sparse_batch *b, fl_motion m)
{
    const double *g = b->g;
    for (ptrdiff_t s = 0; s < call->scores; s++, g += b->most_rows, m.v += call->model.columns) {
        if (b->shared) {
            move_rows(b, g, 1, 0, m);
        } else if (m.past) {
            move_rows(b, g, 0, 1, m);
            m.past += call->model.columns;
        } else {
            move_rows(b, g, 0, 0, m);
        }
    }
}

double fl_batch_total(const fl_sparse_batch *b, ptrdiff_t score)
{
    const double *g = b->g + score * b->most_rows;
    double sum = 0;
    for (ptrdiff_t i = 0; i < b->n; i++)
        sum += g[i];
    return sum;
}

double fl_batch_bound(const fl_steps_call *call, const fl_sparse_batch *b)
{
    double bound = 0;
    for (ptrdiff_t s = 0; s < call->scores; s++) {
        const double *g = b->g + s * b->most_rows;
        double sum = 0;
        for (ptrdiff_t i = 0; i < b->n; i++)
            sum += g[i] != 0 ? fabs(g[i]) * b->sizes[i] : 0; /* such a row may hold anything */
        bound = sum <= bound ? bound : sum;                  /* also where it is NaN */
    }
    return bound;
}
