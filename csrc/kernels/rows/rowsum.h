/* Losses of rows that are sums over the classes. Each term is a function of the class's label, its score and
 * the true class's score; one sweep computes value and derivatives. */
#ifndef FL_ROWSUM_H
#define FL_ROWSUM_H

#include "kernels/rows/top.h"

/* y is the label of the class, 0 or 1 where labels are class indices; `mine` is the true class's score. */
typedef vgh row_term(real y, real x, real mine, params c);
typedef int row_domain(real y, real x, params c);

/* The kinds of sums: which classes have a term, and what labels and scores are. */
enum {
    FL_ALL_CLASSES,   /* every class has a term */
    FL_OTHER_CLASSES, /* every class but the true one has a term; the sum is divided by the number of classes,
                         and the true class's derivative is minus the sum of the others' */
    FL_DISTRIBUTIONS, /* every class has a term; labels and scores of a row each add up to 1 */
};

#define FL_FAR_FROM_ONE R(0.05)

/* A strip while it is being swept. */
typedef struct {
    strip scores, labels, grad, hess, live; /* live: 1 where there is a class */
    real mine[FL_LANES], where[FL_LANES], factor[FL_LANES], ones[FL_LANES];
    int bad[FL_LANES];
    lane_sums total, pull, bend, score, label; /* the sums of the terms, of their first and second
                                                  derivatives, of the scores and of the labels */
} term_strip;

static FL_INLINE void fl_begin(const fl_tile *t, int kind, ptrdiff_t i, real scale, term_strip *s)
{
    const int others = kind == FL_OTHER_CLASSES;
    const real *weight = t->weight, share = others ? (real)t->classes : R(1);
    fl_open(t, t->scores, i, R(0), &s->scores);
    if (t->labels.data)
        fl_open(t, t->labels, i, R(0), &s->labels);
    if (t->grad.data)
        fl_open(t, t->grad, i, R(0), &s->grad);
    if (t->hess.data)
        fl_open(t, t->hess, i, R(0), &s->hess);
    s->live = fl_alive(&s->scores, s->ones);
    fl_clear(&s->total);
    if (others)
        fl_clear(&s->pull), fl_clear(&s->bend);
    if (kind == FL_DISTRIBUTIONS)
        fl_clear(&s->score), fl_clear(&s->label);
    fl_groups_of(t, t->label, i, s->where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        s->factor[l] = weight[fl_row(t, i, l)] * scale / share;
        s->bad[l] = 0;
    }
    for (int l = 0; l < FL_LANES; l++) {
        const int32_t k = t->label[fl_row(t, i, l)];
        s->mine[l] = k < 0 ? R(0) : *fl_cell(t, t->scores, fl_row(t, i, l), k);
    }
}

static FL_INLINE int fl_end(const fl_tile *t, int kind, ptrdiff_t i, term_strip *s)
{
    const int others = kind == FL_OTHER_CLASSES;
    const real *weight = t->weight;
    const ptrdiff_t first = fl_row(t, i, 0), left = t->rows - first, rows = t->across ? FL_LANES : 1;
    real *value = t->value;
    row_pairs total, pull, bend, score, label;
    int any = 0;

    if (t->grad.data)
        fl_flush(t, &s->grad);
    if (t->hess.data)
        fl_flush(t, &s->hess);
    fl_lane_total(t, i, &s->total, &total);
#pragma omp simd
    for (ptrdiff_t l = 0; l < rows; l++) {
        const real w = weight[first + l];
        const pair sum = FL_AT(total, first + l),
                   mean = others ? fl_quotient(sum, fl_exact((real)t->classes)) : sum;
        value[first + l] = w == R(0) ? R(0) : w * fl_rounded(mean);
    }
    for (int l = 0; l < FL_LANES; l++)
        any |= s->bad[l] & (weight[fl_row(t, i, l)] != R(0)) & (!t->across | (l < left));
    if (kind == FL_DISTRIBUTIONS) {
        fl_lane_total(t, i, &s->score, &score);
        fl_lane_total(t, i, &s->label, &label);
        for (ptrdiff_t row = first; row < first + rows; row++) {
            const int off = (fl_fabs(score.hi[row] - R(1)) > FL_FAR_FROM_ONE) |
                            (fl_fabs(label.hi[row] - R(1)) > FL_FAR_FROM_ONE);
            any |= off & (weight[row] != R(0)) & (row < t->rows);
        }
    }
    if (!others || !t->grad.data)
        return any;
    fl_lane_total(t, i, &s->pull, &pull);
    if (t->hess.data)
        fl_lane_total(t, i, &s->bend, &bend);
    for (ptrdiff_t l = 0; l < rows && l < left; l++) {
        const ptrdiff_t row = first + l;
        if (weight[row] == R(0) || t->label[row] < 0)
            continue;
        *fl_cell(t, t->grad, row, t->label[row]) = -s->factor[l] * fl_rounded(FL_AT(pull, row));
        if (t->hess.data)
            *fl_cell(t, t->hess, row, t->label[row]) = s->factor[l] * fl_rounded(FL_AT(bend, row));
    }
    return any;
}

/* The beginning and the end of a strip are compiled once for all losses. */
FL_SWEEP(fl_begin_strip, fl_begin(&of_kind, kind, i, scale, s), int kind, ptrdiff_t i, real scale,
         term_strip *s)
FL_SWEEP(fl_end_strip, *violated |= fl_end(&of_kind, kind, i, s), int kind, ptrdiff_t i, term_strip *s,
         int *violated)

static FL_INLINE void fl_strip_terms(row_term *f, row_domain *violated, int kind, int derivatives,
                                     const fl_tile *t, ptrdiff_t i, params c, real scale, int *any)
{
    const int given = t->labels.data != NULL, others = kind == FL_OTHER_CLASSES;
    term_strip s;
    FL_NAME(fl_begin_strip)(t, kind, i, scale, &s);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s.scores), *y = given ? FL_GROUP(s.labels) : x, *alive = FL_GROUP(s.live),
                   here = (real)g;
        real *to = derivatives ? FL_GROUP(s.grad) : NULL, *h = derivatives > 1 ? FL_GROUP(s.hess) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int own = s.where[l] == here, none = (alive[l] == R(0)) | (others & own);
            const real xi = x[l], yi = fl_choose(given, y[l], own ? R(1) : R(0)), factor = s.factor[l];
            const vgh term = f(yi, xi, s.mine[l], c);
            fl_lane_add(&s.total, l, fl_exact(none ? R(0) : term.value));
            s.bad[l] |= violated(yi, xi, c) & (alive[l] != R(0));
            if (kind == FL_DISTRIBUTIONS) {
                fl_lane_add(&s.score, l, fl_exact(xi));
                fl_lane_add(&s.label, l, fl_exact(yi));
            }
            if (derivatives) {
                to[l] = (none | (factor == R(0))) ? R(0) : factor * term.grad;
                if (others)
                    fl_lane_add(&s.pull, l, fl_exact(none ? R(0) : term.grad));
            }
            if (derivatives > 1) {
                h[l] = (none | (factor == R(0))) ? R(0) : factor * term.hess;
                if (others)
                    fl_lane_add(&s.bend, l, fl_exact(none ? R(0) : term.hess));
            }
        }
    }
    FL_NAME(fl_end_strip)(t, kind, i, &s, any);
}

static FL_INLINE int fl_terms(row_term *f, row_domain *violated, int kind, int derivatives, const fl_tile *t,
                              params c, real scale)
{
    int any = 0;
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_strip_terms(f, violated, kind, derivatives, t, i, c, scale, &any);
    return any;
}

static FL_INLINE int fl_sum_kind(row_term *f, row_domain *violated, int kind, const fl_tile *t)
{
    const double *k = t->constants;
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const real factor = (real)t->scale;
    /* two copies of every loss, for the two kinds of strips, would gain too little */
    const int any = t->hess.data   ? fl_terms(f, violated, kind, 2, t, c, factor)
                    : t->grad.data ? fl_terms(f, violated, kind, 1, t, c, factor)
                                   : fl_terms(f, violated, kind, 0, t, c, factor);
    *t->correct = 0;
    *t->sum = fl_row_sum(t);
    return any;
}

/* ---- distributions with class indices -------------------------------------------------------------- */

/* A label of 0 costs nothing, so that the true class alone has a term. The other scores are looked at: sums
 * of them, which need not be exact to tell whether they are near 1, and whether any is bad. */
typedef struct {
    real sum[FL_TILE_ROWS], bad[FL_TILE_ROWS];
} row_checks;

static FL_INLINE void fl_check_strip(row_domain *violated, int derivatives, const fl_tile *t, ptrdiff_t i,
                                     params c, row_checks *checks)
{
    strip s = fl_strip(t, t->scores, i, R(0)), grad = s, hess = s;
    real bad[FL_LANES], present[FL_LANES];
    double sum[FL_LANES];
    if (derivatives)
        grad = fl_strip(t, t->grad, i, R(0));
    if (derivatives > 1)
        hess = fl_strip(t, t->hess, i, R(0));
    fl_lanes_of(t, t->weight, i, present);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++)
        sum[l] = 0, bad[l] = R(0);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s);
        real *to = derivatives ? FL_GROUP(grad) : NULL, *h = derivatives > 1 ? FL_GROUP(hess) : NULL;
        fl_prefetch(t, &s, g, FL_AHEAD);
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real xi = x[l], zero = present[l] == R(0) ? R(0) : xi - xi; /* or NaN: xi is not finite */
            sum[l] += (double)xi;
            bad[l] = violated(R(0), xi, c) ? R(1) : bad[l];
            if (derivatives)
                to[l] = zero;
            if (derivatives > 1)
                h[l] = zero;
        }
    }
    if (derivatives)
        fl_flush(t, &grad);
    if (derivatives > 1)
        fl_flush(t, &hess);
    for (int width = FL_LANES / 2; width && !t->across; width /= 2)
        for (int l = 0; l < width; l++)
            sum[l] += sum[l + width], bad[l] += bad[l + width];
    for (int l = 0; l < (t->across ? FL_LANES : 1); l++)
        checks->sum[fl_row(t, i, l)] = (real)sum[l], checks->bad[fl_row(t, i, l)] = bad[l];
}

static FL_INLINE void fl_check_rows(row_domain *violated, const fl_tile *t, params c, row_checks *checks)
{
    for (ptrdiff_t row = t->rows; row < fl_padded(t); row++)
        checks->sum[row] = R(1), checks->bad[row] = R(0);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        if (t->hess.data)
            fl_check_strip(violated, 2, t, i, c, checks);
        else if (t->grad.data)
            fl_check_strip(violated, 1, t, i, c, checks);
        else
            fl_check_strip(violated, 0, t, i, c, checks);
}

static FL_INLINE void fl_true_class_derivatives(row_term *f, const fl_tile *t, const real *mine, params c)
{
    const real *weight = t->weight, scale = (real)t->scale;
    real grad[FL_TILE_ROWS], hess[FL_TILE_ROWS];
#pragma omp simd
    for (ptrdiff_t row = 0; row < fl_padded(t); row++) {
        const vgh term = f(R(1), mine[row], mine[row], c);
        grad[row] = weight[row] * scale * term.grad;
        hess[row] = weight[row] * scale * term.hess;
    }
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        if (weight[row] == R(0) || t->label[row] < 0)
            continue;
        *fl_cell(t, t->grad, row, t->label[row]) = grad[row];
        if (t->hess.data)
            *fl_cell(t, t->hess, row, t->label[row]) = hess[row];
    }
}

static FL_INLINE int fl_true_class_rows(row_term *f, row_domain *violated, const fl_tile *t)
{
    const double *k = t->constants;
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const real *weight = t->weight;
    real *value = t->value, mine[FL_TILE_ROWS];
    fl_tile of_kind = *t;
    row_checks checks;
    real wrong = R(0); /* how many rows; an integer would keep float64 from being vectorised */
    for (ptrdiff_t row = 0; row < fl_padded(t); row++)
        mine[row] = t->label[row] < 0 ? R(1) : *fl_cell(t, t->scores, row, t->label[row]);
    if (t->across) {
        of_kind.across = 1;
        fl_check_rows(violated, &of_kind, c, &checks);
    } else {
        of_kind.across = 0;
        fl_check_rows(violated, &of_kind, c, &checks);
    }
#pragma omp simd reduction(+ : wrong)
    for (ptrdiff_t row = 0; row < fl_padded(t); row++) {
        const real w = weight[row], sum = checks.sum[row];
        const vgh term = f(R(1), mine[row], mine[row], c);
        const int off = fl_fabs(sum - R(1)) > FL_FAR_FROM_ONE;
        value[row] = w == R(0) ? R(0) : sum == sum ? w * term.value : sum; /* another class's score is NaN */
        wrong += (w != R(0)) & (off | (checks.bad[row] > R(0))) ? R(1) : R(0);
    }
    if (t->grad.data)
        fl_true_class_derivatives(f, t, mine, c);
    *t->correct = 0;
    *t->sum = fl_row_sum(t);
    return wrong > R(0);
}

/* `labels` is what y_true may be, as the registry says. */
static FL_INLINE int fl_sum_rows(row_term *f, row_domain *violated, int kind, int labels, const fl_tile *t)
{
    if (kind == FL_DISTRIBUTIONS && labels != FL_LABELS_rows && !t->labels.data)
        return fl_true_class_rows(f, violated, t);
    return fl_sum_kind(f, violated, kind, t);
}

/* max(0, 1 + the largest score of the others - the true class's). Crammer & Singer (2001). */
static FL_INLINE int fl_rival_rows(const fl_tile *t)
{
    const real *weight = t->weight, scale = (real)t->scale;
    real *value = t->value;
    row_sums found;
    fl_tile of_kind = *t;
    fl_fill_up(t, &found);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        if (t->across) {
            of_kind.across = 1;
            fl_find(&of_kind, 1, i, &found);
        } else {
            of_kind.across = 0;
            fl_find(&of_kind, 1, i, &found);
        }
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        const pair gap = fl_plus(fl_sum(found.top[row], -found.mine[row]), fl_exact(R(1)));
        const real cost = fl_rounded(gap), active = cost > R(0) ? R(1) : cost <= R(0) ? R(0) : cost;
        const real step = weight[row] == R(0) ? R(0) : weight[row] * scale * active;
        value[row] = weight[row] == R(0) ? R(0) : weight[row] * (cost <= R(0) ? R(0) : cost);
        for (ptrdiff_t k = 0; t->grad.data && k < t->classes; k++)
            *fl_cell(t, t->grad, row, k) = R(0);
        for (ptrdiff_t k = 0; t->hess.data && k < t->classes; k++)
            *fl_cell(t, t->hess, row, k) = R(0);
        if (!t->grad.data)
            continue;
        if (found.best[row] >= 0)
            *fl_cell(t, t->grad, row, found.best[row]) = step;
        if (t->label[row] >= 0)
            *fl_cell(t, t->grad, row, t->label[row]) = -step;
    }
    *t->correct = 0;
    *t->sum = fl_row_sum(t);
    return 0;
}

#endif
