/* Multiclass: rows of raw scores. f(cost), the cost being -log of the softmax of the true class. */
#ifndef FL_MULTICLASS_H
#define FL_MULTICLASS_H

#include "../kernels/rowwise.h"

static FL_INLINE link softmax_cross_entropy(true_class z, params c)
{
    (void)c;
    return (link){ .value = z.cost, .slope = fl_exact(R(1)) };
}

/* c.a = gamma. q^gamma cost, q^gamma = e^(gamma log q). Lin et al. (2017). Its derivatives have cost / q,
 * which is between 1 and cost + 1. */
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

#endif
