/* The scores of a linear model, and what comes back from their derivatives: X w + b and X'g, by blocks of
 * rows that are still in cache when they are read again. Compiled once per SIMD level and dtype; exports one
 * table. */
#include "api/matrix.h"
#include "kernels/lanes.h"

enum {
    FL_DOT_LANES =
        64 /
        sizeof(real), /* lanes of a dot product, the same at every SIMD level, so that all add in one order */
    FL_TOGETHER = 4,  /* rows that share the loads of coefficients and of sums */
};

static FL_INLINE void fl_fold(int half, real *lanes)
{
#pragma omp simd
    for (int l = 0; l < half; l++)
        lanes[l] += lanes[l + half];
}

static FL_INLINE real fl_dot_lanes(real *lanes)
{
    if (FL_DOT_LANES == 16)
        fl_fold(8, lanes);
    fl_fold(4, lanes);
    fl_fold(2, lanes);
    return lanes[0] + lanes[1];
}

/* ---- rows one after the other ---------------------------------------------------------------- */

/* Adds the products of the next n columns of a few rows. What lies behind a row is not read. */
static FL_INLINE void fl_add_products(int rows, const real *x, ptrdiff_t step, ptrdiff_t n, const real *coef,
                                      real lanes[][FL_DOT_LANES])
{
    for (int r = 0; r < rows; r++)
#pragma omp simd
        for (int l = 0; l < FL_DOT_LANES; l++) {
            const real a = l < n ? x[r * step + l] : R(0);
            lanes[r][l] = fl_fma(a, coef[l], lanes[r][l]);
        }
}

static FL_INLINE void fl_dots(int rows, const real *x, ptrdiff_t step, ptrdiff_t columns, const real *coef,
                              real intercept, ptrdiff_t ahead, real *scores)
{
    real lanes[FL_TOGETHER][FL_DOT_LANES] = { { 0 } };
    ptrdiff_t j = 0;
    for (; j + FL_DOT_LANES <= columns; j += FL_DOT_LANES) {
        for (int r = 1; r < rows; r++)
            __builtin_prefetch((const char *)(x + r * step + j) + ahead, 0, 2);
        fl_add_products(rows, x + j, step, FL_DOT_LANES, coef + j, lanes);
    }
    if (j < columns)
        fl_add_products(rows, x + j, step, columns - j, coef + j, lanes);
    for (int r = 0; r < rows; r++)
        scores[r] = fl_dot_lanes(lanes[r]) + intercept;
}

static FL_INLINE void fl_forward_rows(const fl_matrix *m, const real *coef, real intercept, real *scores)
{
    const real *x = m->data;
    ptrdiff_t i = 0;
    for (; i + FL_TOGETHER <= m->rows; i += FL_TOGETHER)
        fl_dots(FL_TOGETHER, x + i * m->step, m->step, m->columns, coef, intercept, m->ahead, scores + i);
    for (; i < m->rows; i++)
        fl_dots(1, x + i * m->step, m->step, m->columns, coef, intercept, m->ahead, scores + i);
}

/* Adds to columns j to j + n the sum of a few rows times their factors: in the working type, then in doubles.
 */
static FL_INLINE void fl_add_columns(int rows, const real *const *x, const real *g, ptrdiff_t j, ptrdiff_t n,
                                     double *sums)
{
#pragma omp simd
    for (int l = 0; l < FL_DOT_LANES; l++) {
        real s = l < n ? x[0][j + l] * g[0] : R(0);
        for (int r = 1; r < rows; r++)
            s = l < n ? fl_fma(x[r][j + l], g[r], s) : R(0);
        sums[j + l] += s;
    }
}

static FL_INLINE void fl_add_rows(int rows, const real *const *x, const real *g, ptrdiff_t columns,
                                  ptrdiff_t ahead, double *sums)
{
    ptrdiff_t j = 0;
    for (; j + FL_DOT_LANES <= columns; j += FL_DOT_LANES) {
        /* One row in FL_TOGETHER of the next block is fetched, which keeps memory busy, and this loop never
         * waits for it. */
        __builtin_prefetch((const char *)(x[0] + j) + ahead, 0, 2);
        fl_add_columns(rows, x, g, j, FL_DOT_LANES, sums);
    }
    if (j < columns)
        fl_add_columns(rows, x, g, j, columns - j, sums);
    double all = g[0];
    for (int r = 1; r < rows; r++)
        all += g[r];
    sums[columns] += all;
}

/* By what a row is multiplied in X'g: its gradient; or, with a direction, its second derivative times the
 * score of the direction. */
static FL_INLINE real fl_row_factor(const real *grad, const real *along, ptrdiff_t i)
{
    return along ? fl_term(grad[i], along[i]) : grad[i];
}

/* A row of factor 0 is left out, whatever it holds. */
static FL_INLINE void fl_backward_rows(const fl_matrix *m, const real *grad, const real *along, double *sums)
{
    const real *data = m->data, *x[FL_TOGETHER];
    real g[FL_TOGETHER];
    int found = 0;
    for (ptrdiff_t i = 0; i < m->rows; i++) {
        x[found] = data + i * m->step;
        g[found] = fl_row_factor(grad, along, i);
        found += g[found] != R(0);
        if (found == FL_TOGETHER) {
            fl_add_rows(FL_TOGETHER, x, g, m->columns, m->ahead, sums);
            found = 0;
        }
    }
    for (int r = 0; r < found; r++)
        fl_add_rows(1, x + r, g + r, m->columns, m->ahead, sums);
}

/* ---- columns one after the other ------------------------------------------------------------- */

/* Adds to the next n scores a few columns, times their coefficients. */
static FL_INLINE void fl_add_scaled(int columns, const real *x, ptrdiff_t step, ptrdiff_t n, const real *coef,
                                    real *scores)
{
#pragma omp simd
    for (int l = 0; l < FL_DOT_LANES; l++) {
        real s = scores[l];
        for (int c = 0; c < columns; c++)
            s = fl_fma(l < n ? x[c * step + l] : R(0), coef[c], s);
        scores[l] = s;
    }
}

static FL_INLINE void fl_score_columns(int columns, const real *x, ptrdiff_t step, ptrdiff_t rows,
                                       const real *coef, real *scores)
{
    ptrdiff_t i = 0;
    for (; i + FL_DOT_LANES <= rows; i += FL_DOT_LANES)
        fl_add_scaled(columns, x + i, step, FL_DOT_LANES, coef, scores + i);
    if (i < rows)
        fl_add_scaled(columns, x + i, step, rows - i, coef, scores + i);
}

static FL_INLINE void fl_forward_columns(const fl_matrix *m, const real *coef, real intercept, real *scores)
{
    const real *x = m->data;
    ptrdiff_t j = 0;
    for (ptrdiff_t i = 0; i < m->rows; i++)
        scores[i] = intercept;
    for (; j + FL_TOGETHER <= m->columns; j += FL_TOGETHER)
        fl_score_columns(FL_TOGETHER, x + j * m->step, m->step, m->rows, coef + j, scores);
    for (; j < m->columns; j++)
        fl_score_columns(1, x + j * m->step, m->step, m->rows, coef + j, scores);
}

/* Adds the products of the next n rows of a few columns with their factors. Where a factor is 0, whatever the
 * row holds counts for nothing. */
static FL_INLINE void fl_add_factors(int columns, const real *x, ptrdiff_t step, ptrdiff_t n,
                                     const real *grad, const real *along, real lanes[][FL_DOT_LANES])
{
    for (int c = 0; c < columns; c++)
#pragma omp simd
        for (int l = 0; l < FL_DOT_LANES; l++) {
            const real g = l < n ? fl_row_factor(grad, along, l) : R(0);
            const real a = g == R(0) ? R(0) : x[c * step + l];
            lanes[c][l] = fl_fma(a, g, lanes[c][l]);
        }
}

/* As with rows, a few products are added in the working type, and their sums in doubles. */
static FL_INLINE void fl_sum_columns(int columns, const real *x, ptrdiff_t step, ptrdiff_t rows,
                                     const real *grad, const real *along, double *sums)
{
    enum { FEW = 8 * FL_DOT_LANES };
    double total[FL_TOGETHER][FL_LANES] = { { 0 } };
    for (ptrdiff_t start = 0; start < rows; start += FEW) {
        const ptrdiff_t end = rows - start < FEW ? rows : start + FEW;
        real lanes[FL_TOGETHER][FL_DOT_LANES] = { { 0 } };
        ptrdiff_t i = start;
        for (; i + FL_DOT_LANES <= end; i += FL_DOT_LANES)
            fl_add_factors(columns, x + i, step, FL_DOT_LANES, grad + i, along ? along + i : NULL, lanes);
        if (i < end)
            fl_add_factors(columns, x + i, step, end - i, grad + i, along ? along + i : NULL, lanes);
        for (int c = 0; c < columns; c++)
            for (int l = 0; l < FL_DOT_LANES; l++)
                total[c][l] += lanes[c][l];
    }
    for (int c = 0; c < columns; c++)
        sums[c] += fl_add_lanes(total[c]);
}

static FL_INLINE void fl_all_columns(const fl_matrix *m, const real *grad, const real *along, double *sums)
{
    const real *x = m->data;
    ptrdiff_t j = 0;
    for (; j + FL_TOGETHER <= m->columns; j += FL_TOGETHER)
        fl_sum_columns(FL_TOGETHER, x + j * m->step, m->step, m->rows, grad, along, sums + j);
    for (; j < m->columns; j++)
        fl_sum_columns(1, x + j * m->step, m->step, m->rows, grad, along, sums + j);
    double all = 0;
    for (ptrdiff_t i = 0; i < m->rows; i++)
        all += fl_row_factor(grad, along, i);
    sums[m->columns] += all;
}

static FL_INLINE void fl_backward_columns(const fl_matrix *m, const real *grad, const real *along,
                                          double *sums)
{
    if (along)
        fl_all_columns(m, grad, along, sums);
    else
        fl_all_columns(m, grad, NULL, sums);
}

/* ---- compressed rows (CSR) ------------------------------------------------------------------- */

/* An index, int32 or int64, by its size. */
static FL_INLINE ptrdiff_t fl_index(int size, const void *indices, ptrdiff_t k)
{
    return size == 4 ? (ptrdiff_t)((const int32_t *)indices)[k] : (ptrdiff_t)((const int64_t *)indices)[k];
}

/* Scalar code: to gather elements into a vector takes as long as to load them one by one. */
static FL_INLINE void fl_score_sparse(int size, const fl_matrix *m, const real *coef, real intercept,
                                      real *scores)
{
    enum { LANES = 4 };
    const real *x = m->data;
    const void *indices = m->indices;
    for (ptrdiff_t i = 0; i < m->rows; i++) {
        const ptrdiff_t end = fl_index(size, m->starts, i + 1);
        ptrdiff_t k = fl_index(size, m->starts, i);
        real lanes[LANES] = { 0 };
        for (; k + LANES <= end; k += LANES)
            for (int l = 0; l < LANES; l++)
                lanes[l] = fl_fma(x[k + l], coef[fl_index(size, indices, k + l)], lanes[l]);
        for (; k < end; k++)
            lanes[0] = fl_fma(x[k], coef[fl_index(size, indices, k)], lanes[0]);
        scores[i] = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + intercept;
    }
}

static FL_INLINE void fl_fetch(const void *from, ptrdiff_t bytes)
{
    for (ptrdiff_t line = 0; line < bytes; line += 64)
        __builtin_prefetch((const char *)from + line, 0, 2);
}

/* One element after the other: a row may name a column twice. */
static FL_INLINE void fl_add_sparse(int size, const fl_matrix *m, const real *grad, const real *along,
                                    double *sums)
{
    const real *x = m->data;
    const char *indices = m->indices;
    const ptrdiff_t ahead = fl_index(size, m->starts, m->rows) - fl_index(size, m->starts, 0);
    for (ptrdiff_t i = 0; i < m->rows; i++) {
        const real g = fl_row_factor(grad, along, i);
        const ptrdiff_t start = fl_index(size, m->starts, i), end = fl_index(size, m->starts, i + 1);
        fl_fetch(x + start + ahead, (end - start) * (ptrdiff_t)sizeof(real)); /* of the next block */
        fl_fetch(indices + (start + ahead) * size, (end - start) * size);
        if (g == R(0))
            continue;
        for (ptrdiff_t k = start; k < end; k++)
            sums[fl_index(size, indices, k)] += x[k] * g;
        sums[m->columns] += g;
    }
}

static FL_INLINE void fl_forward_sparse(const fl_matrix *m, const real *coef, real intercept, real *scores)
{
    if (m->index_bytes == 4)
        fl_score_sparse(4, m, coef, intercept, scores);
    else
        fl_score_sparse(8, m, coef, intercept, scores);
}

static FL_INLINE void fl_backward_sparse(const fl_matrix *m, const real *grad, const real *along,
                                         double *sums)
{
    if (m->index_bytes == 4)
        fl_add_sparse(4, m, grad, along, sums);
    else
        fl_add_sparse(8, m, grad, along, sums);
}

/* ---- the table --------------------------------------------------------------------------------- */

#define FL_LAYOUTS(X) X(rows) X(columns) X(sparse)
#define LINEAR(layout)                                                                                  \
    static void FL_NAME(forward_##layout)(const fl_matrix *x, const void *coef, double b, void *scores) \
    {                                                                                                   \
        fl_forward_##layout(x, coef, (real)b, scores);                                                  \
    }                                                                                                   \
    static void FL_NAME(backward_##layout)(const fl_matrix *x, const void *grad, const void *along,     \
                                           double *sums)                                                \
    {                                                                                                   \
        fl_backward_##layout(x, grad, along, sums);                                                     \
    }
FL_LAYOUTS(LINEAR)

#define FORWARD(layout) [FL_LAYOUT_##layout] = FL_NAME(forward_##layout),
#define BACKWARD(layout) [FL_LAYOUT_##layout] = FL_NAME(backward_##layout),
const fl_linear_table FL_NAME(fl_linear_table) = {
    .forward = { FL_LAYOUTS(FORWARD) },
    .backward = { FL_LAYOUTS(BACKWARD) },
};
