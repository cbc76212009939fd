/* The kernels of losses that depend on the softmax of each row. A loss is one function of the true class's
 * probability; the sweeps over the classes are the same for all losses.
 *
 * The exponentials are relative to the largest score, `top`, and their sum is S = 1 + rest: the top class,
 * whose exponential is 1, is left out of `rest`, so that nothing cancels in 1 - p where p is close to 1.
 * Exponentials are lifted, which means multiplied by 2^FL_LIFT, so that none is subnormal. */
#ifndef FL_SOFTMAX_H
#define FL_SOFTMAX_H

#include "kernels/strips.h"
#include "kernels/vecmath.h"

/* What a loss is computed from: the true class's cost -log p, its probability p, and q = 1 - p. */
typedef struct {
    pair cost, p, q;
} true_class;

/* A loss as a function of the cost: its value, its first derivative, and q times its second derivative, which
 * by itself may be infinite where q is 0. */
typedef struct {
    pair value, slope, bend;
} link;

typedef link link_function(true_class z, params c);

/* What the sweeps find for each row. */
typedef struct {
    real top[FL_TILE_ROWS], mine[FL_TILE_ROWS]; /* the largest score, and the true class's */
    int32_t best[FL_TILE_ROWS];                 /* the first class that has the top score; -1: none */
    int32_t hit[FL_TILE_ROWS];                  /* whether the true class is that one */
    row_pairs own;  /* the true class's exponential, lifted; undefined where it is the top class */
    row_pairs rest; /* the sum of the exponentials of all classes but the top one, lifted */
    row_pairs back; /* in strips along rows: the factor that makes e^(s - top) of what is in `grad` */
} row_sums;

/* ---- the first sweep: the largest score ---------------------------------------------------------- */

/* With `rivals` the true class is left out, and NaN counts as the largest score, since there is no sum of
 * exponentials that would become NaN. */
#define FL_HIGHER(score, top, rivals) (((score) > (top)) | ((rivals) & ((score) != (score))))

static FL_INLINE void fl_find_across(const fl_tile *t, int rivals, ptrdiff_t i, row_sums *sums)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    real top[FL_LANES], at[FL_LANES], mine[FL_LANES], where[FL_LANES];
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        top[l] = -FL_INF;
        at[l] = R(-1);
        mine[l] = FL_NAN;
    }
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real score = rivals && where[l] == here ? -FL_INF : x[l];
            const int higher = FL_HIGHER(score, top[l], rivals);
            top[l] = higher ? score : top[l];
            at[l] = higher ? here : at[l];
            mine[l] = where[l] == here ? x[l] : mine[l];
        }
    }
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = i * FL_LANES + l;
        sums->top[row] = top[l];
        sums->mine[row] = mine[l];
        sums->best[row] = (int32_t)at[l];
        sums->hit[row] = (where[l] >= R(0)) & (where[l] == at[l]);
    }
}

#define FL_AHEAD (4096 / (ptrdiff_t)sizeof(real))

/* The groups take turns with FL_TURNS sets of largest scores. With one set, a lane would wait longer for its
 * last comparison than a group takes. */
enum { FL_TURNS = 8 };

static FL_INLINE void fl_find_along(const fl_tile *t, int rivals, ptrdiff_t i, row_sums *sums)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    real tops[FL_TURNS][FL_LANES], ats[FL_TURNS][FL_LANES], highest[FL_LANES];
    real *top = tops[0], *at = ats[0];
    const int32_t label = t->label[i], none = INT32_MAX;
    int32_t best = none;
    if (rivals)
        fl_patch(&s, label, -FL_INF);
    for (int turn = 0; turn < FL_TURNS; turn++)
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            tops[turn][l] = -FL_INF;
            ats[turn][l] = R(-1);
        }
    FL_EACH_GROUP(t)
    {
        fl_prefetch(t, &s, g, FL_AHEAD);
        const real *x = FL_GROUP(s), here = (real)g;
        real *high = tops[g % FL_TURNS], *where = ats[g % FL_TURNS];
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int higher = FL_HIGHER(x[l], high[l], rivals);
            high[l] = higher ? x[l] : high[l];
            where[l] = higher ? here : where[l];
        }
    }
    for (int turn = 1; turn < FL_TURNS; turn++)
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real other = tops[turn][l], there = ats[turn][l];
            const int higher =
                FL_HIGHER(other, top[l], rivals) | ((other == top[l]) & (there >= R(0)) & (there < at[l]));
            top[l] = higher ? other : top[l];
            at[l] = higher ? there : at[l];
        }
    memcpy(highest, top, sizeof highest);
    for (int width = FL_LANES / 2; width; width /= 2)
        for (int l = 0; l < width; l++)
            highest[l] = FL_HIGHER(highest[l + width], highest[l], rivals) ? highest[l + width] : highest[l];
    for (int l = 0; l < FL_LANES; l++) {
        const int first = (top[l] == highest[0]) | (rivals & (top[l] != top[l]));
        const int32_t k = (first & (at[l] >= R(0))) ? (int32_t)at[l] * FL_LANES + l : none;
        best = k < best ? k : best;
    }
    sums->top[i] = highest[0];
    sums->mine[i] = label < 0 ? FL_NAN : s.data[label];
    sums->best[i] = best == none ? -1 : best;
    sums->hit[i] = label >= 0 && label == best;
}

static FL_INLINE void fl_find(const fl_tile *t, int rivals, ptrdiff_t i, row_sums *sums)
{
    if (t->across)
        fl_find_across(t, rivals, i, sums);
    else
        fl_find_along(t, rivals, i, sums);
}

/* ---- the second sweep: the sum of the exponentials ------------------------------------------------- */

/* 2^FL_LIFT e^(s - top) */
static FL_INLINE pair fl_lifted_exp(real s, real top)
{
    const real down = top - s;
    return fl_exp_minus_parts(down, fl_sum_error(top, -s, down)).lifted;
}

/* In a strip along a row, exponentials are relative to the power of two next to e^top: s - top would have to
 * be known in two parts, which takes six operations more. Where |top| is FL_FAR_TOP or more, s - top is exact
 * for every score whose exponential is not 0 (Sterbenz), and exponentials are relative to e^top. */
#define FL_FAR_TOP (R(2) * FL_EXP_ZERO)

typedef struct {
    real centre, floor, lift, unused[2];
} origin;

static FL_INLINE int fl_is_near(real top) { return fl_fabs(top) < FL_FAR_TOP; }

static FL_INLINE origin fl_origin(real top)
{
    const real x = fl_is_near(top) ? top : R(0);
    return (origin){ .centre = fl_is_near(top) ? R(0) : top,
                     .floor = x - FL_EXP_ZERO,
                     .lift = R(FL_LIFT) - fl_exponent(x) };
}

static FL_INLINE pair fl_relative_exp(real s, origin o)
{
    const real x = s - o.centre;
    return fl_exp_minus_lifted(fl_exp_reduced(x), o.lift, x < o.floor);
}

/* The factor that turns relative exponentials into e^(s - top). */
static FL_INLINE pair fl_from_origin(real top)
{
    const real x = fl_is_near(top) ? top : R(0), k = fl_exponent(x);
    const real t = fl_fma(k, -FL_LN2_HI, x), r = fl_fma(k, -FL_LN2_LO, t),
               r_lo = fl_fma(k, -FL_LN2_LO, t - r);
    const pair m = fl_mantissa(-r, fl_exp_rest(-r));
    return fl_pair(m.hi, fl_fma(-r_lo, m.hi, m.lo));
}

/* Adds up the exponentials of all classes but the top one and, with `store`, writes them to `grad`, rounded.
 * Without `fine` the sum, too, is that of the rounded ones, which is enough for cross-entropy to be within 2
 * ULP; `fine` takes a tenth longer. */
static FL_INLINE void fl_exponentials(const fl_tile *t, int store, int fine, ptrdiff_t i, row_sums *sums)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    strip out = { 0 };
    real top[FL_LANES], centre[FL_LANES], floor[FL_LANES], lift[FL_LANES];
    real at[FL_LANES], where[FL_LANES], own[FL_LANES], own_lo[FL_LANES];
    lane_sums rest = { { 0 }, { 0 } };
    if (store)
        out = fl_strip(t, t->grad, i, R(0));
    if (!t->across)
        fl_patch(&s, sums->best[i], -FL_INF);
    fl_groups_of(t, sums->best, i, at);
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        top[l] = sums->top[fl_row(t, i, l)];
        const origin o = fl_origin(top[l]);
        centre[l] = o.centre, floor[l] = o.floor, lift[l] = o.lift;
        own[l] = own_lo[l] = FL_NAN;
    }
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
        real *to = store ? FL_GROUP(out) : NULL;
        if (store)
            fl_prefetch(t, &out, g, FL_AHEAD);
        /* the next row, whose first sweep would wait for memory */
        fl_prefetch(t, &s, g, t->scores.strip);
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const origin o = { .centre = centre[l], .floor = floor[l], .lift = lift[l] };
            const pair e = !t->across ? fl_relative_exp(x[l], o)
                                      : fl_select(at[l] == here, fl_exact(R(0)), fl_lifted_exp(x[l], top[l]));
            fl_lane_add(&rest, l, fine ? e : fl_exact(e.hi));
            if (t->across) {
                own[l] = where[l] == here ? e.hi : own[l];
                own_lo[l] = where[l] == here ? (fine ? e.lo : R(0)) : own_lo[l];
            }
            if (store)
                to[l] = e.hi;
        }
    }
    if (store)
        fl_flush(t, &out);
    if (t->across) {
        memcpy(sums->own.hi + i * FL_LANES, own, sizeof own);
        memcpy(sums->own.lo + i * FL_LANES, own_lo, sizeof own_lo);
    }
    fl_lane_total(t, i, &rest, &sums->rest);
}

/* Sets the results of the rows that fill up the last strip, which sweeps along rows do not set. */
static FL_INLINE void fl_fill_up(const fl_tile *t, row_sums *sums)
{
    for (ptrdiff_t row = t->rows; row < fl_padded(t); row++) {
        sums->top[row] = sums->mine[row] = R(0);
        FL_SET(sums->own, row, fl_exact(R(0)));
        sums->best[row] = -1;
        sums->hit[row] = 0;
        FL_SET(sums->rest, row, fl_exact(R(0)));
    }
}

/* Does both sweeps of a strip while it is in cache, then those of the next. */
static FL_INLINE void fl_sweep(const fl_tile *t, int store, int fine, row_sums *sums)
{
    fl_fill_up(t, sums);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++) {
        fl_find(t, 0, i, sums);
        fl_exponentials(t, store, fine, i, sums);
    }
    if (!t->across) {
#pragma omp simd
        for (ptrdiff_t row = 0; row < fl_padded(t); row++) {
            const pair back = fl_from_origin(sums->top[row]);
            const pair e = fl_relative_exp(sums->mine[row], fl_origin(sums->top[row]));
            const pair own = fl_times(fine ? e : fl_exact(e.hi), back);
            const pair rest = fl_times(FL_AT(sums->rest, row), back);
            FL_SET(sums->own, row, own);
            FL_SET(sums->rest, row, rest);
            FL_SET(sums->back, row, back);
        }
    }
}

/* ---- between the sweeps: what a row costs --------------------------------------------------------- */

/* Whether the compiler knows that x is 0. */
#define FL_IS_ZERO(x) (__builtin_constant_p(x) && (x) == R(0))

#define FL_LIFTED_ONE fl_from_bits((bits)(FL_BIAS + FL_LIFT) << FL_MANTISSA)

static FL_INLINE pair fl_pair_lowered(pair a) { return fl_pair(fl_lowered(a.hi), fl_lowered(a.lo)); }

/* The factors of the last sweep for each row: a class with the exponential e has the derivatives (e first)
 * unit and (e second) second_unit (bend e + slope) down. Where bend and slope are small they are lifted, and
 * `down` takes the lift away. */
typedef struct {
    row_pairs first, second, slope, bend;
    real unit[FL_TILE_ROWS], second_unit[FL_TILE_ROWS], down[FL_TILE_ROWS];
    real grad_mine[FL_TILE_ROWS], grad_top[FL_TILE_ROWS], hess_mine[FL_TILE_ROWS], hess_top[FL_TILE_ROWS];
} factors;

/* Computes the loss's value and the factors from what the sweeps have found. Together with the Hessian it
 * computes no value, which costs a logarithm and is hardly ever wanted there. */
static FL_INLINE void fl_link(link_function *f, int derivatives, const fl_tile *t, const row_sums *s,
                              params c, real scale, factors *out)
{
    const real *weight = t->weight;
    real *value = t->value;
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const real top = s->top[i], mine = s->mine[i], one = FL_LIFTED_ONE, w = weight[i], wf = w * scale;
        const int hit = s->hit[i], absent = w == R(0);
        const pair rest = FL_AT(s->rest, i), none = fl_exact(R(0));
        const pair log_sum = fl_log_of(fl_one_plus(fl_pair_lowered(rest)));
        const pair inverse = fl_inverse(fl_plus(fl_exact(one), rest)), p_top = fl_scale(one, inverse);
        const pair own = fl_select(hit, fl_exact(one), FL_AT(s->own, i));
        const pair left = fl_plus(fl_plus(fl_exact(one), fl_negative(own)), rest);
        const pair others = fl_select(hit, rest, fl_fast_sum(left.hi, left.lo));
        const pair gap = fl_select(hit, none, fl_sum(top, -mine));
        const true_class z = { fl_plus(gap, log_sum), fl_times(own, inverse), fl_times(others, inverse) };
        const link k = f(z, c);
        if (derivatives < 2)
            value[i] = absent ? R(0) : w * fl_rounded(k.value);
        if (derivatives) {
            const pair grad = fl_times(fl_scale(wf, k.slope), p_top),
                       factor = derivatives > 1 ? fl_scale(wf, p_top) : grad;
            /* a steep gradient is lowered before the product, else the product is lowered */
            const int steep = fl_fabs(grad.hi) > R(1);
            const pair first = fl_select(steep, fl_pair_lowered(grad), grad);
            FL_SET(out->first, i, first);
            out->unit[i] = steep ? R(1) : fl_lowered(R(1));
            out->grad_mine[i] = absent ? R(0) : -wf * fl_times_rounded(k.slope, z.q);
            out->grad_top[i] = absent ? R(0) : fl_rounded(grad);
            if (derivatives > 1) {
                const int second_steep = fl_fabs(factor.hi) > R(1);
                const pair second = fl_select(second_steep, fl_pair_lowered(factor), factor);
                const int straight = FL_IS_ZERO(k.bend.hi); /* saves cross-entropy a division */
                const pair share = straight ? none : fl_select(others.hi == R(0), none, fl_inverse(others));
                const pair q_top = fl_times(rest, inverse);
                const int flat = fl_fabs(k.slope.hi) < R(1), slight = fl_fabs(k.bend.hi) < R(1);
                const real lift = flat ? one : R(1);
                const pair slope = fl_scale(lift, k.slope),
                           turn = straight ? none : fl_times(fl_scale(lift, k.bend), share);
                const pair turn_top = straight ? none
                                               : fl_select(slight, fl_times(fl_scale(one, k.bend), share),
                                                           fl_scale(one, fl_times(k.bend, share)));
                FL_SET(out->second, i, second);
                FL_SET(out->slope, i, slope);
                const pair bend = fl_plus(turn, fl_negative(fl_times(slope, inverse)));
                FL_SET(out->bend, i, bend);
                out->second_unit[i] = second_steep ? R(1) : fl_lowered(R(1));
                out->down[i] = flat ? fl_lowered(R(1)) : R(1);
                out->hess_mine[i] =
                    absent ? R(0) : wf * fl_times_rounded(z.q, fl_plus(k.bend, fl_times(k.slope, z.p)));
                out->hess_top[i] =
                    absent ? R(0) : wf * fl_times_rounded(p_top, fl_plus(fl_times(k.slope, q_top), turn_top));
            }
        }
    }
}

/* ---- the last sweep: derivatives ------------------------------------------------------------------ */

/* Replaces the exponentials in `grad` by derivatives. The top class, and then the true class, which may be
 * the same, have formulas of their own. */
static FL_INLINE void fl_strip_derivatives(const fl_tile *t, int bends, int fine, ptrdiff_t i,
                                           const row_sums *sums, const factors *f)
{
    strip grad = fl_strip(t, t->grad, i, R(0)), hess = { 0 };
    const real *weight = t->weight;
    real at[FL_LANES], where[FL_LANES];
    factors lane;
    fl_groups_of(t, sums->best, i, at);
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        const pair back = t->across ? fl_exact(R(1)) : FL_AT(sums->back, row);
        FL_SET(lane.first, l, fl_times(FL_AT(f->first, row), back));
        lane.unit[l] = weight[row] == R(0) ? R(0) : f->unit[row];
        lane.grad_mine[l] = f->grad_mine[row], lane.grad_top[l] = f->grad_top[row];
        if (bends) {
            FL_SET(lane.second, l, fl_times(FL_AT(f->second, row), back));
            FL_SET(lane.slope, l, FL_AT(f->slope, row));
            FL_SET(lane.bend, l, fl_times(FL_AT(f->bend, row), back));
            lane.second_unit[l] = f->second_unit[row], lane.down[l] = f->down[row];
            lane.hess_mine[l] = f->hess_mine[row], lane.hess_top[l] = f->hess_top[row];
        }
    }
    if (bends)
        hess = fl_strip(t, t->hess, i, R(0));
    FL_EACH_GROUP(t)
    {
        const real here = (real)g;
        real *x = FL_GROUP(grad), *h = bends ? FL_GROUP(hess) : NULL;
        fl_prefetch(t, &grad, g, FL_AHEAD);
        if (bends)
            fl_prefetch(t, &hess, g, FL_AHEAD);
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int absent = lane.unit[l] == R(0);
            const int top = t->across && at[l] == here, mine = t->across && where[l] == here;
            const real e = x[l], unit = lane.unit[l];
            const real first = fl_fma(e, lane.first.hi[l], e * lane.first.lo[l]) * unit;
            const real slope = mine ? lane.grad_mine[l] : top ? lane.grad_top[l] : first;
            if (bends) {
                const pair share = fl_scale(e, FL_AT(lane.second, l)), slopes = FL_AT(lane.slope, l);
                const pair bend = fl_scale(e, FL_AT(lane.bend, l));
                /* for cross-entropy, which is not `fine`, this is 1 - p */
                const pair near = fl_fast_sum(slopes.hi, bend.hi), rest = fl_pair(near.hi, near.lo + bend.lo);
                const pair turn = fine ? fl_plus(slopes, bend) : rest;
                const real second = fl_times_rounded(share, turn) * lane.second_unit[l] * lane.down[l];
                const real curve = mine ? lane.hess_mine[l] : top ? lane.hess_top[l] : second;
                h[l] = absent ? R(0) : curve;
            }
            x[l] = absent ? R(0) : slope;
        }
    }
    fl_flush(t, &grad);
    if (bends)
        fl_flush(t, &hess);
    if (t->across || weight[i] == R(0))
        return;
    const int32_t best = sums->best[i], label = t->label[i];
    if (best >= 0)
        grad.data[best] = f->grad_top[i];
    if (label >= 0)
        grad.data[label] = f->grad_mine[i];
    if (bends && best >= 0)
        hess.data[best] = f->hess_top[i];
    if (bends && label >= 0)
        hess.data[label] = f->hess_mine[i];
}

static FL_INLINE void fl_derivatives(const fl_tile *t, int bends, int fine, const row_sums *sums,
                                     const factors *f)
{
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_strip_derivatives(t, bends, fine, i, sums, f);
}

/* ---- a tile --------------------------------------------------------------------------------------- */

FL_SWEEP(fl_sum_exponentials, fl_sweep(&of_kind, 0, 0, sums), row_sums *sums)
FL_SWEEP(fl_store_exponentials, fl_sweep(&of_kind, 1, 0, sums), row_sums *sums)
FL_SWEEP(fl_sum_finely, fl_sweep(&of_kind, 0, 1, sums), row_sums *sums)
FL_SWEEP(fl_store_finely, fl_sweep(&of_kind, 1, 1, sums), row_sums *sums)
FL_SWEEP(fl_grad_rows, fl_derivatives(&of_kind, 0, 0, sums, f), const row_sums *sums, const factors *f)
FL_SWEEP(fl_hess_rows, fl_derivatives(&of_kind, 1, 0, sums, f), const row_sums *sums, const factors *f)
FL_SWEEP(fl_hess_finely, fl_derivatives(&of_kind, 1, 1, sums, f), const row_sums *sums, const factors *f)

static __attribute__((noinline)) void FL_NAME(fl_lse)(const fl_tile *t, const row_sums *s)
{
    real *lse = t->lse;
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const pair sum = fl_one_plus(fl_pair_lowered(FL_AT(s->rest, i)));
        lse[i] = fl_rounded(fl_plus(fl_exact(s->top[i]), fl_log_of(sum)));
    }
}

/* Counts the rows whose top class is the true one, sets lse, and returns the sum of the values where these
 * are wanted. */
static FL_INLINE double fl_finish_rows(const fl_tile *t, const row_sums *sums)
{
    const real *weight = t->weight;
    int correct = 0;
    for (ptrdiff_t row = 0; row < t->rows; row++)
        correct += sums->hit[row] & (weight[row] != R(0)) & (sums->rest.hi[row] < FL_INF); /* no NaN */
    *t->correct = correct;
    if (t->lse)
        FL_NAME(fl_lse)(t, sums);
    return t->valued ? fl_row_sum(t) : 0;
}

static FL_INLINE int fl_softmax_rows(link_function *f, int fine, const fl_tile *t)
{
    const double *k = t->constants;
    const real scale = (real)t->scale;
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    row_sums sums;
    factors out;

    if (t->grad.data)
        (fine ? FL_NAME(fl_store_finely) : FL_NAME(fl_store_exponentials))(t, &sums);
    else
        (fine ? FL_NAME(fl_sum_finely) : FL_NAME(fl_sum_exponentials))(t, &sums);
    if (!t->grad.data || (t->hess.data && t->valued))
        fl_link(f, 0, t, &sums, c, scale, &out);
    if (t->hess.data) {
        fl_link(f, 2, t, &sums, c, scale, &out);
        (fine ? FL_NAME(fl_hess_finely) : FL_NAME(fl_hess_rows))(t, &sums, &out);
    } else if (t->grad.data) {
        fl_link(f, 1, t, &sums, c, scale, &out);
        FL_NAME(fl_grad_rows)(t, &sums, &out);
    }
    *t->sum = fl_finish_rows(t, &sums);
    return 0;
}

#endif
