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
    const real e = fl_exp_times(y, (pair){ -s, R(0) });
    (void)c;
    return (vgh){ .value = e == FL_INF ? e : s + e, .grad = R(1) - e, .hess = e };
}

/* c.a = power q, c.b = 1 - q, c.c = 2 - q. e^((2-q)s)/(2-q) - y e^((1-q)s)/(1-q); Joergensen (1987).
 * The first term's limit at q = 2 is s, the second's at q = 1 is y s. Where both terms overflow, the
 * one with the larger exponent wins: the value and the curvature go to +inf, the slope to +-inf. */
static FL_INLINE vgh tweedie(real y, real s, params c)
{
    const int flat_mean = c.c == R(0), flat_data = c.b == R(0);
    const real mean = fl_choose(flat_mean, R(1), fl_exp_pair(fl_product(c.c, s)));
    const real data = fl_exp_times(y, fl_product(c.b, s));
    const int mean_over = mean == FL_INF, data_over = data == FL_INF;
    const real first = fl_choose(flat_mean, s, mean / c.c);
    const real second = fl_choose(flat_data, fl_term(y, s), data / c.b);
    return (vgh){ .value = mean_over | data_over ? FL_INF : first - second,
                  .grad = mean_over & data_over ? fl_copysign(FL_INF, s) : mean - data,
                  .hess = mean_over | data_over ? FL_INF : c.c * mean - c.b * data };
}

/* c.a = dispersion k. (y + 1/k) log1p(k e^s) - y s = L/k + y (L - s) with L = log1p(k e^s), where
 * L - s = log(k + e^-s) is taken directly once k e^s > 1. */
static FL_INLINE vgh negative_binomial(real y, real s, params c)
{
    const int positive = s > R(0);
    const real t = fl_exp_minus(fl_fabs(s)), ke = positive ? c.a / t : c.a * t;
    const int direct = positive & (ke > R(1));
    const real log_sum = fl_log_sum(direct ? c.a : R(1), direct ? t : ke).hi;
    const real l = direct ? s + log_sum : log_sum, gap = direct ? log_sum : log_sum - s;
    const real w = R(1) / (positive ? t + c.a : R(1) + ke);
    return (vgh){ .value = l / c.a + fl_term(y, gap),
                  .grad = (positive ? R(1) - y * t : t - y) * w,
                  .hess = t * (R(1) + c.a * y) * w * w };
}

#endif
