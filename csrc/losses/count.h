/* Counts and positive values with a log link: y_pred is s = log(mean). Terms in y_true alone are dropped. */
#ifndef FL_COUNT_H
#define FL_COUNT_H

#include "../kernels/vecmath.h"

/* e^s - y s */
static FL_INLINE vgh poisson(real y, real s, params c)
{
    const real e = fl_exp(s);
    (void)c;
    return (vgh){ .value = e == FL_INF ? e : e - fl_term(y, s), .grad = e - y, .hess = e };
}

/* s + y e^-s */
static FL_INLINE vgh gamma(real y, real s, params c)
{
    const real e = fl_times_exp(y, fl_pair(-s, R(0)));
    (void)c;
    return (vgh){ .value = e == FL_INF ? e : s + e, .grad = R(1) - e, .hess = e };
}

/* first - second; where both overflow, an infinity with the sign of `winner`. */
static FL_INLINE real fl_difference(real y, real s, real first, real second, real winner)
{
    const real d = first - second;
    const int undefined = (d != d) & (y == y) & (s == s);
    return undefined ? fl_copysign(FL_INF, winner) : d;
}

/* c.a = power q, c.b = 1 - q, c.c = 2 - q. e^((2-q)s)/(2-q) - y e^((1-q)s)/(1-q); Joergensen (1987).
 * The first term's limit at q = 2 is s, the second's at q = 1 is y s. `up` and `back` are the two
 * exponentials over the larger of them. */
static FL_INLINE vgh tweedie(real y, real s, params c)
{
    const exp_parts mean = fl_exp_parts(fl_product(c.c, s)), data = fl_exp_parts(fl_product(c.b, s));
    const real first = fl_choose(c.c == R(0), s, fl_times_exp_of(R(1) / c.c, mean));
    const real second = fl_choose(c.b == R(0), fl_term(y, s), fl_times_exp_of(y / c.b, data));
    const real slope = fl_choose(c.c == R(0), R(1), fl_exp_of(mean));
    const real t = fl_lowered(fl_lifted_exp_minus(fl_fabs(s)));
    const real up = s > R(0) ? R(1) : t, back = y * (s > R(0) ? t : R(1));
    const real winner = fl_choose((c.b == R(0)) | (c.c == R(0)), R(1), up / c.c - back / c.b);
    return (vgh){ .value = fl_difference(y, s, first, second, winner),
                  .grad = fl_difference(y, s, slope, fl_times_exp_of(y, data), up - back),
                  .hess = fl_difference(y, s, fl_times_exp_of(c.c, mean), fl_times_exp_of(c.b * y, data),
                                        c.c * up - c.b * back) };
}

/* c.a = dispersion k. (y + 1/k) log1p(k e^s) - y s = L/k + y (L - s) with L = log1p(k e^s), where
 * L - s = log(k + e^-s) is taken directly once k e^s > 1. */
static FL_INLINE vgh negative_binomial(real y, real s, params c)
{
    const int positive = s > R(0);
    const pair below = fl_pair(-fl_fabs(s), R(0));
    const real t = fl_exp_pair(below), ke = positive ? c.a / t : c.a * t;
    const int direct = positive & (ke > R(1));
    const real log_sum = fl_log_sum(direct ? c.a : R(1), direct ? t : ke).hi;
    const real l = direct ? s + log_sum : log_sum, gap = direct ? log_sum : log_sum - s;
    const real w = R(1) / (positive ? t + c.a : R(1) + ke);
    return (vgh){ .value = l / c.a + fl_term(y, gap),
                  .grad = (positive ? R(1) - y * t : t - y) * w,
                  .hess = fl_times_exp((R(1) + c.a * y) * w, below) * w };
}

#endif
