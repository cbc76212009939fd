/* The size of gradients and parameters, and whether they are finite; and what l1 does to a coefficient. */
#ifndef FL_MEASURE_H
#define FL_MEASURE_H

#include <float.h>
#include <math.h>
#include <stddef.h>

typedef struct {
    double norm, largest;
    int finite;
} fl_extent;

/* Multiplies n numbers by a factor, and measures them. Behind them there are zeros up to whole groups of
 * FL_MEASURE_LANES, so that every compiler adds in the same order. */
enum { FL_MEASURE_LANES = 8 };

static inline fl_extent fl_measure(double *x, ptrdiff_t n, double factor)
{
    double squares[FL_MEASURE_LANES] = { 0 }, zeros[FL_MEASURE_LANES] = { 0 },
           largest[FL_MEASURE_LANES] = { 0 }, square = 0, zero = 0, all = 0;
    for (ptrdiff_t j = 0; j < n; j += FL_MEASURE_LANES)
#pragma omp simd
        for (int l = 0; l < FL_MEASURE_LANES; l++) {
            const double g = x[j + l] * factor, size = fabs(g);
            x[j + l] = g;
            squares[l] += g * g;
            zeros[l] += g * 0;
            largest[l] = size > largest[l] ? size : largest[l];
        }
    for (int l = 0; l < FL_MEASURE_LANES; l++) {
        square += squares[l];
        zero += zeros[l];
        all = largest[l] > all ? largest[l] : all;
    }
    double norm = sqrt(square);
    if (norm > DBL_MAX && zero == 0) { /* the squares are too large */
        square = 0;
        for (ptrdiff_t j = 0; j < n; j++)
            square += x[j] / all * (x[j] / all);
        norm = all * sqrt(square);
    }
    return (fl_extent){ norm, all, zero == 0 };
}

/* How many of n numbers are NaN or, in magnitude, above the limit. */
static inline ptrdiff_t fl_count_nonfinite(const double *x, ptrdiff_t n, double limit)
{
    double found = 0; /* a loop that counts in an integer is not vectorised */
#pragma omp simd reduction(+ : found)
    for (ptrdiff_t j = 0; j < n; j++)
        found += fabs(x[j]) <= limit ? 0.0 : 1.0;
    return (ptrdiff_t)found;
}

/* Moves a coefficient by `cut` towards 0, but not beyond. It is also 0 where the cut is NaN, as that of an
 * infinite cut less one is. Without a branch, which would go either way as signs do: in steps on sparse rows
 * it took half of the time. */
static inline double fl_shrunk(double w, double cut)
{
    const double below = cut < w ? cut : w;
    return w - (below < -cut ? -cut : below);
}

#endif
