/* Binary classification: s is a raw score (logit), p a probability. Margin losses take m = y s, y = +-1. */
#ifndef FL_BINARY_H
#define FL_BINARY_H

#include "../kernels/vecmath.h"
#include "regression.h"

/* What logistic formulas are made of: t = e^-|s| (and lifted), log1p(t) and sigma(|s|) = 1 / (1 + t);
 * sigma(-|s|) is t times that. */
typedef struct {
    real t, lifted, log1p, sigma;
} logit;

static FL_INLINE logit fl_logit(real s)
{
    const real lifted = fl_lifted_exp_minus(fl_fabs(s)), t = fl_lowered(lifted);
    return (logit){ t, lifted, fl_log1p_unit(t), R(1) / (R(1) + t) };
}

/* c.a = pos_weight. (1-y) softplus(s) + w y softplus(-s): every term is positive, so the tails keep
 * their relative accuracy. `wrong` is the weight of the softplus that grows on this side of 0. */
static FL_INLINE vgh logistic(real y, real s, params c)
{
    const logit z = fl_logit(s);
    const real up = R(1) - y, down = c.a * y;
    const real wrong = s > R(0) ? up : down, right = s > R(0) ? down : up;
    const real slope = (wrong - right * z.t) * z.sigma;
    return (vgh){ .value = (up + down) * z.log1p + fl_term(wrong, fl_fabs(s)),
                  .grad = s > R(0) ? slope : -slope,
                  .hess = fl_lowered((up + down) * (z.sigma * z.sigma) * z.lifted) };
}

/* c.a = 1/ln(base). -y log p - (1-y) log(1-p), 0 log 0 = 0. */
static FL_INLINE vgh binary_cross_entropy(real y, real p, params c)
{
    const real up = R(1) - y, q = R(1) - p;
    const real top = y == R(0) ? R(1) : y == R(1) ? R(-1) : p - y;
    const real bottom = y == R(0) ? q : y == R(1) ? p : p * q;
    return (vgh){ .value = c.a * (fl_term(y, -fl_log(p)) + fl_term(up, -fl_log1p(-p))),
                  .grad = c.a * top / bottom,
                  .hess = c.a * ((y == R(0) ? R(0) : y / p / p) + (up == R(0) ? R(0) : up / q / q)) };
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
    const real down = fl_times_exp(y, fl_pair(-s, R(0))), up = fl_times_exp(R(1) - y, fl_pair(s, R(0)));
    (void)c;
    return (vgh){ .value = down + up, .grad = up - down, .hess = down + up };
}

/* c.a = gamma, c.b and c.c = the weights of positives and negatives. q^gamma softplus(-m), where
 * p = sigma(m), q = sigma(-m) and q^gamma = e^(-gamma softplus(m)). Lin et al. (2017). */
static FL_INLINE vgh focal(real y, real s, params c)
{
    const real label = fl_margin_label(y), m = label * s, g = c.a;
    const real alpha = label > R(0) ? c.b : c.c;
    const logit z = fl_logit(m);
    const int right = m > R(0);
    const real loss = z.log1p + fl_at_least(-m, R(0));       /* softplus(-m) */
    const pair gain = fl_sum(fl_at_least(m, R(0)), z.log1p); /* softplus(m) */
    const pair exponent = fl_scale(-g, gain);
    const real power = alpha * fl_choose(g == R(0), R(1), fl_exp_pair(exponent));
    const real pull = g * loss;
    const real slope = right ? (pull + z.t) * z.sigma : (fl_term(z.t, pull) + R(1)) * z.sigma;
    const real core = power * (z.sigma * z.sigma);
    const real bend = (R(2) * g + R(1)) + pull * (g * z.t - R(1)); /* on the wrong side, over t */
    const real curve = right ? core * ((R(2) * g + R(1)) * z.t + pull * (g - z.t))
                             : fl_lowered(fl_term(z.lifted, core * bend));
    return (vgh){ .value = fl_term(power, loss),
                  .grad = fl_term(power, -label * slope),
                  .hess = fl_term(power, R(1)) == R(0) ? R(0) : curve };
}

/* (y - p)^2 on probabilities. Brier (1950). */
static FL_INLINE vgh brier(real y, real p, params c) { return squared_error(y, p, c); }

#endif
