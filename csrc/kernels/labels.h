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

#include "kernels/softmax.h"

/* Sums over the classes of each row: of y, of y (top - s), and of (top - s) / FL_MAX_CLASSES, whose sum stays
 * within the range. */
typedef struct {
    row_pairs mass, cost, spread;
} label_sums;

/* inverse: 1 over the lifted S. miss: 1 - p of the top class. share: what p is multiplied by in the gradient.
 * part: share over the lifted S. base: the part of the label that is the same for all classes. square: 2
 * z_loss mass. */
typedef struct {
    row_pairs inverse, miss, share, part, base;
    real square[FL_TILE_ROWS];
} label_factors;

#define FL_LABEL(here, l) (given ? y[l] * w[l] : where[l] == here ? R(1) : R(0))

static FL_INLINE int fl_strip_labels(const fl_tile *t, int given, ptrdiff_t i, row_sums *sums,
                                     label_sums *labels)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    strip label = { 0 }, weight = { 0 };
    real top[FL_LANES], at[FL_LANES], where[FL_LANES], ones[FL_LANES];
    int bad[FL_LANES] = { 0 }, violated = 0;
    lane_sums rest = { { 0 }, { 0 } }, mass = rest, cost = rest, spread = rest;
    if (given) {
        label = fl_strip(t, t->labels, i, R(0));
        weight = fl_strip(t, t->class_weight, 0, R(0));
    }
    fl_lanes_of(t, sums->top, i, top);
    fl_groups_of(t, sums->best, i, at);
    fl_groups_of(t, t->label, i, where);
    strip live = fl_alive(&s, ones);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), *alive = FL_GROUP(live), here = (real)g;
        const real *y = given ? FL_GROUP(label) : NULL, *w = given ? FL_GROUP(weight) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int first = at[l] == here;
            const real due = FL_LABEL(here, l);
            const pair down = fl_select(first | (alive[l] == R(0)), fl_exact(R(0)), fl_sum(top[l], -x[l]));
            const pair gap = fl_select(down.hi < FL_INF, down, fl_exact(down.hi));
            const pair part = fl_select(down.hi < FL_INF, fl_scale(due, gap), fl_exact(fl_term(due, gap.hi)));
            fl_lane_add(&rest, l, fl_select(first, fl_exact(R(0)), fl_lifted_exp(x[l], top[l])));
            fl_lane_add(&mass, l, fl_exact(due));
            fl_lane_add(&cost, l, part);
            fl_lane_add(&spread, l, fl_pair(gap.hi / FL_MAX_CLASSES, gap.lo / FL_MAX_CLASSES));
            if (given)
                bad[l] |= !(y[l] >= R(0) && y[l] <= R(1));
        }
    }
    for (int l = 0; l < FL_LANES; l++)
        violated |= bad[l] & (((const real *)t->weight)[fl_row(t, i, l)] != R(0));
    fl_lane_total(t, i, &rest, &sums->rest);
    fl_lane_total(t, i, &mass, &labels->mass);
    fl_lane_total(t, i, &cost, &labels->cost);
    fl_lane_total(t, i, &spread, &labels->spread);
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
        FL_SET(out->inverse, i, inverse);
        const pair miss = fl_times(rest, inverse), lead = fl_choose_pair(c.b == R(0), mass, share);
        FL_SET(out->miss, i, miss);
        FL_SET(out->share, i, lead);
        FL_SET(out->part, i, fl_times(lead, inverse));
        FL_SET(out->base, i, base);
        out->square[i] = R(2) * c.b * mass.hi;
        const pair total = fl_plus(own, fl_plus(spread, fl_choose_pair(c.b == R(0), none, penalty)));
        value[i] = w == R(0) ? R(0) : w * fl_rounded(total);
    }
}

static FL_INLINE void fl_strip_label_derivatives(const fl_tile *t, int given, int bends, ptrdiff_t i,
                                                 const row_sums *sums, const label_factors *f, params c,
                                                 real scale)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    strip label = { 0 }, weight = { 0 }, grad = fl_strip(t, t->grad, i, R(0)), hess = { 0 };
    const pair keep = fl_sum(R(1), -c.a), one = fl_exact(R(1));
    real top[FL_LANES], at[FL_LANES], where[FL_LANES], factor[FL_LANES], square[FL_LANES];
    row_pairs lane[5];
    if (given) {
        label = fl_strip(t, t->labels, i, R(0));
        weight = fl_strip(t, t->class_weight, 0, R(0));
    }
    if (bends)
        hess = fl_strip(t, t->hess, i, R(0));
    fl_lanes_of(t, sums->top, i, top);
    fl_groups_of(t, sums->best, i, at);
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        factor[l] = ((const real *)t->weight)[row] * scale;
        square[l] = f->square[row];
        FL_SET(lane[0], l, FL_AT(f->inverse, row));
        FL_SET(lane[1], l, FL_AT(f->miss, row));
        FL_SET(lane[2], l, FL_AT(f->share, row));
        FL_SET(lane[3], l, FL_AT(f->base, row));
        FL_SET(lane[4], l, FL_AT(f->part, row));
    }
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
        const real *y = given ? FL_GROUP(label) : NULL, *w = given ? FL_GROUP(weight) : NULL;
        real *to = FL_GROUP(grad), *h = bends ? FL_GROUP(hess) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int first = at[l] == here;
            const pair inverse = FL_AT(lane[0], l), miss = FL_AT(lane[1], l), share = FL_AT(lane[2], l);
            const pair due = fl_plus(fl_scale(FL_LABEL(here, l), keep), FL_AT(lane[3], l));
            const pair lifted = fl_lifted_exp(x[l], top[l]), e = fl_times(lifted, inverse);
            const pair shared = fl_times(lifted, FL_AT(lane[4], l)); /* p times share */
            /* for the top class p = 1 - miss, and share - label is taken first, so that none of its digits
             * are lost */
            const pair moved = fl_select(first, fl_negative(fl_times(share, miss)), shared);
            const pair rest = fl_select(first, fl_plus(share, fl_negative(due)), fl_negative(due));
            const real slope = factor[l] * fl_rounded(fl_plus(moved, rest));
            if (bends) {
                const pair p = fl_select(first, fl_plus(one, fl_negative(miss)), e);
                const pair q = fl_select(first, miss, fl_plus(one, fl_negative(e)));
                const pair whole = fl_select(first, fl_times(share, p), shared);
                const pair bend = fl_plus(fl_times(whole, q), fl_scale(square[l], fl_times(p, p)));
                h[l] = factor[l] == R(0) ? R(0) : factor[l] * fl_rounded(bend);
            }
            to[l] = factor[l] == R(0) ? R(0) : slope;
        }
    }
    fl_flush(t, &grad);
    if (bends)
        fl_flush(t, &hess);
}

static FL_INLINE void fl_label_derivatives(const fl_tile *t, int given, int bends, const row_sums *sums,
                                           const label_factors *f, params c, real scale)
{
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_strip_label_derivatives(t, given, bends, i, sums, f, c, scale);
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
