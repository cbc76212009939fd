/* Sums in sixteen lanes, whatever the vector width and dtype, so that every SIMD level adds in the same
 * order. */
#ifndef FL_LANES_H
#define FL_LANES_H

#include "api/kernel.h"
#include "kernels/pair.h"

static FL_INLINE double fl_add_lanes(const double *x)
{
    return (((x[0] + x[8]) + (x[4] + x[12])) + ((x[2] + x[10]) + (x[6] + x[14]))) +
           (((x[1] + x[9]) + (x[5] + x[13])) + ((x[3] + x[11]) + (x[7] + x[15])));
}

/* A sum in each lane. For float64, `low` holds what each addition has lost; without it equal terms would all
 * lose alike: 17 ULP in a block of 0.1. For float32 the sums are doubles, whose rounding does not matter.
 * `low` holds the low parts of pairs, too. */
typedef struct {
    double sum[FL_LANES];
    real low[FL_LANES];
} lane_sums;

static FL_INLINE void fl_clear(lane_sums *s)
{
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        s->sum[l] = 0;
        s->low[l] = R(0);
    }
}

static FL_INLINE void fl_lane_add(lane_sums *s, int l, pair x)
{
    const double sum = s->sum[l] + (double)x.hi;
#if FL_BITS == 64
    s->low[l] += fl_sum_error(s->sum[l], x.hi, sum);
#endif
    s->low[l] += x.lo;
    s->sum[l] = sum;
}

/* The sum over all lanes, of terms without low parts. */
static FL_INLINE double fl_all_lanes(const lane_sums *s)
{
    const double sum = fl_add_lanes(s->sum);
#if FL_BITS == 64
    const double both = sum + fl_add_lanes(s->low);
    return both == both ? both : sum; /* low is NaN where the sum is infinite */
#else
    return sum;
#endif
}

#endif
