/* Arithmetic on unevaluated sums hi + lo, which have about twice the working precision, so that a formula of
 * many steps is rounded once, at its end. Where hi is not finite, lo is not either, and is ignored.
 *
 * The algorithms are those of Dekker (1971), Knuth, and Joldes, Muller & Popescu (2017). The results of
 * fl_plus, fl_times and fl_quotient are right to a few units in the last place of lo. */
#ifndef FL_PAIR_H
#define FL_PAIR_H

#include "kernels/real.h"

/* For x below this, terms in x^2 are lost to rounding when they are added to 1. */
#define FL_TINY (R(1) / (real)((bits)1 << (FL_MANTISSA + 2)))

/* `unused` makes it as wide as vgh, for the reason given there. */
typedef struct {
    real hi, lo, unused[3];
} pair;

static FL_INLINE pair fl_pair(real hi, real lo) { return (pair){ .hi = hi, .lo = lo }; }
static FL_INLINE pair fl_exact(real x) { return (pair){ .hi = x }; }
static FL_INLINE pair fl_negative(pair a) { return fl_pair(-a.hi, -a.lo); }
static FL_INLINE real fl_rounded(pair a)
{
    const real sum = a.hi + a.lo;
    return sum == sum ? sum : a.hi;
}

static FL_INLINE pair fl_sum(real a, real b)
{
    const real s = a + b;
    return fl_pair(s, fl_sum_error(a, b, s));
}

/* For |a| >= |b|, or a = 0. */
static FL_INLINE pair fl_fast_sum(real a, real b)
{
    const real s = a + b;
    return fl_pair(s, b - (s - a));
}

static FL_INLINE pair fl_product(real a, real b)
{
    const real p = a * b;
    return fl_pair(p, fl_product_error(a, b, p));
}

static FL_INLINE pair fl_plus(pair a, pair b)
{
    const pair s = fl_sum(a.hi, b.hi);
    return fl_pair(s.hi, s.lo + (a.lo + b.lo));
}

static FL_INLINE pair fl_times(pair a, pair b)
{
    const pair p = fl_product(a.hi, b.hi);
    return fl_pair(p.hi, fl_fma(a.hi, b.lo, fl_fma(a.lo, b.hi, p.lo)));
}

/* The product a b as one number, for the last step of a formula. It needs no exact product, which costs 17
 * operations where there is no fused multiply-add. */
static FL_INLINE real fl_times_rounded(pair a, pair b)
{
    const real low = fl_fma(a.hi, b.lo, a.lo * b.hi);
    return fl_fma(a.hi, b.hi, fl_fabs(low) < FL_INF ? low : R(0));
}

static FL_INLINE pair fl_scale(real w, pair a)
{
    const pair p = fl_product(w, a.hi);
    return fl_pair(p.hi, fl_fma(w, a.lo, p.lo));
}

/* 1 + a for a finite a. The result is normalised, since most of it may cancel. */
static FL_INLINE pair fl_one_plus(pair a)
{
    const pair s = fl_sum(R(1), a.hi);
    return fl_fast_sum(s.hi, s.lo + a.lo);
}

/* 1 + a for 0 <= a <= 1. */
static FL_INLINE pair fl_one_plus_unit(pair a)
{
    const pair s = fl_fast_sum(R(1), a.hi);
    return fl_pair(s.hi, s.lo + a.lo);
}

/* n - q d, where q is n/d up to some rounding errors. */
static FL_INLINE real fl_remainder(pair n, real q, pair d)
{
#if FL_HAS_FMA
    return fl_fma(-q, d.hi, n.hi) + fl_fma(-q, d.lo, n.lo);
#else
    const pair back = fl_product(q, d.hi);
    return ((n.hi - back.hi) - back.lo) + (n.lo - q * d.lo);
#endif
}

/* n/d, for any d. */
static FL_INLINE pair fl_quotient(pair n, pair d)
{
    const real q = n.hi / d.hi, lo = fl_remainder(n, q, d) / d.hi;
    return fl_pair(q, fl_fabs(lo) < FL_INF ? lo : R(0)); /* lo is not finite where n, d or q is infinite */
}

/* n/d for a d that is not far from 1, with one division instead of two. */
static FL_INLINE pair fl_ratio(pair n, pair d)
{
    const real inverse = R(1) / d.hi, q = n.hi * inverse;
    return fl_pair(q, inverse * fl_remainder(n, q, d));
}

static FL_INLINE pair fl_inverse(pair d) { return fl_ratio(fl_exact(R(1)), d); }

static FL_INLINE pair fl_root(pair a)
{
    const real s = fl_sqrt(a.hi);
    const pair back = fl_product(s, s);
    return fl_pair(s, (((a.hi - back.hi) - back.lo) + a.lo) / (s + s));
}

static FL_INLINE pair fl_magnitude(pair a) { return fl_pair(fl_fabs(a.hi), a.hi < R(0) ? -a.lo : a.lo); }

static FL_INLINE pair fl_select(int yes, pair a, pair b)
{
    return fl_pair(yes ? a.hi : b.hi, yes ? a.lo : b.lo);
}

static FL_INLINE pair fl_choose_pair(int yes, pair a, pair b)
{
    return fl_pair(fl_choose(yes, a.hi, b.hi), fl_choose(yes, a.lo, b.lo));
}

#endif
