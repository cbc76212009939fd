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

/* A strip while it is swept. */
typedef struct {
    strip scores, labels, grad, hess, live; /* live: 1 where there is a class */
    real mine[FL_LANES], where[FL_LANES], factor[FL_LANES], ones[FL_LANES];
    int bad[FL_LANES];
    lane_sums total, pull, bend, score, label; /* of the terms, their derivatives, and the distributions */
} term_strip;

/* Beginning and end of a strip are compiled once for all losses. */
static __attribute__((noinline)) void FL_NAME(fl_begin_strip)(const fl_tile *t, int kind, ptrdiff_t i,
                                                              real scale, term_strip *s)
{
    memset(s, 0, sizeof *s);
    s->scores = fl_strip(t, t->scores, i, R(0));
    s->labels = t->labels.data ? fl_strip(t, t->labels, i, R(0)) : s->scores; /* not looked at unless given */
    if (t->grad.data)
        s->grad = fl_strip(t, t->grad, i, R(0));
    if (t->hess.data)
        s->hess = fl_strip(t, t->hess, i, R(0));
    fl_groups_of(t, t->label, i, s->where);
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        const int32_t k = row < t->rows ? t->label[row] : -1;
        s->mine[l] = k < 0 ? R(0) : *fl_cell(t, t->scores, row, k);
        s->factor[l] =
            ((const real *)t->weight)[row] * scale / (kind == FL_OTHER_CLASSES ? (real)t->classes : R(1));
        s->ones[l] = R(1);
        s->live.tail[l] = l < s->scores.n ? R(1) : R(0);
    }
    s->live.n = s->scores.n;
    s->live.data = s->ones; /* of group 0: all full groups are alike */
}

static __attribute__((noinline)) int FL_NAME(fl_end_strip)(const fl_tile *t, int kind, ptrdiff_t i,
                                                           term_strip *s)
{
    const int others = kind == FL_OTHER_CLASSES;
    const real *weight = t->weight;
    real *value = t->value;
    row_pairs total, pull, bend, score, label;
    int any = 0;

    if (t->grad.data)
        fl_flush(t, &s->grad);
    if (t->hess.data)
        fl_flush(t, &s->hess);
    for (int l = 0; l < FL_LANES; l++)
        any |= s->bad[l] & (weight[fl_row(t, i, l)] != R(0)) & (fl_row(t, i, l) < t->rows);
    fl_lane_total(t, i, &s->total, &total);
    fl_lane_total(t, i, &s->pull, &pull);
    fl_lane_total(t, i, &s->bend, &bend);
    fl_lane_total(t, i, &s->score, &score);
    fl_lane_total(t, i, &s->label, &label);
    for (int l = 0; l < (t->across ? FL_LANES : 1); l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        const int absent = weight[row] == R(0);
        const pair sum = FL_AT(total, row),
                   mean = others ? fl_quotient(sum, fl_exact((real)t->classes)) : sum;
        value[row] = absent ? R(0) : weight[row] * fl_rounded(mean);
        if (row >= t->rows || absent)
            continue;
        if (kind == FL_DISTRIBUTIONS)
            any |= fl_fabs(score.hi[row] - R(1)) > FL_FAR_FROM_ONE ||
                   fl_fabs(label.hi[row] - R(1)) > FL_FAR_FROM_ONE;
        if (others && t->grad.data && t->label[row] >= 0) {
            *fl_cell(t, t->grad, row, t->label[row]) = -s->factor[l] * fl_rounded(FL_AT(pull, row));
            if (t->hess.data)
                *fl_cell(t, t->hess, row, t->label[row]) = s->factor[l] * fl_rounded(FL_AT(bend, row));
        }
    }
    return any;
}

static FL_INLINE int fl_strip_terms(row_term *f, row_domain *violated, int kind, int derivatives,
                                    const fl_tile *t, ptrdiff_t i, params c, real scale)
{
    const int given = t->labels.data != NULL, others = kind == FL_OTHER_CLASSES;
    term_strip s;
    FL_NAME(fl_begin_strip)(t, kind, i, scale, &s);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s.scores), *y = FL_GROUP(s.labels), *alive = FL_GROUP(s.live),
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
    return FL_NAME(fl_end_strip)(t, kind, i, &s);
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
    /* the strips' kind is not worth two copies of every loss */
    const int any = t->hess.data   ? fl_terms(f, violated, kind, 2, t, c, factor)
                    : t->grad.data ? fl_terms(f, violated, kind, 1, t, c, factor)
                                   : fl_terms(f, violated, kind, 0, t, c, factor);
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
