/* Losses of rows that are sums over the classes, each term a function of its label, its score and the true
 * class's score: value and derivatives in one sweep. */
#ifndef FL_ROWSUM_H
#define FL_ROWSUM_H

#include "rowwise.h"

/* y is the label of the class, 0 or 1 for indices; `mine` the true class's score. */
typedef vgh row_term(real y, real x, real mine, params c);
typedef int row_domain(real y, real x, params c);

/* Which terms there are, and what they say of the labels. */
enum {
    FL_ALL_CLASSES,   /* a term of each class */
    FL_OTHER_CLASSES, /* of each but the true one, divided by the classes; what pulls them pushes the true one
                       */
    FL_DISTRIBUTIONS, /* of each class; rows of labels and scores add up to 1 */
};

#define FL_FAR_FROM_ONE R(0.05)

static FL_INLINE int fl_strip_terms(row_term *f, row_domain *violated, int kind, int derivatives,
                                    const fl_tile *t, ptrdiff_t i, params c, real scale)
{
    const int given = t->labels.data != NULL, others = kind == FL_OTHER_CLASSES;
    const real *weight = t->weight;
    real *value = t->value;
    strip s = fl_strip(t, t->scores, i, R(0)), grad = { 0 }, hess = { 0 }, live = { .n = s.n };
    strip label = given ? fl_strip(t, t->labels, i, R(0)) : s; /* not looked at unless given */
    real mine[FL_LANES], where[FL_LANES], factor[FL_LANES], ones[FL_LANES];
    int bad[FL_LANES] = { 0 };
    lane_sums total = { { 0 }, { 0 } }, pull = total, bend = total, scores = total, labels = total;
    row_pairs sum[5];

    if (derivatives)
        grad = fl_strip(t, t->grad, i, R(0));
    if (derivatives > 1)
        hess = fl_strip(t, t->hess, i, R(0));
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        const int32_t k = row < t->rows ? t->label[row] : -1;
        where[l] = fl_group_of(t, k, l);
        mine[l] = k < 0 ? R(0) : *fl_cell(t, t->scores, row, k);
        factor[l] = weight[row] * scale / (others ? (real)t->classes : R(1));
        ones[l] = R(1);
        live.tail[l] = l < s.n ? R(1) : R(0);
    }
    live.data = ones; /* of group 0: all full groups are alike */
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), *y = FL_GROUP(label), *alive = FL_GROUP(live), here = (real)g;
        real *to = derivatives ? FL_GROUP(grad) : NULL, *h = derivatives > 1 ? FL_GROUP(hess) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int own = where[l] == here, none = (alive[l] == R(0)) | (others & own);
            const real xi = x[l], yi = fl_choose(given, y[l], own ? R(1) : R(0));
            const vgh term = f(yi, xi, mine[l], c);
            fl_lane_add(&total, l, fl_exact(none ? R(0) : term.value));
            bad[l] |= violated(yi, xi, c) & (alive[l] != R(0));
            if (kind == FL_DISTRIBUTIONS) {
                fl_lane_add(&scores, l, fl_exact(xi));
                fl_lane_add(&labels, l, fl_exact(yi));
            }
            if (derivatives) {
                to[l] = (none | (factor[l] == R(0))) ? R(0) : factor[l] * term.grad;
                if (others)
                    fl_lane_add(&pull, l, fl_exact(none ? R(0) : term.grad));
            }
            if (derivatives > 1) {
                h[l] = (none | (factor[l] == R(0))) ? R(0) : factor[l] * term.hess;
                if (others)
                    fl_lane_add(&bend, l, fl_exact(none ? R(0) : term.hess));
            }
        }
    }
    if (derivatives)
        fl_flush(t, &grad);
    if (derivatives > 1)
        fl_flush(t, &hess);
    int any = 0;
    for (int l = 0; l < FL_LANES; l++)
        any |= bad[l] & (weight[fl_row(t, i, l)] != R(0)) & (fl_row(t, i, l) < t->rows);
    fl_lane_total(t, i, &total, &sum[0]);
    fl_lane_total(t, i, &pull, &sum[1]);
    fl_lane_total(t, i, &bend, &sum[2]);
    fl_lane_total(t, i, &scores, &sum[3]);
    fl_lane_total(t, i, &labels, &sum[4]);
    for (int l = 0; l < (t->across ? FL_LANES : 1); l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        const int absent = weight[row] == R(0);
        const pair mean =
            others ? fl_quotient(FL_AT(sum[0], row), fl_exact((real)t->classes)) : FL_AT(sum[0], row);
        value[row] = absent ? R(0) : weight[row] * fl_rounded(mean);
        if (row >= t->rows)
            continue;
        if (kind == FL_DISTRIBUTIONS && !absent)
            any |= fl_fabs(sum[3].hi[row] - R(1)) > FL_FAR_FROM_ONE ||
                   fl_fabs(sum[4].hi[row] - R(1)) > FL_FAR_FROM_ONE;
        if (others && derivatives && t->label[row] >= 0 && !absent) {
            *fl_cell(t, t->grad, row, t->label[row]) = -factor[l] * fl_rounded(FL_AT(sum[1], row));
            if (derivatives > 1)
                *fl_cell(t, t->hess, row, t->label[row]) = factor[l] * fl_rounded(FL_AT(sum[2], row));
        }
    }
    return any;
}

static FL_INLINE int fl_terms(row_term *f, row_domain *violated, int kind, int derivatives, const fl_tile *t,
                              params c, real scale)
{
    int any = 0;
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        any |= fl_strip_terms(f, violated, kind, derivatives, t, i, c, scale);
    return any;
}

static FL_INLINE int fl_sum_rows(row_term *f, row_domain *violated, int kind, const fl_tile *t,
                                 const double *k, double scale, double *sum)
{
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const real factor = (real)scale;
    fl_tile way = *t;
    int any;
    if (t->across) {
        way.across = 1;
        any = t->hess.data   ? fl_terms(f, violated, kind, 2, &way, c, factor)
              : t->grad.data ? fl_terms(f, violated, kind, 1, &way, c, factor)
                             : fl_terms(f, violated, kind, 0, &way, c, factor);
    } else {
        way.across = 0;
        any = t->hess.data   ? fl_terms(f, violated, kind, 2, &way, c, factor)
              : t->grad.data ? fl_terms(f, violated, kind, 1, &way, c, factor)
                             : fl_terms(f, violated, kind, 0, &way, c, factor);
    }
    *t->correct = 0;
    *sum = fl_row_sum(t);
    return any;
}

/* max(0, 1 + the largest score of the others - the true class's). Crammer & Singer (2001). */
static FL_INLINE int fl_rival_rows(const fl_tile *t, double scale, double *sum)
{
    const real *weight = t->weight;
    real *value = t->value;
    row_sums found;
    fl_tile way = *t;
    fl_fill_up(t, &found);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        if (t->across) {
            way.across = 1;
            fl_find(&way, 1, i, &found);
        } else {
            way.across = 0;
            fl_find(&way, 1, i, &found);
        }
    for (ptrdiff_t row = 0; row < t->rows; row++) {
        const pair gap = fl_plus(fl_sum(found.top[row], -found.mine[row]), fl_exact(R(1)));
        const real cost = fl_rounded(gap), active = cost > R(0) ? R(1) : cost <= R(0) ? R(0) : cost;
        const real step = weight[row] == R(0) ? R(0) : weight[row] * (real)scale * active;
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
    *sum = fl_row_sum(t);
    return 0;
}

#endif
