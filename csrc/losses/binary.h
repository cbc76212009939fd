/* Binary classification: s is a raw score (logit), p a probability. Margin losses take m = y s, y = +-1. */
#ifndef FL_BINARY_H
#define FL_BINARY_H

#include "../kernels/vecmath.h"
#include "regression.h"

/* What logistic formulas are made of: t = e^-|s|, rounded, with what the rounding took (and both lifted), and
 * log1p(t). */
typedef struct {
    pair t, lifted, log1p;
} logit;

static FL_INLINE logit fl_logit(real s)
{
    const pair lifted = fl_exp_minus_parts(fl_fabs(s), R(0)).lifted;
    const pair t = fl_pair(fl_lowered(lifted.hi), fl_lowered(lifted.lo));
    return (logit){ t, lifted, fl_log1p_unit(t.hi, R(0)) };
}

/* c.a = pos_weight. (1-y) softplus(s) + w y softplus(-s): every term is positive, so the tails keep
 * their relative accuracy. `wrong` is the weight of the softplus that grows on this side of 0. Far on the
 * right side value and gradient are the weight times t, and t may be subnormal where they are not. */
static FL_INLINE vgh logistic(real y, real s, params c)
{
    const logit z = fl_logit(s);
    const real size = fl_fabs(s), up = R(1) - y, down = c.a * y, both = up + down;
    const real wrong = s > R(0) ? up : down, right = s > R(0) ? down : up;
    const int deep = size > R(64), tail = deep & (wrong == R(0));
    const real t = tail ? z.lifted.hi : z.t.hi, most = tail ? t : z.log1p.hi,
               unit = tail ? fl_lowered(R(1)) : R(1);
    const real cost = fl_fma(both, z.log1p.lo, wrong * (wrong == R(0) ? R(0) : size));
    const pair sum = fl_fast_sum(R(1), z.t.hi), exact = fl_one_plus_unit(z.t), inverse = fl_inverse(exact);
    const pair slope = fl_ratio(fl_exact(fl_fma(-right, t, wrong)), sum);
    const real steep = unit * (slope.hi + slope.lo);
    const real bend =
        fl_rounded(fl_scale(both, fl_times(fl_select(deep, z.lifted, z.t), fl_times(inverse, inverse))));
    return (vgh){ .value = unit * fl_fma(both, most, cost),
                  .grad = s > R(0) ? steep : -steep,
                  .hess = deep ? fl_lowered(bend) : bend };
}

/* c.a = 1/ln(base). -y log p - (1-y) log(1-p), 0 log 0 = 0. */
static FL_INLINE vgh binary_cross_entropy(real y, real p, params c)
{
    const real up = R(1) - y;
    const pair q = fl_fast_sum(R(1), -p), p1 = fl_exact(p), log_p = fl_log_pair(p, R(0)),
               log_q = fl_log_of(q);
    const pair none = fl_exact(R(0)), one = fl_exact(R(1));
    const pair hit = fl_scale(-y, fl_select(y == R(0), none, log_p));
    const pair miss = fl_scale(-up, fl_select(up == R(0), none, log_q));
    const pair top = fl_select(y == R(0), one, fl_select(y == R(1), fl_negative(one), fl_sum(p, -y)));
    const pair bottom = fl_select(y == R(0), q, fl_select(y == R(1), p1, fl_times(p1, q)));
    const pair hit2 = fl_quotient(fl_quotient(fl_product(c.a, y), p1), p1);
    const pair miss2 = fl_quotient(fl_quotient(fl_product(c.a, up), q), q);
    return (vgh){ .value = fl_rounded(fl_scale(c.a, fl_plus(hit, miss))),
                  .grad = fl_rounded(fl_quotient(fl_scale(c.a, top), bottom)),
                  .hess = fl_rounded(
                      fl_plus(fl_select(y == R(0), none, hit2), fl_select(up == R(0), none, miss2))) };
}

static FL_INLINE vgh hinge(real y, real s, params c)
{
    const real label = fl_margin_label(y), d = R(1) - label * s;
    (void)c;
    return (vgh){ .value = fl_at_least(d, R(0)),
                  .grad = d > R(0)    ? -label
                          : d <= R(0) ? R(0)
                                      : d,
                  .hess = R(0) };
}

static FL_INLINE vgh squared_hinge(real y, real s, params c)
{
    const real label = fl_margin_label(y), d = fl_at_least(R(1) - label * s, R(0));
    (void)c;
    return (vgh){ .value = d * d, .grad = R(-2) * label * d, .hess = d > R(0) ? R(2) : R(0) };
}

/* Squared hinge down to m = -1, then -4m. Zhang (2004). */
static FL_INLINE vgh modified_huber(real y, real s, params c)
{
    const real label = fl_margin_label(y), m = label * s, d = fl_at_least(R(1) - m, R(0));
    const int linear = m < R(-1);
    (void)c;
    return (vgh){ .value = linear ? R(-4) * m : d * d,
                  .grad = label * (linear ? R(-4) : R(-2) * d),
                  .hess = linear     ? R(0)
                          : d > R(0) ? R(2)
                                     : R(0) };
}

static FL_INLINE vgh perceptron(real y, real s, params c)
{
    const real label = fl_margin_label(y), m = label * s;
    (void)c;
    return (vgh){ .value = fl_at_least(-m, R(0)),
                  .grad = m < R(0)    ? -label
                          : m >= R(0) ? R(0)
                                      : m,
                  .hess = R(0) };
}

/* y e^-s + (1-y) e^s */
static FL_INLINE vgh exponential(real y, real s, params c)
{
    const pair down = fl_times_exp(y, fl_exact(-s));
    const pair up = fl_times_exp_of(fl_fast_sum(R(1), -y), fl_exp_parts(fl_exact(s)));
    const real both = fl_rounded(fl_plus(up, down));
    (void)c;
    return (vgh){ .value = both, .grad = fl_rounded(fl_plus(up, fl_negative(down))), .hess = both };
}

/* c.a = gamma, c.b and c.c = the weights of positives and negatives. q^gamma softplus(-m), where
 * p = sigma(m), q = sigma(-m) and q^gamma = e^(-gamma softplus(m)). Lin et al. (2017). */
static FL_INLINE vgh focal(real y, real s, params c)
{
    const real label = fl_margin_label(y), m = label * s, g = c.a;
    const real alpha = label > R(0) ? c.b : c.c;
    const logit z = fl_logit(m);
    const int right = m > R(0);
    const pair one = fl_exact(R(1)), log1p = fl_log1p_pair(z.t);
    const pair loss = fl_plus(fl_exact(fl_at_least(-m, R(0))), log1p); /* softplus(-m) */
    const pair gain = fl_plus(fl_exact(fl_at_least(m, R(0))), log1p);  /* softplus(m) */
    const exp_parts decay = fl_exp_parts(fl_scale(-g, gain));
    const pair power = fl_choose_pair(g == R(0), fl_exact(alpha), fl_times_exp_of(fl_exact(alpha), decay));
    const pair sigma = fl_inverse(fl_one_plus(z.t)), pull = fl_scale(g, loss);
    const pair on_wrong = fl_plus(fl_select(z.t.hi == R(0), fl_exact(R(0)), fl_times(z.t, pull)), one);
    const pair slope = fl_times(fl_select(right, fl_plus(pull, z.t), on_wrong), sigma);
    const pair core = fl_times(power, fl_times(sigma, sigma)), twice = fl_one_plus(fl_product(R(2), g));
    /* on the right side; on the wrong one over t */
    const pair rise = fl_plus(fl_times(twice, z.t), fl_times(pull, fl_plus(fl_exact(g), fl_negative(z.t))));
    const pair bend = fl_plus(twice, fl_times(pull, fl_plus(fl_scale(g, z.t), fl_negative(one))));
    const pair curve = fl_times(core, fl_select(right, rise, fl_times(z.lifted, bend)));
    const real size = fl_rounded(curve);
    return (vgh){ .value = power.hi == R(0) ? R(0) : fl_rounded(fl_times(power, loss)),
                  .grad = power.hi == R(0) ? R(0) : -label * fl_rounded(fl_times(power, slope)),
                  .hess = (power.hi == R(0)) | (!right & (z.lifted.hi == R(0))) ? R(0)
                          : right                                               ? size
                                                                                : fl_lowered(size) };
}

/* (y - p)^2 on probabilities. Brier (1950). */
static FL_INLINE vgh brier(real y, real p, params c) { return squared_error(y, p, c); }

#endif
