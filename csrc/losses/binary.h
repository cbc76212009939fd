/* Binary classification: s is a raw score (logit), p a probability. Margin losses take m = y s, y = +-1. */
#ifndef FL_BINARY_H
#define FL_BINARY_H

#include "kernels/vecmath.h"
#include "losses/regression.h"

/* The parts of the logistic formulas: t = e^-|s| as it is added to 1 (0 where it is deep), log1p(t), and t in
 * the form in which it can be multiplied (fl_tail). */
typedef struct {
    pair t, log1p;
    tail far;
} logit;

static FL_INLINE logit fl_logit(real s)
{
    const tail far = fl_tail(fl_fabs(s));
    const pair t = fl_select(far.deep, fl_exact(R(0)), far.t);
    return (logit){ t, fl_log1p_unit(t.hi, R(0)), far };
}

/* c.a = pos_weight. (1-y) softplus(s) + w y softplus(-s): every term is positive, so the tails keep
 * their relative accuracy. `wrong` is the weight of the softplus that grows on this side of 0. */
static FL_INLINE vgh logistic(real y, real s, params c)
{
    const logit z = fl_logit(s);
    const int deep = z.far.deep;
    const real size = fl_fabs(s), up = R(1) - y, down = c.a * y, both = up + down;
    const real wrong = s > R(0) ? up : down, right = s > R(0) ? down : up;
    const real first = z.far.first, t = z.far.t.hi, second = z.far.second;
    const real cost = fl_fma(both, z.log1p.lo, wrong * (wrong == R(0) ? R(0) : size));
    const real most = deep ? both * first * t : both, unit = deep ? second : z.log1p.hi;
    const real less = deep ? right * first * t : right, other = deep ? second : t;
    const pair sum = fl_fast_sum(R(1), z.t.hi), inverse = fl_inverse(fl_one_plus_unit(z.t));
    const pair slope = fl_ratio(fl_exact(fl_fma(-less, other, wrong)), sum);
    const real steep = slope.hi + slope.lo;
    const pair bend = fl_scale(both * first, fl_times(z.far.t, fl_times(inverse, inverse)));
    return (vgh){ .value = fl_fma(most, unit, cost),
                  .grad = s > R(0) ? steep : -steep,
                  .hess = second * fl_rounded(bend) };
}

/* c.a = 1/ln(base). -y log p - (1-y) log(1-p), 0 log 0 = 0. */
static FL_INLINE vgh binary_cross_entropy(real y, real p, params c)
{
    const real up = R(1) - y, lift = FL_TWO_TO(2 * FL_MANTISSA), y_lifted = lift * y, p_lifted = lift * p;
    const pair q = fl_fast_sum(R(1), -p), p1 = fl_exact(p), log_p = fl_log_pair(p, R(0)),
               log_q = fl_log_of(q);
    const pair none = fl_exact(R(0)), one = fl_exact(R(1));
    const pair hit = fl_scale(-y, fl_select(y == R(0), none, log_p));
    const pair miss = fl_scale(-up, fl_select(up == R(0), none, log_q));
    const pair top =
        fl_select(y == R(0), one, fl_select(y == R(1), fl_negative(one), fl_sum(p_lifted, -y_lifted)));
    const pair bottom = fl_select(y == R(0), q, fl_select(y == R(1), p1, fl_times(fl_exact(p_lifted), q)));
    const pair hit2 = fl_quotient(fl_quotient(fl_product(c.a, y_lifted), p1), fl_exact(p_lifted));
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

/* c.a = gamma, c.b and c.c = the weights of positives and negatives. q^gamma softplus(-m), where p =
 * sigma(m), q = sigma(-m) and q^gamma = e^(-gamma softplus(m)). Lin et al. (2017). The power is multiplied
 * last: where it is not 0, gamma is small on the right side (m > 0), and gamma t on the wrong one. Both steps
 * that undo the lift of t are left for the end on the right side, and the second step on the wrong one. */
static FL_INLINE vgh focal(real y, real s, params c)
{
    const real label = fl_margin_label(y), m = label * s, g = c.a;
    const real alpha = label > R(0) ? c.b : c.c;
    const int right = m > R(0);
    const logit z = fl_logit(m);
    const tail far = z.far;
    const real first = right ? R(1) : far.first, second = right ? R(1) : far.second;
    const pair one = fl_exact(R(1)), none = fl_exact(R(0)), log1p = fl_log1p_pair(z.t);
    const pair loss = fl_plus(fl_exact(fl_at_least(-m, R(0))), fl_select(right & far.deep, far.t, log1p));
    const pair gain = fl_plus(fl_exact(fl_at_least(m, R(0))), log1p); /* softplus(m) */
    const pair gt = fl_scale(g * first, far.t), x = fl_pair(gt.hi * second, gt.lo * second);
    const pair exponent = fl_select(right | !far.deep, fl_scale(g, gain), x);
    const exp_parts power = fl_exp_parts(fl_negative(fl_choose_pair(g == R(0), none, exponent)));
    const pair sigma = fl_inverse(fl_one_plus(z.t)), most = fl_scale(alpha, sigma);
    const pair factor = fl_select(right, fl_exact(g), gt);
    const pair pull = fl_select(factor.hi == R(0), none, fl_times(factor, loss));
    const pair slope = fl_plus(fl_pair(pull.hi * second, pull.lo * second), fl_select(right, far.t, one));
    const pair other = fl_plus(fl_select(right, fl_exact(g), x), fl_negative(fl_select(right, z.t, one)));
    const pair bend = fl_plus(fl_times(pull, other), fl_times(fl_sum(R(2) * (g * first), first), far.t));
    const pair value = fl_times_exp_of(fl_scale(alpha, fl_select(alpha == R(0), none, loss)), power);
    const pair grad = fl_times_exp_of(fl_times(most, slope), power);
    const pair hess = fl_times_exp_of(fl_times(most, fl_times(sigma, bend)), power);
    const real step = right ? far.first : R(1), last = right ? far.second : R(1);
    return (vgh){ .value = fl_rounded(value) * step * last,
                  .grad = -label * fl_rounded(grad) * step * last,
                  .hess = fl_rounded(hess) * step * far.second };
}

/* (y - p)^2 on probabilities. Brier (1950). */
static FL_INLINE vgh brier(real y, real p, params c) { return squared_error(y, p, c); }

#endif
