/* Softmax cross-entropy where the label of a row is not a single class: smoothed labels and rows of
 * probabilities; and z_loss.
 *
 * The label of class k is (1 - smoothing) y_k + smoothing/K mass, where y_k is the given probability times
 * the class weight (or 1 for the true class of an index and 0 for the others), and mass = sum y_k. A
 * derivative is the difference of a probability and a label, which are therefore computed with some more
 * digits than the result has: where most of these cancel, the difference is right to half a unit in the last
 * place of p. */
#ifndef FL_LABELS_H
#define FL_LABELS_H

#include "kernels/rows/softmax.h"

/* Sums over the classes of each row: of y, of y (top - s), and of (top - s) / FL_MAX_CLASSES, whose sum stays
 * within the range; and the factor `back` of exponentials.h. */
typedef struct {
    row_pairs mass, cost, spread, back;
} label_sums;

/* miss: 1 - p of the top class. share: what p is multiplied by in the gradient. base: the part of the label
 * that is the same for all classes. square: 2 z_loss mass. from_inverse and part: p, and share times p, over
 * the exponential that exponentials.h makes of a score. */
typedef struct {
    row_pairs miss, share, base, from_inverse, part;
    real square[FL_TILE_ROWS];
} label_factors;

/* A finite pair, or inf without a low part. */
static FL_INLINE pair fl_finite_low(pair a) { return fl_select(a.hi < FL_INF, a, fl_exact(a.hi)); }

static FL_INLINE int fl_strip_labels(const fl_tile *t, int given, ptrdiff_t i, row_sums *sums,
                                     label_sums *labels)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF), label = s, weight = s;
    const lane_origins origins = fl_origins_of(t, sums->top, i);
    real top[FL_LANES], at[FL_LANES], ones[FL_LANES];
    int bad[FL_LANES] = { 0 }, violated = 0;
    lane_sums rest, mass, cost, spread;
    fl_clear(&rest), fl_clear(&mass), fl_clear(&cost), fl_clear(&spread);
    if (given) {
        label = fl_strip(t, t->labels, i, R(0));
        weight = fl_strip(t, t->class_weight, 0, R(0));
    }
    fl_lanes_of(t, sums->top, i, top);
    fl_groups_of(t, sums->best, i, at);
    strip live = fl_alive(&s, ones);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), *alive = FL_GROUP(live), here = (real)g;
        const real *y = given ? FL_GROUP(label) : NULL, *w = given ? FL_GROUP(weight) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int first = at[l] == here;
            const pair down = fl_select(first | (alive[l] == R(0)), fl_exact(R(0)), fl_sum(top[l], -x[l]));
            const pair gap = fl_finite_low(down);
            fl_lane_add(&rest, l, fl_select(first, fl_exact(R(0)), fl_exp_from(x[l], FL_ORIGIN(origins, l))));
            fl_lane_add(&spread, l, fl_pair(gap.hi / FL_MAX_CLASSES, gap.lo / FL_MAX_CLASSES));
            if (given) {
                const real due = y[l] * w[l];
                fl_lane_add(&mass, l, fl_exact(due));
                fl_lane_add(&cost, l,
                            fl_select(down.hi < FL_INF, fl_scale(due, gap), fl_exact(fl_term(due, gap.hi))));
                bad[l] |= !(y[l] >= R(0) && y[l] <= R(1));
            }
        }
    }
    for (int l = 0; l < FL_LANES; l++)
        violated |= bad[l] & (((const real *)t->weight)[fl_row(t, i, l)] != R(0));
    fl_lane_total(t, i, &rest, &sums->rest);
    fl_lane_total(t, i, &spread, &labels->spread);
    if (given) {
        fl_lane_total(t, i, &mass, &labels->mass);
        fl_lane_total(t, i, &cost, &labels->cost);
    }
    return violated;
}

static FL_INLINE void fl_sweep_labels(const fl_tile *t, int given, row_sums *sums, label_sums *labels,
                                      int *violated)
{
    memset(labels, 0, sizeof *labels);
    *violated = 0;
    fl_fill_up(t, sums);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++) {
        fl_find(t, 0, i, sums);
        *violated |= fl_strip_labels(t, given, i, sums, labels);
    }
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const pair back = fl_from_origin(sums->top[i]), none = fl_exact(R(0));
        FL_SET(sums->rest, i, fl_times(FL_AT(sums->rest, i), back));
        FL_SET(labels->back, i, back);
        if (!given) {
            const pair gap = fl_finite_low(fl_sum(sums->top[i], -sums->mine[i]));
            const int any = t->label[i] >= 0;
            FL_SET(labels->mass, i, fl_exact(any ? R(1) : R(0)));
            FL_SET(labels->cost, i, fl_select(any & !sums->hit[i], gap, none));
        }
    }
}

/* c.a = label_smoothing, c.b = z_loss. */
static FL_INLINE void fl_label_values(const fl_tile *t, const row_sums *sums, const label_sums *labels,
                                      params c, label_factors *out)
{
    const real *weight = t->weight;
    real *value = t->value;
    const pair keep = fl_sum(R(1), -c.a), even = fl_quotient(fl_exact(c.a), fl_exact((real)t->classes));
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const pair rest = FL_AT(sums->rest, i), mass = FL_AT(labels->mass, i), none = fl_exact(R(0));
        const pair log_sum = fl_log_of(fl_one_plus(fl_pair_lowered(rest))),
                   level = fl_plus(fl_exact(sums->top[i]), log_sum);
        const pair inverse = fl_inverse(fl_plus(fl_exact(FL_LIFTED_ONE), rest));
        const pair base = fl_times(even, mass);
        const pair even_cost = fl_scale(R(FL_MAX_CLASSES), fl_times(base, FL_AT(labels->spread, i)));
        const pair spread = fl_choose_pair(c.a == R(0), none, even_cost);
        const pair given = fl_choose_pair(c.a == R(1), none, fl_times(keep, FL_AT(labels->cost, i)));
        const pair own = fl_plus(fl_times(mass, log_sum), given);
        const pair penalty = fl_times(mass, fl_times(fl_scale(c.b, level), level));
        const pair share = fl_times(mass, fl_one_plus(fl_scale(R(2) * c.b, level)));
        const real w = weight[i];
        const pair miss = fl_times(rest, inverse), lead = fl_choose_pair(c.b == R(0), mass, share);
        FL_SET(out->miss, i, miss);
        FL_SET(out->share, i, lead);
        const pair from_inverse = fl_times(inverse, FL_AT(labels->back, i));
        FL_SET(out->from_inverse, i, from_inverse);
        FL_SET(out->part, i, fl_times(lead, from_inverse));
        FL_SET(out->base, i, base);
        out->square[i] = R(2) * c.b * mass.hi;
        const pair total = fl_plus(own, fl_plus(spread, fl_choose_pair(c.b == R(0), none, penalty)));
        value[i] = w == R(0) ? R(0) : w * fl_rounded(total);
    }
}

/* The derivatives by a score from p times share and the label; with `bends` also from p and 1 - p. */
static FL_INLINE real fl_label_slope(pair shared, pair due)
{
    return fl_rounded(fl_plus(shared, fl_negative(due)));
}

static FL_INLINE real fl_label_bend(pair shared, pair p, pair q, real square)
{
    return fl_rounded(fl_plus(fl_times(shared, q), fl_scale(square, fl_times(p, p))));
}

static FL_INLINE void fl_strip_label_derivatives(const fl_tile *t, int given, int bends, ptrdiff_t i,
                                                 const row_sums *sums, const label_factors *f, params c,
                                                 real scale)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF), label = s, weight = s;
    strip grad = fl_strip(t, t->grad, i, R(0)), hess = bends ? fl_strip(t, t->hess, i, R(0)) : grad;
    const pair keep = fl_sum(R(1), -c.a), one = fl_exact(R(1));
    const lane_origins origins = fl_origins_of(t, sums->top, i);
    real where[FL_LANES], factor[FL_LANES], square[FL_LANES];
    row_pairs inverse, part, base, mine; /* of each lane; mine: the label of the true class */
    if (given) {
        label = fl_strip(t, t->labels, i, R(0));
        weight = fl_strip(t, t->class_weight, 0, R(0));
    }
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        factor[l] = ((const real *)t->weight)[row] * scale;
        square[l] = f->square[row];
        FL_SET(inverse, l, FL_AT(f->from_inverse, row));
        FL_SET(part, l, FL_AT(f->part, row));
        FL_SET(base, l, FL_AT(f->base, row));
        FL_SET(mine, l, fl_plus(keep, FL_AT(f->base, row)));
    }
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
        const real *y = given ? FL_GROUP(label) : NULL, *w = given ? FL_GROUP(weight) : NULL;
        real *to = FL_GROUP(grad), *h = bends ? FL_GROUP(hess) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const pair e = fl_exp_from(x[l], FL_ORIGIN(origins, l)), shared = fl_times(e, FL_AT(part, l));
            const pair due = given ? fl_plus(fl_scale(y[l] * w[l], keep), FL_AT(base, l))
                                   : fl_select(where[l] == here, FL_AT(mine, l), FL_AT(base, l));
            if (bends) {
                const pair p = fl_times(e, FL_AT(inverse, l)), q = fl_plus(one, fl_negative(p));
                h[l] = factor[l] == R(0) ? R(0) : factor[l] * fl_label_bend(shared, p, q, square[l]);
            }
            to[l] = factor[l] == R(0) ? R(0) : factor[l] * fl_label_slope(shared, due);
        }
    }
    fl_flush(t, &grad);
    if (bends)
        fl_flush(t, &hess);
}

/* The label of each row's top class, and the weight of that class. */
typedef struct {
    real label[FL_TILE_ROWS], weight[FL_TILE_ROWS];
} top_labels;

static FL_INLINE top_labels fl_top_labels(const fl_tile *t, int given, const row_sums *sums)
{
    top_labels top;
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const int32_t best = i < t->rows ? sums->best[i] : -1, there = given && best >= 0;
        top.label[i] = there ? *fl_cell(t, t->labels, i, best) : sums->hit[i] ? R(1) : R(0);
        top.weight[i] = there ? *fl_cell(t, t->class_weight, 0, best) : R(1);
    }
    return top;
}

/* For the top class p = 1 - miss, and share - label is taken first, so that none of its digits are lost. */
static FL_INLINE void fl_label_tops(const fl_tile *t, int bends, const row_sums *sums, const label_factors *f,
                                    const top_labels *top, params c, real scale)
{
    const real *weight = t->weight;
    const pair keep = fl_sum(R(1), -c.a), one = fl_exact(R(1));
    real factor[FL_TILE_ROWS], grad[FL_TILE_ROWS], hess[FL_TILE_ROWS];
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        factor[i] = weight[i] * scale;
        const pair miss = FL_AT(f->miss, i), share = FL_AT(f->share, i), p = fl_plus(one, fl_negative(miss));
        const pair due = fl_plus(fl_scale(top->label[i] * top->weight[i], keep), FL_AT(f->base, i));
        grad[i] = factor[i] * fl_label_slope(fl_plus(share, fl_negative(due)), fl_times(share, miss));
        if (bends)
            hess[i] = factor[i] * fl_label_bend(fl_times(share, p), p, miss, f->square[i]);
    }
    for (ptrdiff_t row = 0; row < t->rows; row++)
        if (sums->best[row] >= 0 && factor[row] != R(0)) {
            *fl_cell(t, t->grad, row, sums->best[row]) = grad[row];
            if (bends)
                *fl_cell(t, t->hess, row, sums->best[row]) = hess[row];
        }
}

static FL_INLINE void fl_label_derivatives(const fl_tile *t, int given, int bends, const row_sums *sums,
                                           const label_factors *f, params c, real scale)
{
    const top_labels top =
        fl_top_labels(t, given, sums); /* before grad, which may be the labels, is written */
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_strip_label_derivatives(t, given, bends, i, sums, f, c, scale);
    fl_label_tops(t, bends, sums, f, &top, c, scale);
}

#define LABELS row_sums *sums, label_sums *labels, int *violated
#define FACTORS const row_sums *sums, const label_factors *f, params c, real scale
FL_SWEEP(fl_index_sums, fl_sweep_labels(&of_kind, 0, sums, labels, violated), LABELS)
FL_SWEEP(fl_given_sums, fl_sweep_labels(&of_kind, 1, sums, labels, violated), LABELS)
FL_SWEEP(fl_index_grad, fl_label_derivatives(&of_kind, 0, 0, sums, f, c, scale), FACTORS)
FL_SWEEP(fl_index_hess, fl_label_derivatives(&of_kind, 0, 1, sums, f, c, scale), FACTORS)
FL_SWEEP(fl_given_grad, fl_label_derivatives(&of_kind, 1, 0, sums, f, c, scale), FACTORS)
FL_SWEEP(fl_given_hess, fl_label_derivatives(&of_kind, 1, 1, sums, f, c, scale), FACTORS)
#undef LABELS
#undef FACTORS

static int FL_NAME(label_cross_entropy)(const fl_tile *t)
{
    const double *k = t->constants;
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const int given = t->labels.data != NULL;
    int violated;
    row_sums sums;
    label_sums labels;
    label_factors f;

    (given ? FL_NAME(fl_given_sums) : FL_NAME(fl_index_sums))(t, &sums, &labels, &violated);
    fl_label_values(t, &sums, &labels, c, &f);
    if (t->hess.data)
        (given ? FL_NAME(fl_given_hess) : FL_NAME(fl_index_hess))(t, &sums, &f, c, (real)t->scale);
    else if (t->grad.data)
        (given ? FL_NAME(fl_given_grad) : FL_NAME(fl_index_grad))(t, &sums, &f, c, (real)t->scale);
    *t->sum = fl_finish_rows(t, &sums);
    return violated;
}

#endif
