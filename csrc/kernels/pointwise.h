/* THE pointwise loop. Every pass of every loss is this function with `loss`, `violated` and `outputs`
 * known at compile time; the compiler drops what a pass does not use. */
#ifndef FL_POINTWISE_H
#define FL_POINTWISE_H

#include "../fastloss.h"
#include "pair.h"
#include "real.h"

enum { FL_SUM = 1, FL_VALUE = 2, FL_GRAD = 4, FL_HESS = 8 };

typedef vgh loss_function(real y, real p, params c);
typedef int domain_function(real y, real p, params c);

/* Sixteen lanes of double, whatever the vector width and dtype: so every level adds in the same order. */
static FL_INLINE double fl_add_lanes(const double *x)
{
    return (((x[0] + x[8]) + (x[4] + x[12])) + ((x[2] + x[10]) + (x[6] + x[14]))) +
           (((x[1] + x[9]) + (x[5] + x[13])) + ((x[3] + x[11]) + (x[7] + x[15])));
}

/* A sum by lane. Doubles add up floats without loss that counts; those of float64 have what each addition
 * lost beside them, or equal terms would lose alike: 17 ULP in a block of 0.1. */
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

/* in: y, p and the weights w; out: up to two arrays, in the order value, grad, hess. `scale` multiplies
 * the derivatives. An element of weight 0 is absent: 0 even where the loss is inf or NaN or the domain
 * violated. No `restrict`: an output may be one of the inputs. */
static FL_INLINE int fl_pointwise(loss_function *loss, domain_function *violated, int outputs, ptrdiff_t n,
                                  const void *const *in, ptrdiff_t third_step, ptrdiff_t ahead,
                                  void *const *out, const double *k, double scale, double *sum)
{
    const real *y = in[0], *p = in[1], *w = in[2];
    real *first = out[0], *second = out[1];
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const real factor = (real)scale;
    lane_sums total = { { 0 }, { 0 } };
    int bad[FL_LANES] = { 0 };

    for (ptrdiff_t i = 0; i < n; i += FL_LANES, w += third_step) {
        if (ahead) /* over the ends of pages, where the hardware stops: up to 1.3 times as fast from memory */
            for (int line = 0; line < FL_LANES * (int)sizeof(real); line += 64) {
                __builtin_prefetch((const char *)(y + i) + ahead + line);
                __builtin_prefetch((const char *)(p + i) + ahead + line);
            }
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real yi = y[i + l], pi = p[i + l];
            const real wi = w[l];
            bad[l] |= violated(yi, pi, c) & (wi != R(0));
            if (outputs) {
                const real wf = wi * factor;
                const vgh f = loss(yi, pi, c);
                const real value = wi == R(0) ? R(0) : wi * f.value;
                const real grad = wi == R(0) ? R(0) : wf * f.grad;
                const real hess = wi == R(0) ? R(0) : wf * f.hess;
                if (outputs & FL_SUM)
                    fl_lane_add(&total, l, fl_exact(value));
                if (outputs & FL_VALUE)
                    first[i + l] = value;
                if (outputs & FL_GRAD)
                    *(outputs & FL_VALUE ? &second[i + l] : &first[i + l]) = grad;
                if (outputs & FL_HESS)
                    second[i + l] = hess;
            }
        }
    }
    if (outputs & FL_SUM)
        *sum = fl_all_lanes(&total);
    int any = 0;
    for (int l = 0; l < FL_LANES; l++)
        any |= bad[l];
    return any;
}

#endif
