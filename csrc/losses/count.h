/* Counts and positive values with a log link: y_pred is s = log(mean). Terms in y_true alone are dropped. */
#ifndef FL_COUNT_H
#define FL_COUNT_H

#include "kernels/vecmath.h"

/* e^s - y s */
static FL_INLINE vgh poisson(real y, real s, params c)
{
    const exp_parts parts = fl_exp_parts(fl_exact(s));
    const pair e = fl_exp_of(parts);
    const pair value = fl_plus(e, fl_negative(fl_product(y, y == R(0) ? R(0) : s)));
    (void)c;
    return (vgh){ .value = e.hi == FL_INF ? e.hi : fl_rounded(value),
                  .grad = fl_rounded(fl_plus(e, fl_exact(-y))),
                  .hess = fl_exp_rounded(parts) };
}

/* s + y e^-s */
static FL_INLINE vgh gamma(real y, real s, params c)
{
    const pair e = fl_times_exp(y, fl_exact(-s));
    (void)c;
    return (vgh){ .value = e.hi == FL_INF ? e.hi : fl_rounded(fl_plus(e, fl_exact(s))),
                  .grad = fl_rounded(fl_plus(fl_exact(R(1)), fl_negative(e))),
                  .hess = fl_rounded(e) };
}

/* first - second; where both overflow, an infinity with the sign of `winner`, or `winner` itself if it is
 * NaN, as for infinite inputs (the sign of a NaN that is computed differs between x86 and ARM). */
static FL_INLINE real fl_difference(real y, real s, pair first, pair second, real winner)
{
    const real d = fl_rounded(fl_plus(first, fl_negative(second)));
    const int undefined = (d != d) & (y == y) & (s == s);
    return undefined ? winner == winner ? fl_copysign(FL_INF, winner) : winner : d;
}

/* c.a = power q. e^((2-q)s)/(2-q) - y e^((1-q)s)/(1-q); Joergensen (1987). 1 - q and 2 - q are pairs, since s
 * multiplies their rounding errors in the exponents. The first term's limit at q = 2 is s, the second term's
 * at q = 1 is y s. `up` and `back` are the two exponentials divided by the larger of them; where both terms
 * of the value overflow and do not add, 1 - q and 2 - q have the same sign. */
static FL_INLINE vgh tweedie(real y, real s, params c)
{
    const pair one = fl_exact(R(1)), k1 = fl_sum(R(1), -c.a), k2 = fl_sum(R(2), -c.a);
    const exp_parts mean = fl_exp_parts(fl_scale(s, k2)), data = fl_exp_parts(fl_scale(s, k1));
    const int log_mean = k2.hi == R(0), log_data = k1.hi == R(0);
    const pair line = fl_product(y, y == R(0) ? R(0) : s);
    /* 1 - q may be too small for a product with it to overflow by itself */
    const real datum = data.x >= FL_EXP_LIMIT ? fl_term(y, FL_INF) : y,
               bent = y * fl_at_least(fl_fabs(k1.hi), R(1));
    const pair mantissa = fl_mantissa(data.r, data.q);
    const pair raised = fl_scale(datum * fl_times_exp_up(y, data), mantissa);
    const pair curve = fl_times(fl_scale(datum * fl_times_exp_up(bent, data), k1), mantissa);
    const pair first = fl_choose_pair(log_mean, fl_exact(s), fl_times_exp_of(fl_quotient(one, k2), mean));
    const pair second = fl_choose_pair(log_data, line, fl_times_exp_down(fl_quotient(raised, k1), y, data));
    const pair slope = fl_choose_pair(log_mean, one, fl_exp_of(mean));
    const real t = fl_exp(-fl_fabs(s));
    const real up = s > R(0) ? R(1) : t, back = y * (s > R(0) ? t : R(1));
    const real winner = fl_choose(log_data | log_mean, R(1), up * k1.hi - back * k2.hi);
    return (vgh){ .value = fl_difference(y, s, first, second, winner),
                  .grad = fl_difference(y, s, slope, fl_times_exp_down(raised, y, data), up - back),
                  .hess = fl_difference(y, s, fl_times_exp_of(k2, mean), fl_times_exp_down(curve, bent, data),
                                        k2.hi * up - k1.hi * back) };
}

/* c.a = dispersion k. (y + 1/k) log1p(k e^s) - y s = L/k + y (L - s) with L = log1p(k e^s), where
 * L - s = log(k + e^-s) is taken directly once k e^s > 1, and L/k is e^s while k e^s is tiny. */
static FL_INLINE vgh negative_binomial(real y, real s, params c)
{
    const int positive = s > R(0);
    const pair one = fl_exact(R(1)), k = fl_exact(c.a), y1 = fl_exact(y), s1 = fl_exact(s);
    const pair below = fl_exact(-fl_fabs(s));
    const exp_parts parts = fl_exp_parts(below);
    const pair t = fl_exp_of(parts), ke = fl_select(positive, fl_quotient(k, t), fl_scale(c.a, t));
    const int direct = positive & (ke.hi > R(1));
    const pair log_sum = fl_log_of(fl_plus(fl_select(direct, k, one), fl_select(direct, t, ke)));
    const pair l = fl_select(direct, fl_plus(s1, log_sum), log_sum);
    const pair gap = fl_select(direct, log_sum, fl_plus(log_sum, fl_negative(s1)));
    const pair small =
        fl_times(fl_select(positive, fl_quotient(one, t), t), fl_one_plus(fl_exact(R(-0.5) * ke.hi)));
    const pair cost = fl_pair(y == R(0) ? R(0) : gap.hi, y == R(0) ? R(0) : gap.lo);
    const pair base = fl_plus(fl_select(positive, k, one), fl_select(positive, t, fl_scale(c.a, t)));
    const pair miss =
        fl_select(positive, fl_plus(one, fl_negative(fl_scale(y, t))), fl_plus(t, fl_negative(y1)));
    /* 1 + k y; where k >= 1 it is divided by k, and e^s is multiplied by k, so that neither overflows */
    const int less = c.a < R(1);
    const pair rest = fl_choose_pair(less, fl_product(c.a, y), y1);
    const pair weight = fl_plus(fl_choose_pair(less, one, fl_quotient(one, k)), rest);
    const pair first = fl_quotient(weight, base), second = fl_quotient(fl_choose_pair(less, one, k), base);
    /* t may be subnormal, so that the other factors are multiplied first, unless their product leaves the
     * range */
    const pair steep = fl_times(first, second),
               early = fl_times(fl_times_exp_of(first, parts), fl_exact(fl_at_most(second.hi, FL_MAX)));
    return (vgh){ .value = fl_difference(y, s, fl_select(ke.hi < FL_TINY, small, fl_quotient(l, k)),
                                         fl_scale(-y, cost), l.hi - c.a * y * fl_fabs(gap.hi)),
                  .grad = fl_rounded(fl_quotient(miss, base)),
                  .hess = fl_rounded(
                      fl_select(fl_fabs(steep.hi) < FL_INF, fl_times_exp_of(steep, parts), early)) };
}

#endif
