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

/* What the sweep finds for each row. All but `back` are lifted and relative to e^top. */
typedef struct {
    row_pairs own;    /* the true class's exponential; 1 where it is the top class */
    row_pairs others; /* the sum of the exponentials of the other classes */
    row_pairs back;   /* the factor that makes e^(s - top) of what is in `grad` */
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

/* Adds up the exponentials of all classes but the true one and the top one, and with `store` writes those of
 * all classes to `grad`, rounded. In strips along rows without `fine`, the sum, too, is that of the rounded
 * ones, which is enough for cross-entropy to be within 2 ULP. */
static FL_INLINE void fl_exponential_strip(const fl_tile *t, int store, int fine, ptrdiff_t i,
                                           const row_sums *found, exponentials *e)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF), out = fl_strip(t, store ? t->grad : t->scores, i, R(0));
    real nowhere[FL_LANES];
    strip lost = fl_lost(t, i, nowhere);
    const lane_origins origins = fl_origins_of(t, found->top, i);
    real at[FL_LANES];
    lane_sums others;
    fl_clear(&others);
    if (!t->across) {
        fl_patch(&s, t->label[i], -FL_INF);
        fl_patch(&s, found->best[i], -FL_INF);
    }
    fl_groups_of(t, found->best, i, at);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
        real *to = store ? FL_GROUP(out) : NULL, *lo = store && t->across ? FL_GROUP(lost) : NULL;
        if (store)
            fl_prefetch(t, &out, g, FL_AHEAD);
        /* the next row, whose first sweep would wait for memory */
        fl_prefetch(t, &s, g, t->scores.strip);
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const pair each = fl_exp_from(x[l], FL_ORIGIN(origins, l));
            const pair term = t->across ? fl_select(at[l] == here, fl_exact(R(0)), each) : each;
            fl_lane_add(&others, l, t->across || fine ? term : fl_exact(term.hi));
            if (store)
                to[l] = each.hi;
            if (store && t->across)
                lo[l] = each.lo;
        }
    }
    if (store)
        fl_flush(t, &out);
    fl_lane_total(t, i, &others, &e->others);
}

static FL_INLINE void fl_exponential_sweep(const fl_tile *t, int store, int fine, row_sums *found,
                                           exponentials *e)
{
    fl_fill_up(t, found);
    for (ptrdiff_t row = t->rows; row < fl_padded(t); row++)
        e->others.hi[row] = e->others.lo[row] = R(0);
    for (ptrdiff_t i = 0; t->across && i < fl_strips(t); i++)
        fl_find_across(t, 0, 1, i, found);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++) {
        if (!t->across)
            fl_find_along(t, 0, i, found); /* both sweeps of a row while it is in cache */
        fl_exponential_strip(t, store, fine, i, found, e);
    }
#pragma omp simd
    for (ptrdiff_t row = 0; row < fl_padded(t); row++) {
        const real top = found->top[row], mine = found->mine[row];
        const int hit = found->hit[row];
        const pair back = fl_from_origin(top), one = fl_exact(FL_LIFTED_ONE);
        const pair own = fl_select(hit, one, fl_times(fl_exp_from(mine, fl_origin(top)), back));
        const pair sum = fl_times(FL_AT(e->others, row), back);
        FL_SET(e->own, row, own);
        FL_SET(e->others, row, fl_select(hit, sum, fl_plus(one, sum)));
        FL_SET(e->back, row, back);
        FL_SET(found->rest, row, fl_select(hit | (t->label[row] < 0), sum, fl_plus(own, sum)));
    }
}

#define ARGUMENTS row_sums *found, exponentials *e
FL_SWEEP(fl_sum_exponentials, fl_exponential_sweep(&of_kind, 0, 0, found, e), ARGUMENTS)
FL_SWEEP(fl_store_exponentials, fl_exponential_sweep(&of_kind, 1, 0, found, e), ARGUMENTS)
FL_SWEEP(fl_sum_finely, fl_exponential_sweep(&of_kind, 0, 1, found, e), ARGUMENTS)
FL_SWEEP(fl_store_finely, fl_exponential_sweep(&of_kind, 1, 1, found, e), ARGUMENTS)
#undef ARGUMENTS

/* The same exponential for losses that need it to more digits: s - top is taken in two parts. */
static FL_INLINE pair fl_lifted_exp(real s, real top)
{
    const real down = top - s;
    return fl_exp_minus_parts(down, fl_sum_error(top, -s, down)).lifted;
}

#endif
