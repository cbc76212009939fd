/* THE row kernels: rows of scores, and of each the softmax. What they know of a loss is one function of the
 * true class's probability; the sweeps over the classes are the same for all.
 *
 * A tile is groups of FL_LANES scores. `across`: lane l of each group is row l, group g is class g; so few
 * classes fill the vectors, too. Otherwise a tile is a single row, class k in lane k % FL_LANES of group
 * k / FL_LANES. The two differ in whether the lanes are brought together, and in nothing else.
 *
 * The largest score, `top`, is left out of the sum of exponentials, S = 1 + rest: nothing cancels in 1 - p
 * where p is close to 1. Exponentials are lifted by 2^FL_LIFT, so that none is subnormal. */
#ifndef FL_ROWWISE_H
#define FL_ROWWISE_H

#include "../fastloss.h"
#include "vecmath.h"

#include <string.h>

/* The true class: its cost -log p, p and q = 1 - p. */
typedef struct {
    pair cost, p, q;
} true_class;

/* A loss f(cost): its value, q times its first and q^2 times its second derivative. The q are in there
 * because a power of q may be infinite without them. */
typedef struct {
    pair value, pull, bend;
} link;

typedef link link_function(true_class z, params c);

typedef struct {
    real hi[FL_LANES], lo[FL_LANES];
} lane_pairs;

#define FL_AT(pairs, l) fl_pair((pairs).hi[l], (pairs).lo[l])
#define FL_SET(pairs, l, x) (pairs).hi[l] = (x).hi, (pairs).lo[l] = (x).lo

/* What the sweeps find, by lane; the same in all lanes where the tile is a single row. Groups are counted in
 * `real`, exact up to 2^24 of them. */
typedef struct {
    real top[FL_LANES], at[FL_LANES];     /* the first of the largest scores, and its group; -1: none */
    real mine[FL_LANES], where[FL_LANES]; /* the true class's */
    int hit[FL_LANES];                    /* the true class is the top */
    lane_pairs rest;                      /* the sum of the others' exponentials, lifted */
} lanes;

/* A sum by lane over the groups, to some twice the precision. */
typedef struct {
    double sum[FL_LANES], low[FL_LANES]; /* low: float64 alone */
} lane_sums;

static FL_INLINE void fl_lane_add(lane_sums *s, int l, pair x)
{
#if FL_BITS == 32
    s->sum[l] += (double)x.hi + (double)x.lo;
#else
    const double sum = s->sum[l] + x.hi;
    s->low[l] += fl_sum_error(s->sum[l], x.hi, sum) + x.lo;
    s->sum[l] = sum;
#endif
}

/* Of each lane, or of all lanes together in each. */
static FL_INLINE void fl_lane_total(const fl_tile *t, lane_sums *s, lane_pairs *out)
{
    for (int width = FL_LANES / 2; width && !t->across; width /= 2)
        for (int l = 0; l < width; l++) {
            const double a = s->sum[l], b = s->sum[l + width], sum = a + b;
#if FL_BITS == 64
            s->low[l] += s->low[l + width] + fl_sum_error(a, b, sum);
#endif
            s->sum[l] = sum;
        }
    for (int l = 0; l < FL_LANES; l++) {
        const int from = t->across ? l : 0;
#if FL_BITS == 32
        const real hi = (real)s->sum[from];
        const pair total = fl_pair(hi, hi < FL_INF ? (real)(s->sum[from] - (double)hi) : R(0));
#else
        const pair total = fl_fast_sum(s->sum[from], s->low[from]);
#endif
        FL_SET(*out, l, total);
    }
}

/* ---- groups ------------------------------------------------------------------------------------ */

static FL_INLINE ptrdiff_t fl_groups(const fl_tile *t)
{
    return t->across ? t->classes : (t->classes + FL_LANES - 1) / FL_LANES;
}

/* How many lanes of a row's last group are classes. */
static FL_INLINE ptrdiff_t fl_partial(const fl_tile *t) { return t->across ? 0 : t->classes % FL_LANES; }

/* The last group of a row, filled up. */
static FL_INLINE void fl_tail(const fl_tile *t, const void *row, real filler, real *tail)
{
    const ptrdiff_t n = fl_partial(t);
    for (ptrdiff_t l = 0; l < FL_LANES; l++)
        tail[l] = l < n ? ((const real *)row)[t->classes - n + l] : filler;
}

static FL_INLINE void fl_untail(const fl_tile *t, void *row, const real *tail)
{
    const ptrdiff_t n = fl_partial(t);
    for (ptrdiff_t l = 0; l < n; l++)
        ((real *)row)[t->classes - n + l] = tail[l];
}

/* A group of the row where it lies, or the tail in place of the last one. */
#define FL_GROUP(rows, real, tail) (g == partial_group ? (tail) : (real *)(t->rows.data) + g * t->rows.stride)
#define FL_EACH_GROUP \
    for (ptrdiff_t g = 0, partial_group = fl_partial(t) ? fl_groups(t) - 1 : -1; g < fl_groups(t); g++)

/* ---- the first sweep: the largest score, and the true class's ------------------------------------- */

static void FL_NAME(fl_find)(const fl_tile *t, const real *tail, lanes *found)
{
    real top[FL_LANES], at[FL_LANES], mine[FL_LANES], where[FL_LANES];

    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t label = t->label[l];
        where[l] = t->across                             ? (real)label
                   : label >= 0 && label % FL_LANES == l ? (real)(label / FL_LANES)
                                                         : R(-1);
        top[l] = -FL_INF;
        at[l] = R(-1);
        mine[l] = FL_NAN;
    }
    FL_EACH_GROUP
    {
        const real *s = FL_GROUP(scores, const real, tail), here = (real)g;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int higher = s[l] > top[l];
            top[l] = higher ? s[l] : top[l];
            at[l] = higher ? here : at[l];
            mine[l] = where[l] == here ? s[l] : mine[l];
        }
    }
    if (!t->across) {
        int best = 0;
        for (int l = 1; l < FL_LANES; l++)
            if (top[l] > top[best] || (top[l] == top[best] && at[l] < at[best]))
                best = l;
        const real highest = top[best];
        const ptrdiff_t label = t->label[0];
        const real own = label >= 0 ? mine[label % FL_LANES] : FL_NAN;
        for (int l = 0; l < FL_LANES; l++) {
            at[l] = l == best ? at[l] : R(-1);
            top[l] = highest;
            mine[l] = own;
        }
        const int hit = label >= 0 && label % FL_LANES == best && where[best] == at[best];
        for (int l = 0; l < FL_LANES; l++)
            found->hit[l] = hit;
    } else {
        for (int l = 0; l < FL_LANES; l++)
            found->hit[l] = where[l] >= R(0) && where[l] == at[l];
    }
    memcpy(found->top, top, sizeof top);
    memcpy(found->at, at, sizeof at);
    memcpy(found->mine, mine, sizeof mine);
    memcpy(found->where, where, sizeof where);
}

/* ---- the second sweep: the sum of the exponentials ------------------------------------------------- */

/* 2^FL_LIFT e^(s - top) */
static FL_INLINE pair fl_lifted_exp(real s, real top)
{
    const real down = top - s;
    return fl_exp_minus_parts(down, fl_sum_error(top, -s, down)).lifted;
}

/* Leaves the rounded exponentials in `grad`, if `store`; the top's is left out there as in the sum. */
static FL_INLINE void fl_exponentials(const fl_tile *t, const real *tail, int store, real *grad_tail,
                                      lanes *found)
{
    real top[FL_LANES], at[FL_LANES];
    lane_sums rest = { { 0 }, { 0 } };
    memcpy(top, found->top, sizeof top);
    memcpy(at, found->at, sizeof at);
    FL_EACH_GROUP
    {
        const real *s = FL_GROUP(scores, const real, tail), here = (real)g;
        real *e = store ? FL_GROUP(grad, real, grad_tail) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real x = at[l] == here ? R(0) : fl_lifted_exp(s[l], top[l]).hi;
            fl_lane_add(&rest, l, fl_exact(x));
            if (store)
                e[l] = x;
        }
    }
    fl_lane_total(t, &rest, &found->rest);
}

/* ---- between the sweeps: what a row costs --------------------------------------------------------- */

#define FL_LIFTED_ONE fl_from_bits((bits)(FL_BIAS + FL_LIFT) << FL_MANTISSA)

static FL_INLINE pair fl_pair_lowered(pair a) { return fl_pair(fl_lowered(a.hi), fl_lowered(a.lo)); }

/* log(1 + rest), rest lifted. */
static FL_INLINE pair fl_log_of_sum(pair rest)
{
    const pair low = fl_pair_lowered(rest), clipped = fl_select(low.hi > R(1), fl_exact(R(1)), low);
    return fl_select(low.hi > R(1), fl_log_of(fl_one_plus(low)), fl_log1p_pair(clipped));
}

/* The factors of the last sweep, by lane. An exponential e has the derivatives (e first) unit, and
 * x (bend x + pull) with its share x = e / (the sum of all but the true class's). */
typedef struct {
    lane_pairs first, share;
    real unit[FL_LANES], pull[FL_LANES], bend[FL_LANES];
    real grad_mine[FL_LANES], grad_top[FL_LANES], hess_mine[FL_LANES], hess_top[FL_LANES];
    int absent[FL_LANES];
} factors;

static FL_INLINE void fl_link(link_function *f, int derivatives, const fl_tile *t, const lanes *s, params c,
                              real scale, factors *out, real *value)
{
    const real *weight = t->weight;
    real *lse = t->lse;
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const real top = s->top[l], mine = s->mine[l], one = FL_LIFTED_ONE, w = weight[l], wf = w * scale;
        const int hit = s->hit[l], absent = w == R(0);
        const pair rest = FL_AT(s->rest, l), none = fl_exact(R(0));
        const pair log_sum = fl_log_of_sum(rest), inverse = fl_inverse(fl_plus(fl_exact(one), rest));
        const pair own = fl_select(hit, fl_exact(one), fl_lifted_exp(mine, top));
        const pair left = fl_plus(fl_sum(one, -own.hi), rest);
        const pair others = fl_select(hit, rest, fl_fast_sum(left.hi, left.lo));
        const pair gap = fl_select(hit, none, fl_sum(top, -mine));
        const true_class z = { fl_plus(gap, log_sum), fl_times(own, inverse), fl_times(others, inverse) };
        const link k = f(z, c);
        value[l] = absent ? R(0) : w * fl_rounded(k.value);
        lse[l] = fl_rounded(fl_plus(fl_exact(top), log_sum));
        out->absent[l] = absent;
        if (derivatives) {
            /* the factor is pull / others, lifted in that order in which nothing leaves the range */
            const pair share = fl_select(others.hi == R(0), none, fl_inverse(others)),
                       pull = fl_scale(wf, k.pull);
            const int large = fl_fabs(pull.hi) > R(1);
            const pair ratio = fl_times(fl_scale(large ? R(1) : one, pull), share);
            const pair exact = fl_scale(large ? one : R(1), ratio);
            const int steep = fl_fabs(exact.hi) > R(1);
            const pair first = fl_select(steep, fl_pair_lowered(exact), exact);
            FL_SET(out->first, l, first);
            out->unit[l] = steep ? R(1) : fl_lowered(R(1));
            out->grad_mine[l] = absent ? R(0) : -pull.hi;
            out->grad_top[l] = absent ? R(0) : fl_rounded(exact);
            if (derivatives > 1) {
                const pair bend = fl_scale(wf, k.bend);
                const real x = one * share.hi;
                FL_SET(out->share, l, share);
                out->pull[l] = pull.hi;
                out->bend[l] = fl_rounded(fl_plus(bend, fl_negative(fl_times(pull, z.q))));
                out->hess_mine[l] = absent ? R(0) : fl_rounded(fl_plus(bend, fl_times(pull, z.p)));
                out->hess_top[l] =
                    absent ? R(0) : x * fl_fma(bend.hi, x, fl_times_rounded(pull, fl_times(rest, inverse)));
            }
        }
    }
}

/* ---- the last sweep: derivatives ------------------------------------------------------------------ */

/* Over the exponentials in `grad`. */
static FL_INLINE void fl_derivatives(const fl_tile *t, const factors *f, real *grad_tail, int bends,
                                     real *hess_tail)
{
    FL_EACH_GROUP
    {
        real *e = FL_GROUP(grad, real, grad_tail), *h = bends ? FL_GROUP(hess, real, hess_tail) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int absent = f->absent[l];
            const real x = e[l], first = fl_fma(x, f->first.hi[l], x * f->first.lo[l]) * f->unit[l];
            if (bends) {
                const real share = fl_fma(x, f->share.hi[l], x * f->share.lo[l]);
                h[l] = absent ? R(0) : share * fl_fma(f->bend[l], share, f->pull[l]);
            }
            e[l] = absent ? R(0) : first;
        }
    }
}

/* What the sweep cannot tell apart: the top, and then the true class, which may be the top. */
static FL_INLINE void fl_put(const fl_tile *t, fl_rows to, const real *at, const real *x)
{
    for (int l = 0; l < FL_LANES; l++)
        if (at[l] >= R(0))
            ((real *)to.data)[(ptrdiff_t)at[l] * (t->across ? to.stride : FL_LANES) + l] = x[l];
}

/* ---- a tile --------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void FL_NAME(fl_sum_exponentials)(const fl_tile *t, const real *tail,
                                                                   lanes *found)
{
    fl_exponentials(t, tail, 0, NULL, found);
}
static __attribute__((noinline)) void FL_NAME(fl_store_exponentials)(const fl_tile *t, const real *tail,
                                                                     real *out, lanes *found)
{
    fl_exponentials(t, tail, 1, out, found);
}
static __attribute__((noinline)) void FL_NAME(fl_grad_rows)(const fl_tile *t, const factors *f,
                                                            real *grad_tail)
{
    fl_derivatives(t, f, grad_tail, 0, NULL);
}
static __attribute__((noinline)) void FL_NAME(fl_hess_rows)(const fl_tile *t, const factors *f,
                                                            real *grad_tail, real *hess_tail)
{
    fl_derivatives(t, f, grad_tail, 1, hess_tail);
}

static FL_INLINE double fl_finish_rows(const fl_tile *t, const lanes *found, const real *value)
{
    const real *weight = t->weight;
    double sum[FL_LANES];
    *t->correct = 0;
    for (int l = 0; l < FL_LANES; l++) {
        const int counts = t->across || l == 0;
        sum[l] = counts ? (double)value[l] : 0;
        *t->correct += counts && found->hit[l] && weight[l] != R(0);
    }
    memcpy(t->value, value, sizeof(real) * FL_LANES);
    return fl_add_lanes(sum);
}

static FL_INLINE int fl_softmax_rows(link_function *f, const fl_tile *t, const double *k, double scale,
                                     double *sum)
{
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    real tail[FL_LANES], grad_tail[FL_LANES], hess_tail[FL_LANES], value[FL_LANES];
    lanes found;
    factors out;

    fl_tail(t, t->scores.data, -FL_INF, tail);
    FL_NAME(fl_find)(t, tail, &found);
    if (!t->grad.data) {
        FL_NAME(fl_sum_exponentials)(t, tail, &found);
        fl_link(f, 0, t, &found, c, (real)scale, &out, value);
    } else {
        FL_NAME(fl_store_exponentials)(t, tail, grad_tail, &found);
        if (t->hess.data) {
            fl_link(f, 2, t, &found, c, (real)scale, &out, value);
            FL_NAME(fl_hess_rows)(t, &out, grad_tail, hess_tail);
            fl_untail(t, t->hess.data, hess_tail);
            fl_put(t, t->hess, found.at, out.hess_top);
            fl_put(t, t->hess, found.where, out.hess_mine);
        } else {
            fl_link(f, 1, t, &found, c, (real)scale, &out, value);
            FL_NAME(fl_grad_rows)(t, &out, grad_tail);
        }
        fl_untail(t, t->grad.data, grad_tail);
        fl_put(t, t->grad, found.at, out.grad_top);
        fl_put(t, t->grad, found.where, out.grad_mine);
    }
    *sum = fl_finish_rows(t, &found, value);
    return 0;
}

/* ---- cross-entropy with rows of labels -------------------------------------------------------------- */

/* The label of class k is (1 - smoothing) y_k + smoothing/K mass, mass = sum y_k, and y_k the given
 * probability times the class weight, or 1 for the true class. The derivatives are differences of these and
 * of probabilities, which therefore are computed to twice the precision. */

/* Sums by lane: of y, of y (top - s) and of top - s. */
typedef struct {
    lane_pairs mass, cost, spread;
} label_sums;

typedef struct {
    lane_pairs inverse, miss, share, base; /* 1 / S lifted, 1 - p of the top, C, and smoothing/K mass */
    real keep_hi, keep_lo, factor[FL_LANES], square[FL_LANES];
    int absent[FL_LANES];
} label_factors;

#define FL_LABEL(here, l) (given ? y[l] * w[l] : where[l] == here ? R(1) : R(0))

static FL_INLINE int fl_label_sums(int given, const fl_tile *t, const real *tail, const real *label_tail,
                                   const real *weight_tail, lanes *found, label_sums *sums)
{
    real top[FL_LANES], at[FL_LANES], where[FL_LANES];
    int bad[FL_LANES] = { 0 }, violated = 0;
    lane_sums rest = { { 0 }, { 0 } }, mass = rest, cost = rest, spread = rest;
    real ones[FL_LANES], live_tail[FL_LANES];
    for (int l = 0; l < FL_LANES; l++) {
        ones[l] = R(1);
        live_tail[l] = l < fl_partial(t) ? R(1) : R(0);
    }
    memcpy(top, found->top, sizeof top);
    memcpy(at, found->at, sizeof at);
    memcpy(where, found->where, sizeof where);
    FL_EACH_GROUP
    {
        const real *s = FL_GROUP(scores, const real, tail), here = (real)g;
        const real *y = given ? FL_GROUP(labels, const real, label_tail) : NULL;
        const real *w = given ? FL_GROUP(class_weight, const real, weight_tail) : NULL;
        const real *live = g == partial_group ? live_tail : ones;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int first = at[l] == here;
            const real label = FL_LABEL(here, l);
            const pair gap = fl_select(first | (live[l] == R(0)), fl_exact(R(0)), fl_sum(top[l], -s[l]));
            const pair due =
                fl_select(gap.hi < FL_INF, fl_scale(label, gap), fl_exact(fl_term(label, gap.hi)));
            fl_lane_add(&rest, l, fl_exact(first ? R(0) : fl_lifted_exp(s[l], top[l]).hi));
            fl_lane_add(&mass, l, fl_exact(label));
            fl_lane_add(&cost, l, due);
            fl_lane_add(&spread, l, gap);
            if (given)
                bad[l] |= !(y[l] >= R(0) && y[l] <= R(1));
        }
    }
    for (int l = 0; l < FL_LANES; l++)
        violated |= bad[l] & (((const real *)t->weight)[l] != R(0));
    fl_lane_total(t, &rest, &found->rest);
    fl_lane_total(t, &mass, &sums->mass);
    fl_lane_total(t, &cost, &sums->cost);
    fl_lane_total(t, &spread, &sums->spread);
    return violated;
}

/* Fills in the factors and the rows' values. c.a = label_smoothing, c.b = z_loss. */
static FL_INLINE void fl_label_values(const fl_tile *t, const lanes *found, const label_sums *sums, params c,
                                      real scale, label_factors *out, real *value)
{
    const real *weight = t->weight;
    real *lse = t->lse;
    const pair keep = fl_sum(R(1), -c.a), part = fl_quotient(fl_exact(c.a), fl_exact((real)t->classes));
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const pair rest = FL_AT(found->rest, l), mass = FL_AT(sums->mass, l);
        const pair log_sum = fl_log_of_sum(rest), level = fl_plus(fl_exact(found->top[l]), log_sum);
        const pair sum = fl_plus(fl_exact(FL_LIFTED_ONE), rest);
        const pair base = fl_times(part, mass), twice = fl_scale(R(2) * c.b, level);
        const pair even = c.a == R(0) ? fl_exact(R(0)) : fl_times(base, FL_AT(sums->spread, l));
        const pair own = fl_plus(fl_times(mass, log_sum), fl_times(keep, FL_AT(sums->cost, l)));
        const pair penalty =
            c.b == R(0) ? fl_exact(R(0)) : fl_times(mass, fl_scale(c.b, fl_times(level, level)));
        const pair share = c.b == R(0) ? mass : fl_times(mass, fl_one_plus(twice));
        const real w = weight[l];
        FL_SET(out->inverse, l, fl_quotient(fl_exact(R(1)), sum));
        FL_SET(out->miss, l, fl_quotient(rest, sum));
        FL_SET(out->share, l, share);
        FL_SET(out->base, l, base);
        out->square[l] = c.b == R(0) ? R(0) : fl_rounded(fl_times(mass, fl_exact(R(2) * c.b)));
        out->factor[l] = w * scale;
        out->absent[l] = w == R(0);
        value[l] = w == R(0) ? R(0) : w * fl_rounded(fl_plus(own, fl_plus(even, penalty)));
        lse[l] = fl_rounded(level);
    }
    out->keep_hi = keep.hi;
    out->keep_lo = keep.lo;
}

static FL_INLINE void fl_label_derivatives(int given, int bends, const fl_tile *t, const lanes *found,
                                           const label_factors *f, const real *tail, const real *label_tail,
                                           const real *weight_tail, real *grad_tail, real *hess_tail)
{
    const pair keep = fl_pair(f->keep_hi, f->keep_lo), one = fl_exact(R(1));
    real top[FL_LANES], at[FL_LANES], where[FL_LANES];
    memcpy(top, found->top, sizeof top);
    memcpy(at, found->at, sizeof at);
    memcpy(where, found->where, sizeof where);
    FL_EACH_GROUP
    {
        const real *s = FL_GROUP(scores, const real, tail), here = (real)g;
        const real *y = given ? FL_GROUP(labels, const real, label_tail) : NULL;
        const real *w = given ? FL_GROUP(class_weight, const real, weight_tail) : NULL;
        real *grad = FL_GROUP(grad, real, grad_tail), *hess = bends ? FL_GROUP(hess, real, hess_tail) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int first = at[l] == here;
            const pair miss = FL_AT(f->miss, l), share = FL_AT(f->share, l);
            const pair label = fl_plus(fl_scale(FL_LABEL(here, l), keep), FL_AT(f->base, l));
            const pair e = fl_times(fl_lifted_exp(s[l], top[l]), FL_AT(f->inverse, l));
            /* of the top p = 1 - miss: nothing may be lost of what share and label leave */
            const pair rest = fl_select(first, fl_plus(share, fl_negative(label)), fl_negative(label));
            const pair moved = fl_times(share, fl_select(first, fl_negative(miss), e));
            const pair slope = fl_plus(moved, rest);
            if (bends) {
                const pair p = fl_select(first, fl_plus(one, fl_negative(miss)), e);
                const pair q = fl_select(first, miss, fl_plus(one, fl_negative(e)));
                const real bend =
                    fl_rounded(fl_times(p, fl_plus(fl_times(share, q), fl_scale(f->square[l], p))));
                hess[l] = f->absent[l] ? R(0) : f->factor[l] * bend;
            }
            grad[l] = f->absent[l] ? R(0) : f->factor[l] * fl_rounded(slope);
        }
    }
}

static __attribute__((noinline)) int FL_NAME(fl_index_sums)(const fl_tile *t, const real *tail, lanes *found,
                                                            label_sums *sums)
{
    return fl_label_sums(0, t, tail, NULL, NULL, found, sums);
}
static __attribute__((noinline)) int FL_NAME(fl_given_sums)(const fl_tile *t, const real *tail, const real *y,
                                                            const real *w, lanes *found, label_sums *sums)
{
    return fl_label_sums(1, t, tail, y, w, found, sums);
}
#define LABEL_DERIVATIVES(name, given, bends)                                                          \
    static __attribute__((noinline)) void FL_NAME(name)(                                               \
        const fl_tile *t, const lanes *found, const label_factors *f, const real *tail, const real *y, \
        const real *w, real *grad_tail, real *hess_tail)                                               \
    {                                                                                                  \
        fl_label_derivatives(given, bends, t, found, f, tail, y, w, grad_tail, hess_tail);             \
    }
LABEL_DERIVATIVES(fl_index_grad, 0, 0)
LABEL_DERIVATIVES(fl_index_hess, 0, 1)
LABEL_DERIVATIVES(fl_given_grad, 1, 0)
LABEL_DERIVATIVES(fl_given_hess, 1, 1)

static int FL_NAME(label_cross_entropy)(const fl_tile *t, const double *k, double scale, double *sum)
{
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const int given = t->labels.data != NULL;
    real tail[FL_LANES], y[FL_LANES], w[FL_LANES], grad_tail[FL_LANES], hess_tail[FL_LANES], value[FL_LANES];
    lanes found;
    label_sums sums;
    label_factors factors;

    fl_tail(t, t->scores.data, -FL_INF, tail);
    if (given) {
        fl_tail(t, t->labels.data, R(0), y);
        fl_tail(t, t->class_weight.data, R(0), w);
    }
    FL_NAME(fl_find)(t, tail, &found);
    const int violated = given ? FL_NAME(fl_given_sums)(t, tail, y, w, &found, &sums)
                               : FL_NAME(fl_index_sums)(t, tail, &found, &sums);
    fl_label_values(t, &found, &sums, c, (real)scale, &factors, value);
    if (t->grad.data) {
        (t->hess.data ? given ? FL_NAME(fl_given_hess) : FL_NAME(fl_index_hess)
         : given ? FL_NAME(fl_given_grad)
                      : FL_NAME(fl_index_grad))(t, &found, &factors, tail, y, w, grad_tail, hess_tail);
        fl_untail(t, t->grad.data, grad_tail);
        if (t->hess.data)
            fl_untail(t, t->hess.data, hess_tail);
    }
    *sum = fl_finish_rows(t, &found, value);
    return violated;
}

#endif
