/* Multiclass losses: of rows of raw scores, or of probabilities. The kinds in the registry say how the terms
 * of a row are put together:
 *
 *   softmax                     a function of the true class's probability in the softmax of the row
 *   log_softmax                 the same, where the exponentials need fewer digits
 *   collision                   a function of that and of the sum of the squares of all probabilities
 *   all_classes, distributions  a sum of terms over the classes
 *   other_classes               a mean over the classes, without a term of the true one
 *   rivals                      a function of the largest score of the other classes */
#ifndef FL_MULTICLASS_H
#define FL_MULTICLASS_H

#include "kernels/rows/collision.h"
#include "kernels/rows/rowsum.h"
#include "losses/residual.h"

static FL_INLINE link softmax_cross_entropy(true_class z, params c)
{
    (void)c;
    return (link){ .value = z.cost, .slope = fl_exact(R(1)) };
}

/* c.a = gamma. q^gamma cost, with q^gamma = e^(gamma log q). Lin et al. (2017). The derivatives contain cost
 * / q, which is between 1 and cost + 1. */
static FL_INLINE link softmax_focal(true_class z, params c)
{
    const pair one = fl_exact(R(1)), g = fl_exact(c.a);
    const pair odds = fl_select(z.p.hi < R(0.5), fl_quotient(z.p, z.q), one);
    const pair log_q = fl_select(z.p.hi < R(0.5), fl_negative(fl_log1p_pair(odds)), fl_log_of(z.q));
    const pair power = fl_choose_pair(c.a == R(0), one, fl_exp_of(fl_exp_parts(fl_times(g, log_q))));
    const pair pull =
        fl_select((z.q.hi == R(0)) | (z.p.hi == R(0)), z.p, fl_times(z.p, fl_quotient(z.cost, z.q)));
    const pair twice = fl_times(fl_scale(R(2), z.p), z.q);
    const pair bend =
        fl_plus(twice, fl_times(fl_times(pull, z.q), fl_plus(fl_times(g, z.p), fl_exact(R(-1)))));
    return (link){ .value = fl_times(power, z.cost),
                   .slope = fl_times(power, fl_plus(one, fl_times(g, pull))),
                   .bend = fl_select(z.q.hi == R(0), fl_exact(R(0)),
                                     fl_times(power, fl_times(g, fl_quotient(bend, z.q)))) };
}

/* c.a = epsilon. cost + epsilon (1 - p) = (1 + epsilon) q + (cost - q): epsilon may be -1, and the last term
 * is a series where q is small. Leng et al. (2022). */
static FL_INLINE link poly1(true_class z, params c)
{
    const real q = z.q.hi, edge = FL_BITS == 32 ? R(0x1p-11) : R(0x1p-26);
    const real series = fl_fma(q, fl_fma(q, R(0.25), R(1) / R(3)), R(0.5));
    const pair excess =
        fl_select(q < edge, fl_scale(series, fl_times(z.q, z.q)), fl_plus(z.cost, fl_negative(z.q)));
    const pair lean = fl_scale(c.a, z.p), both = fl_sum(R(1), c.a);
    return (link){ .value = fl_plus(fl_times(both, z.q), excess),
                   .slope = fl_select(q < R(0.5), fl_plus(both, fl_scale(-c.a, z.q)), fl_one_plus(lean)),
                   .bend = fl_negative(fl_times(lean, z.q)) };
}

/* c.a = q. (1 - p^q) / q. Zhang & Sabuncu (2018). */
static FL_INLINE link generalized_cross_entropy(true_class z, params c)
{
    const exp_parts e = fl_exp_parts(fl_scale(-c.a, z.cost));
    const pair one = fl_exact(R(1)), power = fl_choose_pair(c.a == R(0), one, fl_exp_of(e));
    const pair less = fl_quotient(fl_negative(fl_expm1_of(e)), fl_exact(c.a));
    const int slight = z.cost.hi < FL_TINY; /* the product with q may be subnormal */
    return (link){ .value = fl_choose_pair(c.a == R(0), z.cost, fl_select(slight, z.cost, less)),
                   .slope = power,
                   .bend = fl_scale(-c.a, fl_times(power, z.q)) };
}

/* ---- the losses of Janocha & Czarnecki (2017) on one-hot rows ------------------------------------------ */

/* sum_k |p_k - y_k| = 2 (1 - p) */
static FL_INLINE link expectation_l1(true_class z, params c)
{
    const pair twice = fl_scale(R(2), z.p);
    (void)c;
    return (link){ .value = fl_scale(R(2), z.q), .slope = twice, .bend = fl_negative(fl_times(twice, z.q)) };
}

/* max_k |p_k - y_k| = 1 - p */
static FL_INLINE link chebyshev(true_class z, params c)
{
    (void)c;
    return (link){ .value = z.q, .slope = z.p, .bend = fl_negative(fl_times(z.p, z.q)) };
}

/* (log p)^2 */
static FL_INLINE link squared_log(true_class z, params c)
{
    const pair twice = fl_scale(R(2), z.cost);
    const int beyond = (twice.hi == FL_INF) & (z.cost.hi < FL_INF); /* inf would be multiplied by a p of 0 */
    (void)c;
    return (link){ .value = fl_times(z.cost, z.cost),
                   .slope = fl_select(beyond, fl_exact(FL_MAX), twice),
                   .bend = fl_scale(R(2), z.q) };
}

/* p V, lifted, from lifted p and V. The smaller factor stays lifted, so that it loses no digits below the
 * normal range. */
static FL_INLINE pair fl_lifted_product(pair p, pair v)
{
    return fl_select(v.hi < p.hi, fl_times(fl_pair_lowered(p), v), fl_times(p, fl_pair_lowered(v)));
}

/* sum_k (p_k - y_k)^2 = q^2 + sum of the others' p_k^2 = V. The derivatives by s_t are -2 p V and 2 p V (2p -
 * q); the gradient by another score is 2 u (u + p - Q), where u is its class's probability. */
static FL_INLINE collision_link expectation_l2(collision z)
{
    const pair p = fl_pair_lowered(z.p), q = fl_pair_lowered(z.q), away = fl_pair_lowered(z.miss);
    const pair value = fl_plus(fl_times(z.q, q), z.others), share = fl_lifted_product(z.p, value);
    const pair lead = fl_plus(fl_times(p, q), fl_negative(fl_pair_lowered(z.others)));
    const pair part = fl_times(z.top, z.miss), lead_top = fl_plus(part, fl_negative(z.rest));
    const pair bend = fl_plus(fl_times(z.p, fl_plus(fl_scale(R(2), away), fl_exact(R(-1)))),
                              fl_times(lead_top, fl_plus(fl_scale(R(3), away), fl_exact(R(-2)))));
    const pair linear =
        fl_plus(fl_scale(R(2), fl_plus(fl_exact(R(1)), fl_negative(p))), fl_scale(R(3), z.both));
    const pair twice = fl_scale(R(2), z.top);
    return (collision_link){ .value = fl_pair_lowered(value),
                             .grad_mine = fl_scale(R(-2), share),
                             .hess_mine =
                                 fl_scale(R(2), fl_times(share, fl_plus(fl_scale(R(2), p), fl_negative(q)))),
                             .grad_top = fl_times(twice, fl_plus(lead_top, z.p)),
                             .hess_top = fl_times(twice, fl_plus(part, bend)),
                             .g0 = fl_scale(R(2), lead),
                             .g1 = fl_exact(R(2)),
                             .h0 = fl_scale(R(2), lead),
                             .h1 = fl_scale(R(2), linear),
                             .h2 = fl_exact(R(-8)),
                             .h3 = fl_exact(R(0)) };
}

/* -p / D with D = q + Q. With V as above, the gradient by s_t is -p (1 + p) V / D^2, and by another score u p
 * (1 - Q + 2u) / D^2. */
static FL_INLINE collision_link tanimoto(collision z)
{
    const pair one = fl_exact(R(1)), p = fl_pair_lowered(z.p), q = fl_pair_lowered(z.q);
    const pair lead = fl_plus(fl_times(p, q), fl_negative(fl_pair_lowered(z.others)));
    const pair inverse = fl_inverse(fl_plus(q, z.both)), square = fl_times(inverse, inverse);
    const pair share = fl_times(fl_lifted_product(z.p, fl_plus(fl_times(z.q, q), z.others)), square);
    const pair more = fl_plus(one, p);
    const pair turn = fl_plus(one, fl_times(fl_plus(fl_scale(R(2), lead), fl_negative(q)), inverse));
    const pair bend = fl_plus(fl_times(q, fl_plus(one, fl_scale(R(2), p))),
                              fl_scale(R(-2), fl_times(fl_times(p, more), turn)));
    const pair apart = fl_pair_lowered(fl_plus(fl_times(z.miss, fl_plus(one, z.top)), fl_negative(z.rest)));
    const pair lack = fl_plus(p, fl_scale(R(-2), z.both)); /* apart is 1 - Q */
    const pair linear = fl_plus(fl_plus(fl_exact(R(2)), fl_scale(R(4), z.both)),
                                fl_scale(R(-2), fl_times(inverse, fl_times(apart, lack))));
    const pair quadratic = fl_plus(fl_exact(R(-8)), fl_scale(R(-4), fl_times(inverse, fl_plus(apart, lack))));
    const pair cubic = fl_scale(R(-8), inverse), at = z.top;
    const pair pull = fl_times(p, square), pull_top = fl_times(at, fl_times(z.p, square));
    const pair upper = fl_plus(linear, fl_times(at, fl_plus(quadratic, fl_times(at, cubic))));
    return (collision_link){ .value = fl_negative(fl_pair_lowered(fl_times(z.p, inverse))),
                             .grad_mine = fl_negative(fl_times(share, more)),
                             .hess_mine = fl_negative(fl_times(share, bend)),
                             .grad_top = fl_times(pull_top, fl_plus(apart, fl_scale(R(2), at))),
                             .hess_top = fl_times(pull_top, fl_plus(apart, fl_times(at, upper))),
                             .g0 = fl_times(pull, apart),
                             .g1 = fl_scale(R(2), pull),
                             .h0 = fl_times(pull, apart),
                             .h1 = fl_times(pull, linear),
                             .h2 = fl_times(pull, quadratic),
                             .h3 = fl_times(pull, cubic) };
}

/* -log(p / sqrt(Q)). It is half the cross-entropy of the doubled scores, whose softmax is u^2 / Q. */
static FL_INLINE collision_link cauchy_schwarz(collision z)
{
    const pair inverse = fl_inverse(z.both), lead = fl_inverse(z.level), twice = fl_scale(R(2), inverse);
    const pair none = fl_exact(R(0)), lost = fl_times(z.others, inverse),
               kept = fl_times(fl_times(z.p, fl_pair_lowered(z.p)), twice);
    return (collision_link){ .value = fl_plus(z.gap, fl_scale(R(0.5), fl_log_of(z.level))),
                             .grad_mine = fl_negative(lost),
                             .hess_mine = fl_times(kept, fl_pair_lowered(lost)),
                             .grad_top = fl_scale(FL_LIFTED_ONE, lead),
                             .hess_top = fl_times(lead, fl_times(z.rest, twice)),
                             .g0 = none,
                             .g1 = inverse,
                             .h0 = none,
                             .h1 = twice,
                             .h2 = none,
                             .h3 = fl_negative(fl_times(twice, inverse)) };
}

static FL_INLINE vgh one_hot_l1(real y, real s, real mine, params c)
{
    (void)mine, (void)c;
    return fl_absolute_residual(s - y);
}

static FL_INLINE vgh one_hot_l2(real y, real s, real mine, params c)
{
    (void)mine, (void)c;
    return fl_squared_residual(s - y);
}

/* The margin, which should be above 1/2: the score s of the true class, and -s of the others. It is NaN where
 * y is NaN, which the comparison alone would take for 0. */
static FL_INLINE real fl_one_hot_margin(real y, real s) { return (y > R(0.5) ? s : -s) + (y - y); }

static FL_INLINE real fl_one_hot_gap(real y, real s)
{
    return fl_at_least(R(0.5) - fl_one_hot_margin(y, s), R(0));
}

static FL_INLINE vgh one_hot_hinge(real y, real s, real mine, params c)
{
    const real u = fl_one_hot_gap(y, s), side = y > R(0.5) ? R(-1) : R(1);
    (void)mine, (void)c;
    return (vgh){ .value = u, .grad = u > R(0) ? side : u };
}

static FL_INLINE vgh one_hot_squared_hinge(real y, real s, real mine, params c)
{
    const real u = fl_one_hot_gap(y, s), side = y > R(0.5) ? R(-2) : R(2);
    (void)mine, (void)c;
    return (vgh){ .value = u * u, .grad = side * u, .hess = u > R(0) ? R(2) : u };
}

static FL_INLINE vgh one_hot_cubed_hinge(real y, real s, real mine, params c)
{
    const pair gap = fl_sum(R(0.5), -fl_one_hot_margin(y, s));
    const pair u = fl_select(gap.hi < R(0), fl_exact(R(0)), gap), square = fl_times(u, u);
    (void)mine, (void)c;
    return (vgh){ .value = fl_times_rounded(square, u),
                  .grad = (y > R(0.5) ? R(-1) : R(1)) * fl_rounded(fl_scale(R(3), square)),
                  .hess = R(6) * u.hi };
}

/* ---- margins ------------------------------------------------------------------------------------------- */

/* c.a = margin, c.b = 1 where the power is 2. (margin - s_t + s_k)_+^p. Weston & Watkins (1999). */
static FL_INLINE vgh multi_margin(real y, real s, real mine, params c)
{
    const real gap = fl_rounded(fl_plus(fl_sum(s, -mine), fl_exact(c.a))), u = fl_at_least(gap, R(0));
    const int square = c.b == R(1);
    const real step = u > R(0) ? R(1) : u;
    (void)y;
    return (vgh){ .value = fl_choose(square, u * u, u),
                  .grad = fl_choose(square, R(2) * u, step),
                  .hess = fl_choose(square, R(2) * step, R(0)) };
}

/* ---- probabilities ------------------------------------------------------------------------------------- */

/* c.a = 1/ln(base). -y log p; 0 log 0 = 0. */
static FL_INLINE vgh cross_entropy(real y, real p, real mine, params c)
{
    const int none = y == R(0);
    const real zero = p - p; /* NaN where p is not finite */
    const pair slope = fl_quotient(fl_product(c.a, y), fl_exact(p));
    (void)mine;
    return (vgh){ .value =
                      fl_choose(none, zero, -fl_rounded(fl_scale(c.a, fl_scale(y, fl_log_pair(p, R(0)))))),
                  .grad = none ? zero : -fl_rounded(slope),
                  .hess = none ? zero : fl_rounded(fl_quotient(slope, fl_exact(p))) };
}

/* log(y/p); y/p itself may overflow for a subnormal p. */
static FL_INLINE pair fl_log_ratio(real y, real p)
{
    const real lift = R((bits)1 << (FL_MANTISSA + 2)),
               log_lift = R(FL_MANTISSA + 2) * R(0.693147180559945309417);
    const int low = p < FL_MIN_NORMAL;
    const pair ratio = fl_quotient(fl_exact(y), fl_exact(low ? p * lift : p));
    return fl_plus(fl_log_of(ratio), fl_exact(low ? log_lift : R(0)));
}

/* y log(y/p) */
static FL_INLINE vgh kl_divergence(real y, real p, real mine, params c)
{
    const int none = y == R(0);
    const real zero = p - p; /* NaN where p is not finite */
    const pair ratio = fl_quotient(fl_exact(y), fl_exact(p));
    (void)mine, (void)c;
    return (vgh){ .value = fl_choose(none, zero, fl_rounded(fl_scale(y, fl_log_ratio(y, p)))),
                  .grad = none ? zero : -fl_rounded(ratio),
                  .hess = none ? zero : fl_rounded(fl_quotient(ratio, fl_exact(p))) };
}

/* (y log(y/m) + p log(p/m)) / 2, m = (y + p) / 2. With t = (y - p) / (y + p) it is m/2 (t log(y/p) + log(1 -
 * t^2)), and nothing cancels but a third. Lin (1991). */
static FL_INLINE vgh js_divergence(real y, real p, real mine, params c)
{
    const int no_label = y == R(0), no_score = p == R(0);
    const pair sum = fl_sum(y, p), t = fl_quotient(fl_sum(y, -p), sum), square = fl_times(t, t);
    const pair log_ratio = fl_log_ratio(y, p);
    const pair inner = fl_log_of(fl_one_plus(fl_negative(square)));
    const int far = fl_fabs(log_ratio.hi) > R(80); /* then 1 - t^2 may be subnormal */
    const pair both = fl_scale(R(0.25), fl_times(sum, fl_plus(fl_times(t, log_ratio), inner)));
    const pair share = fl_quotient(fl_exact(R(2) * p), sum);
    const real half_log_2 = R(0.34657359027997265471), alone = half_log_2 * (y + p);
    (void)mine, (void)c;
    return (vgh){
        .value = no_label | no_score | far ? alone : fl_rounded(both),
        .grad = no_label   ? half_log_2
                : no_score ? -FL_INF
                           : R(0.5) * fl_rounded(fl_log_of(share)),
        .hess = no_label ? R(0) : fl_rounded(fl_quotient(fl_quotient(fl_exact(R(0.5) * y), sum), fl_exact(p)))
    };
}

/* |y - p| / 2 */
static FL_INLINE vgh tv_distance(real y, real p, real mine, params c)
{
    const vgh f = fl_absolute_residual(p - y);
    (void)mine, (void)c;
    return (vgh){ .value = R(0.5) * f.value, .grad = R(0.5) * f.grad };
}

#endif
