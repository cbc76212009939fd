/* THE row kernels: rows of scores, and of each the softmax. What they know of a loss is one function of the
 * true class's probability; the sweeps over the classes are the same for all.
 *
 * A tile is some rows, swept in strips: a strip is groups of FL_LANES scores. `across`: lane l of group k is
 * class k of the strip's row l, so that few classes fill the vectors, too. Otherwise a strip is one row,
 * class k in lane k % FL_LANES of group k / FL_LANES, and the lanes are brought together after the sweep.
 *
 * The largest score, `top`, is left out of the sum of exponentials, S = 1 + rest: nothing cancels in 1 - p
 * where p is close to 1. Exponentials are lifted by 2^FL_LIFT, so that none is subnormal. */
#ifndef FL_ROWWISE_H
#define FL_ROWWISE_H

#include "../fastloss.h"
#include "pointwise.h"
#include "vecmath.h"

#include <string.h>

/* The true class: its cost -log p, p and q = 1 - p. */
typedef struct {
    pair cost, p, q;
} true_class;

/* A loss f(cost): its value, its first and q times its second derivative, which without the q may be infinite
 * where q is 0. */
typedef struct {
    pair value, slope, bend;
} link;

typedef link link_function(true_class z, params c);

/* Numbers of each row. */
typedef struct {
    real hi[FL_TILE_ROWS], lo[FL_TILE_ROWS];
} row_pairs;

#define FL_AT(pairs, i) fl_pair((pairs).hi[i], (pairs).lo[i])
#define FL_SET(pairs, i, x) (pairs).hi[i] = (x).hi, (pairs).lo[i] = (x).lo

/* What the sweeps find. */
typedef struct {
    real top[FL_TILE_ROWS], mine[FL_TILE_ROWS]; /* the largest score, and the true class's */
    int32_t best[FL_TILE_ROWS];                 /* the first class that has the top; -1: none */
    int32_t hit[FL_TILE_ROWS];                  /* the true class is that one */
    row_pairs own;  /* the true class's exponential, lifted; any if it is the top */
    row_pairs rest; /* the sum of the other classes' than the top's */
} row_sums;

/* ---- strips ------------------------------------------------------------------------------------ */

static FL_INLINE ptrdiff_t fl_strips(const fl_tile *t)
{
    return t->across ? (t->rows + FL_LANES - 1) / FL_LANES : t->rows;
}

/* The row that lane l of a strip belongs to. */
static FL_INLINE ptrdiff_t fl_row(const fl_tile *t, ptrdiff_t strip, int l)
{
    return t->across ? strip * FL_LANES + l : strip;
}

/* The groups in which the lanes of a strip meet the classes of its rows; -1: never. In `real`, exact for 2^24
 * groups. */
static FL_INLINE void fl_groups_of(const fl_tile *t, const int32_t *classes, ptrdiff_t strip, real *groups)
{
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++)
        groups[l] = t->across ? (real)classes[strip * FL_LANES + l] : R(-1);
    if (!t->across && classes[strip] >= 0)
        groups[classes[strip] % FL_LANES] = (real)(classes[strip] / FL_LANES);
}

/* Of numbers by row, those of the lanes of a strip. */
static FL_INLINE void fl_lanes_of(const fl_tile *t, const real *numbers, ptrdiff_t strip, real *lanes)
{
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++)
        lanes[l] = numbers[fl_row(t, strip, l)];
}

static FL_INLINE real *fl_cell(const fl_tile *t, fl_rows m, ptrdiff_t row, ptrdiff_t k)
{
    real *data = m.data;
    return t->across ? data + row / FL_LANES * m.strip + k * m.group + row % FL_LANES
                     : data + row * m.strip + k;
}

/* A matrix's strip while it is swept. A row's last group, where it is not full, is swept in `tail`. */
typedef struct {
    real *data;
    ptrdiff_t group, n; /* n: lanes of the last group that are classes, FL_LANES if it is full */
    real tail[FL_LANES];
} strip;

static FL_INLINE ptrdiff_t fl_groups(const fl_tile *t)
{
    return t->across ? t->classes : (t->classes + FL_LANES - 1) / FL_LANES;
}

static FL_INLINE strip fl_strip(const fl_tile *t, fl_rows m, ptrdiff_t i, real filler)
{
    strip s = {
        (real *)m.data + i * m.strip, m.group, t->across ? FL_LANES : (t->classes - 1) % FL_LANES + 1, { 0 }
    };
    if (s.n < FL_LANES)
        for (ptrdiff_t l = 0; l < FL_LANES; l++)
            s.tail[l] = l < s.n ? s.data[t->classes - s.n + l] : filler;
    return s;
}

/* The compiler must not see that there are two places: it would choose between them for each element, and
 * leave the loop scalar. */
static FL_INLINE real *fl_group(strip *s, ptrdiff_t g, int last)
{
    real *group = last && s->n < FL_LANES ? s->tail : s->data + g * s->group;
    __asm__ volatile("" : "+r"(group));
    return group;
}

#define FL_EACH_GROUP(t) for (ptrdiff_t g = 0, last = fl_groups(t) - 1; g <= last; g++)
#define FL_GROUP(s) fl_group(&(s), g, g == last)

static FL_INLINE void fl_flush(const fl_tile *t, const strip *s)
{
    if (s->n < FL_LANES)
        for (ptrdiff_t l = 0; l < s->n; l++)
            s->data[t->classes - s->n + l] = s->tail[l];
}

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

/* To the strip's rows. */
static FL_INLINE void fl_lane_total(const fl_tile *t, ptrdiff_t i, lane_sums *s, row_pairs *out)
{
    for (int width = FL_LANES / 2; width && !t->across; width /= 2)
        for (int l = 0; l < width; l++) {
            const double a = s->sum[l], b = s->sum[l + width], sum = a + b;
#if FL_BITS == 64
            s->low[l] += s->low[l + width] + fl_sum_error(a, b, sum);
#endif
            s->sum[l] = sum;
        }
    real *hi = out->hi + fl_row(t, i, 0), *lo = out->lo + fl_row(t, i, 0);
#pragma omp simd
    for (int l = 0; l < (t->across ? FL_LANES : 1); l++) {
#if FL_BITS == 32
        const real high = (real)s->sum[l], low = (real)(s->sum[l] - (double)high);
        hi[l] = high;
        lo[l] = high < FL_INF ? low : R(0);
#else
        const pair total = fl_fast_sum(s->sum[l], s->low[l]);
        const int finite = s->sum[l] < FL_INF;
        hi[l] = finite ? total.hi : s->sum[l];
        lo[l] = finite ? total.lo : R(0);
#endif
    }
}

/* ---- the first sweep: the largest score ---------------------------------------------------------- */

/* `rivals`: the largest score of the other classes; NaN is the largest then, as no exponential will tell of
 * it. */
static FL_INLINE void fl_find(const fl_tile *t, int rivals, ptrdiff_t i, row_sums *sums)
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
            const int higher = (score > top[l]) | (rivals & (score != score));
            top[l] = higher ? score : top[l];
            at[l] = higher ? here : at[l];
            if (t->across)
                mine[l] = where[l] == here ? x[l] : mine[l];
        }
    }
    if (t->across) {
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const ptrdiff_t row = i * FL_LANES + l;
            sums->top[row] = top[l];
            sums->mine[row] = mine[l];
            sums->best[row] = (int32_t)at[l];
            sums->hit[row] = (where[l] >= R(0)) & (where[l] == at[l]);
        }
    } else {
        const int32_t label = t->label[i];
        int lane = 0;
        for (int l = 1; l < FL_LANES; l++)
            if (top[l] > top[lane] || (top[l] == top[lane] && at[l] < at[lane]) ||
                (rivals && top[l] != top[l]))
                lane = l;
        sums->top[i] = top[lane];
        sums->mine[i] = label < 0 ? FL_NAN : s.data[label];
        sums->best[i] = at[lane] < R(0) ? -1 : (int32_t)at[lane] * FL_LANES + lane;
        sums->hit[i] = label >= 0 && label == sums->best[i];
    }
}

/* ---- the second sweep: the sum of the exponentials ------------------------------------------------- */

/* 2^FL_LIFT e^(s - top) */
static FL_INLINE pair fl_lifted_exp(real s, real top)
{
    const real down = top - s;
    return fl_exp_minus_parts(down, fl_sum_error(top, -s, down)).lifted;
}

/* Leaves the rounded exponentials in `grad`, if `store`; the top's is left out there as in the sum. They are
 * rounded for the sum as well unless it is to be `fine`, which takes a tenth longer: cross-entropy is within
 * 2 ULP without. */
static FL_INLINE void fl_exponentials(const fl_tile *t, int store, int fine, ptrdiff_t i, row_sums *sums)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    strip out = { 0 };
    real top[FL_LANES], at[FL_LANES], where[FL_LANES], own[FL_LANES], own_lo[FL_LANES];
    lane_sums rest = { { 0 }, { 0 } };
    if (store)
        out = fl_strip(t, t->grad, i, R(0));
    fl_lanes_of(t, sums->top, i, top);
    fl_groups_of(t, sums->best, i, at);
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++)
        own[l] = own_lo[l] = FL_NAN;
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
        real *to = store ? FL_GROUP(out) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const pair e = fl_select(at[l] == here, fl_exact(R(0)), fl_lifted_exp(x[l], top[l]));
            fl_lane_add(&rest, l, fine ? e : fl_exact(e.hi));
            if (t->across) {
                own[l] = where[l] == here ? e.hi : own[l];
                own_lo[l] = where[l] == here ? e.lo : own_lo[l];
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

/* Rows with a lane in the last strip of rows that are computed side by side. */
static FL_INLINE ptrdiff_t fl_padded(const fl_tile *t)
{
    return (t->rows + FL_LANES - 1) / FL_LANES * FL_LANES;
}

/* The rows that are computed beside the last ones. */
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

/* Both sweeps, strip by strip while it is in cache. */
static FL_INLINE void fl_sweep(const fl_tile *t, int store, int fine, row_sums *sums)
{
    fl_fill_up(t, sums);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++) {
        fl_find(t, 0, i, sums);
        fl_exponentials(t, store, fine, i, sums);
    }
    if (!t->across) {
#pragma omp simd
        for (ptrdiff_t row = 0; row < fl_padded(t); row++)
            FL_SET(sums->own, row, fl_lifted_exp(sums->mine[row], sums->top[row]));
    }
}

/* ---- between the sweeps: what a row costs --------------------------------------------------------- */

/* Whether the compiler knows that x is 0. */
#define FL_IS_ZERO(x) (__builtin_constant_p(x) && (x) == R(0))

#define FL_LIFTED_ONE fl_from_bits((bits)(FL_BIAS + FL_LIFT) << FL_MANTISSA)

static FL_INLINE pair fl_pair_lowered(pair a) { return fl_pair(fl_lowered(a.hi), fl_lowered(a.lo)); }

/* The factors of the last sweep, by row: exponentials e have the derivatives (e first) unit and
 * (e second) unit (bend e + slope) down. Small bend and slope are lifted, and `down` is what they come down
 * by. */
typedef struct {
    row_pairs first, second, slope;
    real unit[FL_TILE_ROWS], bend[FL_TILE_ROWS], down[FL_TILE_ROWS];
    real grad_mine[FL_TILE_ROWS], grad_top[FL_TILE_ROWS], hess_mine[FL_TILE_ROWS], hess_top[FL_TILE_ROWS];
} factors;

static FL_INLINE void fl_link(link_function *f, int fine, int derivatives, const fl_tile *t,
                              const row_sums *s, params c, real scale, factors *out)
{
    const real *weight = t->weight;
    real *value = t->value, *lse = t->lse;
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const real top = s->top[i], mine = s->mine[i], one = FL_LIFTED_ONE, w = weight[i], wf = w * scale;
        const int hit = s->hit[i], absent = w == R(0);
        const pair rest = FL_AT(s->rest, i), none = fl_exact(R(0));
        const pair log_sum = fl_log_of(fl_one_plus(fl_pair_lowered(rest)));
        const pair inverse = fl_inverse(fl_plus(fl_exact(one), rest)), p_top = fl_scale(one, inverse);
        const pair exact = fl_pair(s->own.hi[i], fine ? s->own.lo[i] : R(0)),
                   own = fl_select(hit, fl_exact(one), exact);
        const pair left = fl_plus(fl_plus(fl_exact(one), fl_negative(own)), rest);
        const pair others = fl_select(hit, rest, fl_fast_sum(left.hi, left.lo));
        const pair gap = fl_select(hit, none, fl_sum(top, -mine));
        const true_class z = { fl_plus(gap, log_sum), fl_times(own, inverse), fl_times(others, inverse) };
        const link k = f(z, c);
        value[i] = absent ? R(0) : w * fl_rounded(k.value);
        lse[i] = fl_rounded(fl_plus(fl_exact(top), log_sum));
        if (derivatives) {
            const pair grad = fl_times(fl_scale(wf, k.slope), p_top),
                       factor = derivatives > 1 ? fl_scale(wf, p_top) : grad;
            const int steep = fl_fabs(factor.hi) > R(1); /* lowered before the product, or after it */
            const pair first = fl_select(steep, fl_pair_lowered(grad), grad);
            FL_SET(out->first, i, first);
            out->unit[i] = steep ? R(1) : fl_lowered(R(1));
            out->grad_mine[i] = absent ? R(0) : -wf * fl_times_rounded(k.slope, z.q);
            out->grad_top[i] = absent ? R(0) : fl_rounded(grad);
            if (derivatives > 1) {
                const pair second = fl_select(steep, fl_pair_lowered(factor), factor);
                const int straight = FL_IS_ZERO(k.bend.hi); /* cross-entropy: one division less */
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
                out->bend[i] = fl_rounded(fl_plus(turn, fl_negative(fl_times(slope, inverse))));
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

/* Over the exponentials in `grad`. What they do not tell are the top, and then the true class, which may be
 * the top. */
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
        FL_SET(lane.first, l, FL_AT(f->first, row));
        lane.unit[l] = weight[row] == R(0) ? R(0) : f->unit[row];
        lane.grad_mine[l] = f->grad_mine[row], lane.grad_top[l] = f->grad_top[row];
        if (bends) {
            FL_SET(lane.second, l, FL_AT(f->second, row));
            FL_SET(lane.slope, l, FL_AT(f->slope, row));
            lane.bend[l] = f->bend[row], lane.down[l] = f->down[row];
            lane.hess_mine[l] = f->hess_mine[row], lane.hess_top[l] = f->hess_top[row];
        }
    }
    if (bends)
        hess = fl_strip(t, t->hess, i, R(0));
    FL_EACH_GROUP(t)
    {
        const real here = (real)g;
        real *x = FL_GROUP(grad), *h = bends ? FL_GROUP(hess) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int absent = lane.unit[l] == R(0), top = at[l] == here, mine = where[l] == here;
            const real e = x[l], unit = lane.unit[l];
            const real first = fl_fma(e, lane.first.hi[l], e * lane.first.lo[l]) * unit;
            const real slope = mine ? lane.grad_mine[l] : top ? lane.grad_top[l] : first;
            if (bends) {
                const pair share = fl_scale(e, FL_AT(lane.second, l)), slopes = FL_AT(lane.slope, l);
                const pair turn = fl_sum(slopes.hi, fl_fma(lane.bend[l], e, slopes.lo));
                const pair lowered = fl_pair(share.hi * unit, share.lo * unit);
                const real flat = fl_rounded(share) * unit * fl_fma(lane.bend[l], e, slopes.hi);
                const real bend = (fine ? fl_times_rounded(lowered, turn) : flat) * lane.down[l];
                const real curve = mine ? lane.hess_mine[l] : top ? lane.hess_top[l] : bend;
                h[l] = absent ? R(0) : curve;
            }
            x[l] = absent ? R(0) : slope;
        }
    }
    fl_flush(t, &grad);
    if (bends)
        fl_flush(t, &hess);
}

static FL_INLINE void fl_derivatives(const fl_tile *t, int bends, int fine, const row_sums *sums,
                                     const factors *f)
{
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_strip_derivatives(t, bends, fine, i, sums, f);
}

/* ---- a tile --------------------------------------------------------------------------------------- */

/* The sweeps are compiled once for all losses, and apart for the two kinds of strips: `body` sees a copy
 * `way` of the tile of which the compiler knows the kind. */
#define FL_SWEEP(name, body, ...)                                                      \
    static __attribute__((noinline)) void FL_NAME(name)(const fl_tile *t, __VA_ARGS__) \
    {                                                                                  \
        fl_tile way = *t;                                                              \
        if (t->across) {                                                               \
            way.across = 1;                                                            \
            body;                                                                      \
        } else {                                                                       \
            way.across = 0;                                                            \
            body;                                                                      \
        }                                                                              \
    }
FL_SWEEP(fl_sum_exponentials, fl_sweep(&way, 0, 0, sums), row_sums *sums)
FL_SWEEP(fl_store_exponentials, fl_sweep(&way, 1, 0, sums), row_sums *sums)
FL_SWEEP(fl_sum_finely, fl_sweep(&way, 0, 1, sums), row_sums *sums)
FL_SWEEP(fl_store_finely, fl_sweep(&way, 1, 1, sums), row_sums *sums)
FL_SWEEP(fl_grad_rows, fl_derivatives(&way, 0, 0, sums, f), const row_sums *sums, const factors *f)
FL_SWEEP(fl_hess_rows, fl_derivatives(&way, 1, 0, sums, f), const row_sums *sums, const factors *f)
FL_SWEEP(fl_hess_finely, fl_derivatives(&way, 1, 1, sums, f), const row_sums *sums, const factors *f)

static FL_INLINE double fl_row_sum(const fl_tile *t)
{
    const real *value = t->value;
    double lane[FL_LANES] = { 0 };
    ptrdiff_t row = 0;
    for (; row + FL_LANES <= t->rows; row += FL_LANES)
        for (int l = 0; l < FL_LANES; l++)
            lane[l] += (double)value[row + l];
    for (; row < t->rows; row++)
        lane[row % FL_LANES] += (double)value[row];
    return fl_add_lanes(lane);
}

static FL_INLINE double fl_finish_rows(const fl_tile *t, const row_sums *sums)
{
    const real *weight = t->weight;
    int correct = 0;
    for (ptrdiff_t row = 0; row < t->rows; row++)
        correct += sums->hit[row] & (weight[row] != R(0)) & (sums->rest.hi[row] < FL_INF); /* not NaN */
    *t->correct = correct;
    return fl_row_sum(t);
}

static FL_INLINE int fl_softmax_rows(link_function *f, int fine, const fl_tile *t, const double *k,
                                     double scale, double *sum)
{
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    row_sums sums;
    factors out;

    if (!t->grad.data) {
        (fine ? FL_NAME(fl_sum_finely) : FL_NAME(fl_sum_exponentials))(t, &sums);
        fl_link(f, fine, 0, t, &sums, c, (real)scale, &out);
    } else {
        (fine ? FL_NAME(fl_store_finely) : FL_NAME(fl_store_exponentials))(t, &sums);
        if (t->hess.data) {
            fl_link(f, fine, 2, t, &sums, c, (real)scale, &out);
            (fine ? FL_NAME(fl_hess_finely) : FL_NAME(fl_hess_rows))(t, &sums, &out);
        } else {
            fl_link(f, fine, 1, t, &sums, c, (real)scale, &out);
            FL_NAME(fl_grad_rows)(t, &sums, &out);
        }
    }
    *sum = fl_finish_rows(t, &sums);
    return 0;
}

/* ---- cross-entropy with rows of labels -------------------------------------------------------------- */

/* The label of class k is (1 - smoothing) y_k + smoothing/K mass, mass = sum y_k, and y_k the given
 * probability times the class weight, or 1 for the true class. The derivatives are differences of these and
 * of probabilities, which therefore have some more digits than the result: where most of them cancel, the
 * difference is right to half a unit in the last place of p. */

/* Sums by lane: of y, of y (top - s) and of (top - s) / FL_MAX_CLASSES, which stays within the range. */
typedef struct {
    row_pairs mass, cost, spread;
} label_sums;

/* 1 / S lifted; 1 - p of the top; what p is multiplied by, and that / S lifted; the label's even part;
 * 2 z_loss mass. */
typedef struct {
    row_pairs inverse, miss, share, part, base;
    real square[FL_TILE_ROWS];
} label_factors;

#define FL_LABEL(here, l) (given ? y[l] * w[l] : where[l] == here ? R(1) : R(0))

static FL_INLINE int fl_strip_labels(const fl_tile *t, int given, ptrdiff_t i, row_sums *sums,
                                     label_sums *labels)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    strip label = { 0 }, weight = { 0 }, live = { .n = s.n };
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
    for (int l = 0; l < FL_LANES; l++) {
        ones[l] = R(1);
        live.tail[l] = l < s.n ? R(1) : R(0);
    }
    live.data = ones; /* of group 0: all full groups are alike */
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
    real *value = t->value, *lse = t->lse;
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
        lse[i] = fl_rounded(level);
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
            const pair shared = fl_times(lifted, FL_AT(lane[4], l)); /* p times the share */
            /* of the top p = 1 - miss: nothing may be lost of what share and label leave */
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
FL_SWEEP(fl_index_sums, fl_sweep_labels(&way, 0, sums, labels, violated), LABELS)
FL_SWEEP(fl_given_sums, fl_sweep_labels(&way, 1, sums, labels, violated), LABELS)
FL_SWEEP(fl_index_grad, fl_label_derivatives(&way, 0, 0, sums, f, c, scale), FACTORS)
FL_SWEEP(fl_index_hess, fl_label_derivatives(&way, 0, 1, sums, f, c, scale), FACTORS)
FL_SWEEP(fl_given_grad, fl_label_derivatives(&way, 1, 0, sums, f, c, scale), FACTORS)
FL_SWEEP(fl_given_hess, fl_label_derivatives(&way, 1, 1, sums, f, c, scale), FACTORS)
#undef LABELS
#undef FACTORS

static int FL_NAME(label_cross_entropy)(const fl_tile *t, const double *k, double scale, double *sum)
{
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const int given = t->labels.data != NULL;
    int violated;
    row_sums sums;
    label_sums labels;
    label_factors f;

    (given ? FL_NAME(fl_given_sums) : FL_NAME(fl_index_sums))(t, &sums, &labels, &violated);
    fl_label_values(t, &sums, &labels, c, &f);
    if (t->hess.data)
        (given ? FL_NAME(fl_given_hess) : FL_NAME(fl_index_hess))(t, &sums, &f, c, (real)scale);
    else if (t->grad.data)
        (given ? FL_NAME(fl_given_grad) : FL_NAME(fl_index_grad))(t, &sums, &f, c, (real)scale);
    *sum = fl_finish_rows(t, &sums);
    return violated;
}

#endif
