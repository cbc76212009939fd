/* The sweep over the exponentials of each row's scores, and their sums.
 *
 * An exponential is relative to a power of two next to e^top: s - top would have to be known in two parts,
 * which takes six operations more. Where |top| is FL_FAR_TOP or more, exponentials are relative to e^top, and
 * s - top is exact for every score whose exponential is not 0: it has no more bits than s, and is smaller. */
#ifndef FL_EXPONENTIALS_H
#define FL_EXPONENTIALS_H

#include "kernels/rows/top.h"
#include "kernels/vecmath.h"

#define FL_LIFTED_ONE fl_from_bits((bits)(FL_BIAS + FL_LIFT) << FL_MANTISSA)

/* What the sweep finds for each row, relative to the power of two and lifted. */
typedef struct {
    row_pairs top;    /* the exponential of the largest score */
    row_pairs own;    /* that of the true class's score, the same numbers where it is the largest */
    row_pairs others; /* the sum of those of the other classes */
} exponentials;

static FL_INLINE int fl_is_near(real top) { return fl_fabs(top) < FL_FAR_TOP; }

static FL_INLINE exp_origin fl_origin(real top)
{
    const int near = fl_is_near(top);
    return fl_exp_origin(near ? R(0) : top, fl_exponent(near ? top : R(0)));
}

/* The origins of the lanes of a strip. */
typedef struct {
    real centre[FL_LANES], floor[FL_LANES], magic[FL_LANES];
} lane_origins;

static FL_INLINE lane_origins fl_origins_of(const fl_tile *t, const real *tops, ptrdiff_t i)
{
    lane_origins lanes;
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const exp_origin o = fl_origin(tops[fl_row(t, i, l)]);
        lanes.centre[l] = o.centre, lanes.floor[l] = o.floor, lanes.magic[l] = o.magic;
    }
    return lanes;
}

#define FL_ORIGIN(lanes, l) \
    (exp_origin) { .centre = (lanes).centre[l], .floor = (lanes).floor[l], .magic = (lanes).magic[l] }

/* The factor that turns relative exponentials into e^(s - top). */
static FL_INLINE pair fl_from_origin(real top)
{
    const real x = fl_is_near(top) ? top : R(0), k = fl_exponent(x);
    const real t = fl_fma(k, -FL_LN2_HI, x), r = fl_fma(k, -FL_LN2_LO, t),
               r_lo = fl_fma(k, -FL_LN2_LO, t - r);
    const pair m = fl_mantissa(-r, fl_exp_rest(-r));
    return fl_pair(m.hi, fl_fma(-r_lo, m.hi, m.lo));
}

/* What the rounding of the exponentials has lost takes the place of the scores in strips across rows, where
 * these are a copy: with it the largest error of a gradient was 0.9 ULP in 60 000 rows, without it 1.6. In
 * strips along rows, and where the scores' place is the gradient's, `elsewhere` stands for it: FL_LANES
 * numbers. */
static FL_INLINE strip fl_lost(const fl_tile *t, ptrdiff_t i, real *elsewhere)
{
    if (t->across && t->grad.data != t->scores.data)
        return fl_strip(t, t->scores, i, R(0));
    return (strip){ .data = elsewhere, .n = FL_LANES, .short_group = -1, .patched = { -1, -1 } };
}

/* A sum in each lane of exponentials that are not larger than a known power of two, in the numbers' own type:
 * it starts at a power of two so far above them that their high parts are added exactly, and what is below
 * the last place of that power is added to `low`, together with the low parts. That takes five additions,
 * where lane_sums take eight operations with AVX-512 in float32, and nine in float64. */
typedef struct {
    real start[FL_LANES], sum[FL_LANES], low[FL_LANES];
} started_sums;

static FL_INLINE void fl_start_sums(const real *rivals, const lane_origins *origins, started_sums *s)
{
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        /* 2^10 is more than the 1.42 times 256 by which a sum may be larger than the power next to its
         * largest term */
        s->start[l] = s->sum[l] = R(1024) * fl_exp_scale(rivals[l], FL_ORIGIN(*origins, l));
        s->low[l] = R(0);
    }
}

static FL_INLINE void fl_started_add(started_sums *s, int l, pair x)
{
    const real sum = s->sum[l] + x.hi;
    s->low[l] += (x.hi - (sum - s->sum[l])) + x.lo;
    s->sum[l] = sum;
}

static FL_INLINE pair fl_started_sum(const started_sums *s, int l)
{
    return fl_fast_sum(s->sum[l] - s->start[l], s->low[l]);
}

/* The exponentials of a strip across rows, without the true class, which was left out: their sum, with
 * `ranked` as `rest` also their sum without the largest of them, and with `store` all of them, rounded, in
 * `grad`.
 */
static FL_INLINE void fl_exponentials_across(const fl_tile *t, int store, int ranked, ptrdiff_t i,
                                             row_sums *found, exponentials *e)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF), out = fl_strip(t, store ? t->grad : t->scores, i, R(0));
    real nowhere[FL_LANES], at[FL_LANES];
    strip lost = fl_lost(t, i, nowhere);
    const lane_origins origins = fl_origins_of(t, found->top, i);
    started_sums sums, rest;
    fl_start_sums(found->rival + i * FL_LANES, &origins, &sums);
    if (ranked) {
        fl_start_sums(found->second + i * FL_LANES, &origins, &rest);
        fl_groups_of(t, found->rival_class, i, at);
    }
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
        real *to = store ? FL_GROUP(out) : NULL, *lo = store ? FL_GROUP(lost) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const pair each = fl_exp_from(x[l], FL_ORIGIN(origins, l));
            fl_started_add(&sums, l, each);
            if (ranked)
                fl_started_add(&rest, l, fl_select(at[l] == here, fl_exact(R(0)), each));
            if (store)
                to[l] = each.hi, lo[l] = each.lo;
        }
    }
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        FL_SET(e->others, i * FL_LANES + l, fl_started_sum(&sums, l));
        if (ranked)
            FL_SET(found->rest, i * FL_LANES + l, fl_started_sum(&rest, l));
    }
}

/* The same for a strip along a row, where the top class is left out of the sum `rest`, too, and there is no
 * other sum. Without `fine` it is the sum of the rounded exponentials, which is enough for cross-entropy to
 * be within 2 ULP. */
static FL_INLINE void fl_exponentials_along(const fl_tile *t, int store, int fine, ptrdiff_t i,
                                            row_sums *found)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF), out = fl_strip(t, store ? t->grad : t->scores, i, R(0));
    const exp_origin origin = fl_origin(found->top[i]);
    lane_sums rest;
    fl_clear(&rest);
    fl_patch(&s, t->label[i], -FL_INF);
    fl_patch(&s, found->best[i], -FL_INF);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s);
        real *to = store ? FL_GROUP(out) : NULL;
        if (store)
            fl_prefetch(t, &out, g, FL_AHEAD);
        /* the next row, whose first sweep would wait for memory */
        fl_prefetch(t, &s, g, t->scores.strip);
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const pair each = fl_exp_from(x[l], origin);
            fl_lane_add(&rest, l, fine ? each : fl_exact(each.hi));
            if (store)
                to[l] = each.hi;
        }
    }
    if (store)
        fl_flush(t, &out);
    fl_lane_total(t, i, &rest, &found->rest);
}

/* Two classes take one exponential a row: relative to the larger score, the other one's is e^-|difference|.
 */
static __attribute__((noinline)) void FL_NAME(fl_two_classes)(const fl_tile *t, row_sums *found,
                                                              exponentials *e)
{
    for (ptrdiff_t i = 0; i < fl_padded(t); i += FL_LANES) {
        const real *first = fl_cell(t, t->scores, i, 0), *second = fl_cell(t, t->scores, i, 1);
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const ptrdiff_t row = i + l;
            const real a = first[l], b = second[l];
            const int32_t label = t->label[row];
            const int above = b > a, best = above ? 1 : 0, none = label < 0, hit = best == label;
            const real top = above ? b : a, low = above ? a : b, down = top - low;
            const pair one = fl_exact(FL_LIFTED_ONE),
                       less = fl_exp_minus_parts(down, fl_sum_error(top, -low, down)).lifted;
            found->top[row] = top;
            found->mine[row] = none ? FL_NAN : label ? b : a;
            found->best[row] = best;
            found->hit[row] = hit;
            FL_SET(found->rest, row, less);
            FL_SET(e->top, row, one);
            FL_SET(e->own, row, fl_select(hit, one, less));
            FL_SET(e->others, row, fl_select(hit, less, one));
        }
    }
}

/* What is known of each row once the exponentials are added up. `rest` is without the true class and the
 * largest of the others across rows, and without the true class and the top class along rows. With `summed`
 * the sum of the others is known, else it is made of that; so it is, too, where the top class has an infinite
 * score. */
static FL_INLINE void fl_set_exponentials(const fl_tile *t, int summed, int ranked, row_sums *found,
                                          exponentials *e)
{
#pragma omp simd
    for (ptrdiff_t row = 0; row < fl_padded(t); row++) {
        const real top = found->top[row];
        const int hit = found->hit[row], infinite = fl_fabs(top) == FL_INF;
        const exp_origin origin = fl_origin(top);
        /* as in the sums, so that what cancels, such as 1 - p, cancels */
        const pair highest = fl_select(infinite, fl_exact(FL_LIFTED_ONE), fl_exp_from(top, origin));
        const pair own = fl_select(hit, highest, fl_exp_from(found->mine[row], origin));
        pair others = FL_AT(e->others, row);
        if (ranked) {
            const pair rest = FL_AT(found->rest, row), made = fl_plus(highest, rest);
            others = summed ? fl_select(infinite & !hit, made, others) : fl_select(hit, rest, made);
            FL_SET(found->rest, row,
                   fl_select(hit, others, fl_select(t->label[row] < 0, rest, fl_plus(own, rest))));
        } else {
            FL_SET(found->rest, row, others);
        }
        FL_SET(e->top, row, highest);
        FL_SET(e->own, row, own);
        FL_SET(e->others, row, others);
    }
}

/* Returns 0, with the scores as they were, where one is infinite: then the top class must be known, hence
 * `ranked`. */
static FL_INLINE int fl_sweep_across(const fl_tile *tile, int store, int ranked, row_sums *found,
                                     exponentials *e)
{
    fl_tile across = *tile;
    const fl_tile *t = &across;
    across.across = 1;
    if (!fl_looks(t))
        fl_leave_out(t, found);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_find_rivals(t, ranked, i, found);
    if (!ranked && fl_any_infinite(t, found)) {
        fl_put_back(t, found);
        return 0;
    }
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_exponentials_across(t, store, ranked, i, found, e);
    fl_set_exponentials(t, 1, ranked, found, e);
    return 1;
}

static FL_INLINE int fl_sweep_along(const fl_tile *tile, int store, int fine, row_sums *found,
                                    exponentials *e)
{
    fl_tile along = *tile;
    const fl_tile *t = &along;
    along.across = 0;
    fl_fill_up(t, found);
    for (ptrdiff_t i = 0; i < t->rows; i++) {
        fl_find_along(t, 0, i, found); /* both sweeps of a row while it is in cache */
        fl_exponentials_along(t, store, fine, i, found);
    }
    fl_set_exponentials(t, 0, 1, found, e);
    return 1;
}

#define SWEEP(name, sweep, store, flag)                                                                    \
    static __attribute__((noinline)) int FL_NAME(name)(const fl_tile *t, row_sums *found, exponentials *e) \
    {                                                                                                      \
        return sweep(t, store, flag, found, e);                                                            \
    }
SWEEP(fl_sum_across, fl_sweep_across, 0, 0)
SWEEP(fl_store_across, fl_sweep_across, 1, 0)
SWEEP(fl_sum_ranked, fl_sweep_across, 0, 1)
SWEEP(fl_store_ranked, fl_sweep_across, 1, 1)
SWEEP(fl_sum_along, fl_sweep_along, 0, 0)
SWEEP(fl_store_along, fl_sweep_along, 1, 0)
SWEEP(fl_sum_finely, fl_sweep_along, 0, 1)
SWEEP(fl_store_finely, fl_sweep_along, 1, 1)
#undef SWEEP

/* Finds the exponentials of all rows, stores them where there is a gradient to compute, and with `ranked`
 * finds the top classes and `rest`, too. */
static FL_INLINE void fl_exponential_rows(const fl_tile *t, int ranked, int fine, row_sums *found,
                                          exponentials *e)
{
    const int store = t->grad.data != NULL;
    if (t->classes == 2)
        FL_NAME(fl_two_classes)(t, found, e);
    else if (!t->across && store)
        fine ? FL_NAME(fl_store_finely)(t, found, e) : FL_NAME(fl_store_along)(t, found, e);
    else if (!t->across)
        fine ? FL_NAME(fl_sum_finely)(t, found, e) : FL_NAME(fl_sum_along)(t, found, e);
    else if (store)
        (void)((!ranked && FL_NAME(fl_store_across)(t, found, e)) || FL_NAME(fl_store_ranked)(t, found, e));
    else
        (void)((!ranked && FL_NAME(fl_sum_across)(t, found, e)) || FL_NAME(fl_sum_ranked)(t, found, e));
}

/* The same exponential for losses that need it to more digits: s - top is taken in two parts. */
static FL_INLINE pair fl_lifted_exp(real s, real top)
{
    const real down = top - s;
    return fl_exp_minus_parts(down, fl_sum_error(top, -s, down)).lifted;
}

#endif
