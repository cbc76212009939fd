/* Regression losses, which are functions of r = y_pred - y_true. r is a pair where a rounded r would cost the
 * result more than 2 ULP. */
#ifndef FL_REGRESSION_H
#define FL_REGRESSION_H

#include "kernels/vecmath.h"
#include "losses/residual.h"

static FL_INLINE vgh squared_error(real y, real p, params c)
{
    (void)c;
    return fl_squared_residual(p - y);
}

static FL_INLINE vgh half_squared_error(real y, real p, params c)
{
    const real r = p - y;
    (void)c;
    return (vgh){ .value = R(0.5) * r * r, .grad = r, .hess = R(1) };
}

static FL_INLINE vgh absolute_error(real y, real p, params c)
{
    (void)c;
    return fl_absolute_residual(p - y);
}

/* |r| - bound */
static FL_INLINE real fl_beyond(pair r, real bound)
{
    return fl_rounded(fl_plus(fl_magnitude(r), fl_exact(-bound)));
}

/* k (r - k/2) with k = r clipped to [-delta, delta]: r^2/2 within, delta (|r| - delta/2) outside. */
static FL_INLINE pair fl_huber(pair r, real k)
{
    const pair gap = fl_fast_sum(r.hi, R(-0.5) * k);
    return fl_scale(k, fl_pair(gap.hi, gap.lo + (r.hi == k ? R(0) : r.lo)));
}

/* c.a = delta. Huber (1964). */
static FL_INLINE vgh huber(real y, real p, params c)
{
    const pair r = fl_sum(p, -y);
    const real k = fl_clip(r.hi, -c.a, c.a);
    return (vgh){ .value = fl_rounded(fl_huber(r, k)),
                  .grad = k,
                  .hess = fl_beyond(r, c.a) > R(0) ? R(0) : R(1) };
}

/* c.a = beta. huber(beta) / beta; beta = 0 is the absolute error. */
static FL_INLINE vgh smooth_l1(real y, real p, params c)
{
    const pair r = fl_sum(p, -y), gap = fl_fast_sum(r.hi, R(-0.5) * fl_clip(r.hi, -c.a, c.a));
    const pair ratio = fl_quotient(r, fl_exact(c.a));
    const int inside = fl_beyond(r, c.a) <= R(0);
    const real slope = inside ? ratio.hi : fl_sign(r.hi);
    const pair rest = fl_pair(gap.hi, gap.lo + (inside ? R(0.5) : R(1)) * r.lo);
    const pair value = fl_times(fl_pair(slope, inside ? ratio.lo : R(0)), rest);
    const int absolute = c.a == R(0);
    return (vgh){ .value = fl_choose(absolute, fl_fabs(r.hi), fl_rounded(value)),
                  .grad = fl_choose(absolute, fl_sign(r.hi), inside ? fl_rounded(ratio) : slope),
                  .hess = inside ? fl_choose(absolute, R(0), R(1) / c.a) : R(0) };
}

/* x = |r|/c seen from the side where nothing overflows: m = min(x, 1/x), square = 1 + m^2.
 * 1 + x^2 is square where x <= 1, and square / m^2 beyond. `near` is the smaller of |r| and c. */
typedef struct {
    pair r, size, m, square, near;
    int far;
} scaled;

static FL_INLINE scaled fl_scaled(real y, real p, real c)
{
    const pair r = fl_sum(p, -y), size = fl_magnitude(r), scale = fl_exact(c);
    const int far = size.hi > c;
    const pair near = fl_select(far, scale, size), m = fl_quotient(near, fl_select(far, size, scale));
    return (scaled){ r, size, m, fl_one_plus(fl_times(m, m)), near, far };
}

static FL_INLINE pair fl_one_or(int far, pair m) { return fl_select(far, m, fl_exact(R(1))); }
static FL_INLINE real fl_signed(pair size, pair r) { return fl_copysign(fl_rounded(size), r.hi); }

/* c.a = delta. delta^2 (sqrt(1 + x^2) - 1), written as r^2 / (1 + sqrt(1 + x^2)): no cancellation. */
static FL_INLINE vgh pseudo_huber(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const pair root = fl_root(u.square), one = fl_one_or(u.far, u.m);
    const pair inverse = fl_ratio(one, root); /* 1 / sqrt(1 + x^2) */
    return (vgh){ .value = fl_rounded(fl_times(u.size, fl_ratio(u.near, fl_plus(one, root)))),
                  .grad = fl_signed(fl_ratio(u.near, root), u.r),
                  .hess = fl_rounded(fl_times(fl_times(inverse, inverse), inverse)) };
}

/* log(cosh r). Up to |r| = 1 it is a polynomial times r^2, beyond that |r| - log 2 + log1p(e^-2|r|). tanh and
 * sech are computed from e^-2|r| and e^-2|r| - 1, so that nothing cancels on either side. */
static FL_INLINE vgh log_cosh(real y, real p, params c)
{
    const pair r = fl_sum(p, -y),
               a = fl_magnitude(r); /* in e^-2|r| the rounding of r would count 2|r| times */
    const exp_minus e = fl_exp_minus_parts(R(2) * a.hi, R(2) * a.lo);
    const pair t2 = fl_pair(fl_lowered(e.lifted.hi), fl_lowered(e.lifted.lo));
    const pair sum = fl_one_plus_unit(t2), inverse = fl_inverse(sum);
    const pair tail = fl_log1p_small(t2.hi, t2.lo);
    const pair far = fl_pair(a.hi - R(0.69314718055994530942), tail.hi + (tail.lo + a.lo));
    (void)c;
    return (vgh){ .value = a.hi < R(1) ? fl_log_cosh_unit(fl_times(a, a)) : fl_rounded(far),
                  .grad = fl_signed(fl_ratio(e.minus_one, sum), r),
                  .hess = fl_lowered(R(4) * fl_rounded(fl_times(e.lifted, fl_times(inverse, inverse)))) };
}

/* c.a = quantile, c.b = 1 - quantile. Koenker & Bassett (1978). */
static FL_INLINE vgh pinball(real y, real p, params c)
{
    const real r = p - y;
    return (vgh){ .value = r < R(0) ? -c.a * r : c.b * r,
                  .grad = r < R(0)   ? -c.a
                          : r > R(0) ? c.b
                                     : r,
                  .hess = R(0) };
}

/* c.a = level, c.b = 1 - level: level weights y_true > y_pred. Newey & Powell (1987). */
static FL_INLINE vgh expectile(real y, real p, params c)
{
    const pair r = fl_sum(p, -y);
    const real w = r.hi > R(0) ? c.b : c.a;
    /* a tiny w times r would sink into the subnormal range before the other r lifts it */
    const int tiny = fl_at_most(c.a, c.b) < R(1) / FL_ROOT_MAX;
    const real up = fl_choose(tiny, FL_ROOT_MAX, R(1)), down = R(1) / up;
    const pair first = fl_scale(R(0.5) * up * w, r);
    return (vgh){ .value = fl_rounded(fl_times(first, fl_pair(down * r.hi, down * r.lo))),
                  .grad = w * r.hi,
                  .hess = w };
}

/* c.a = epsilon. Vapnik (1995). */
static FL_INLINE vgh epsilon_insensitive(real y, real p, params c)
{
    const real d = fl_beyond(fl_sum(p, -y), c.a);
    return (vgh){ .value = fl_at_least(d, R(0)),
                  .grad = d > R(0)    ? fl_sign(p - y)
                          : d <= R(0) ? R(0)
                                      : d,
                  .hess = R(0) };
}

static FL_INLINE vgh squared_epsilon_insensitive(real y, real p, params c)
{
    const real gap = fl_beyond(fl_sum(p, -y), c.a), d = fl_at_least(gap, R(0));
    return (vgh){ .value = d * d, .grad = R(2) * fl_copysign(d, p - y), .hess = gap >= R(0) ? R(2) : R(0) };
}

/* d = log1p(p) - log1p(y) is the logarithm of q = (1 + p) / (1 + y). Where q is near 1 it is log(1 + w) with
 * w = (p - y) / (1 + y), which keeps all digits of a small d. Before the division, a large 1 + p or 1 + y is
 * brought into the middle of the range by 2^-64; `over` is the exponent that q has lost by that. */
static FL_INLINE pair fl_middle(pair a)
{
    const real k = a.hi > R(0x1p60) ? R(0x1p-64) : R(1);
    return fl_pair(a.hi * k, a.lo * k);
}

static FL_INLINE vgh squared_log_error(real y, real p, params c)
{
    const pair a = fl_sum(R(1), p), b = fl_sum(R(1), y), w = fl_quotient(fl_sum(p, -y), b);
    const int near = fl_fabs(w.hi) < R(0.5);
    const real over = near ? R(0) : (a.hi > R(0x1p60) ? R(64) : R(0)) - (b.hi > R(0x1p60) ? R(64) : R(0));
    const pair q = fl_quotient(fl_middle(a), fl_middle(b));
    const pair log_q = fl_log_of(fl_select(near, fl_plus(fl_exact(R(1)), w), q));
    const pair d = fl_plus(log_q, fl_fast_sum(over * FL_LN2_HI, over * FL_LN2_LO));
    const pair slope = fl_quotient(d, a);
    const pair curve = fl_quotient(fl_quotient(fl_plus(fl_exact(R(1)), fl_negative(d)), a), a);
    (void)c;
    return (vgh){ .value = fl_rounded(fl_times(d, d)),
                  .grad = p == FL_INF ? R(0) : R(2) * fl_rounded(slope),
                  .hess = p == FL_INF ? R(0) : R(2) * fl_rounded(curve) };
}

/* c.a = epsilon. */
static FL_INLINE vgh absolute_percentage_error(real y, real p, params c)
{
    const real r = p - y, scale = fl_at_least(fl_fabs(y), c.a);
    const int limit = (scale == FL_INF) & (r == r);
    return (vgh){ .value = limit ? R(1) : fl_fabs(r) / scale, .grad = fl_sign(r) / scale, .hess = R(0) };
}

/* c.a = c. c (|r| - c log1p(x)), x = |r|/c; up to x = 1 that is r^2 times a polynomial. */
static FL_INLINE vgh fair(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const pair w = fl_inverse(fl_one_plus(u.m));
    const pair x = fl_quotient(u.size, fl_exact(c.a));
    const pair log1p = fl_log_of(fl_plus(fl_exact(R(1)), fl_pair(fl_at_most(x.hi, FL_MAX), x.lo)));
    /* clipped to finite numbers, so that an infinite |r| gives inf */
    const pair less = fl_scale(-c.a, log1p);
    const pair far = fl_scale(c.a, fl_plus(u.size, fl_pair(fl_at_least(less.hi, -FL_MAX), less.lo)));
    const pair near = fl_times(fl_scale(-FL_LOG1P_POLY(u.m.hi), u.size), u.size);
    return (vgh){ .value = fl_rounded(fl_select(u.far, far, near)),
                  .grad = fl_signed(fl_times(u.near, w), u.r),
                  .hess = fl_rounded(fl_times(fl_one_or(u.far, fl_times(u.m, u.m)), fl_times(w, w))) };
}

/* c.a = c. c^2/2 log1p(x^2). Up to x = 1 it is r^2 times a polynomial; beyond x = 2^40 the logarithm is 2 log
 * x, since x^2 or even x might overflow. */
static FL_INLINE vgh cauchy(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const pair m2 = fl_times(u.m, u.m), x = fl_quotient(u.size, fl_exact(c.a));
    const real z = m2.hi, h = R(0.5) * z * FL_LOG1P_POLY(z);
    const int huge = x.hi > R(0x1p40);
    const pair square = fl_plus(fl_exact(R(1)), fl_times(x, x));
    /* for a smaller c, c^2 is 0 */
    const real root = fl_sqrt(u.size.hi) / fl_sqrt(fl_at_least(c.a, FL_MIN_NORMAL));
    const pair log = fl_log_of(fl_select(huge, fl_exact(root), square));
    const pair half = fl_pair((huge ? R(2) : R(0.5)) * log.hi, (huge ? R(2) : R(0.5)) * log.lo);
    const pair far = fl_scale(c.a, fl_scale(c.a, half));
    const pair near = fl_times(fl_times(fl_fast_sum(R(0.5), h), u.size), u.size);
    const pair w = fl_inverse(u.square);
    const pair bend = fl_times(fl_one_plus(fl_negative(u.m)), fl_one_plus(u.m)); /* 1 - m^2 */
    return (vgh){ .value = fl_rounded(fl_select(u.far, far, near)),
                  .grad = fl_signed(fl_times(fl_select(u.far, fl_scale(c.a, u.m), u.size), w), u.r),
                  .hess = fl_rounded(
                      fl_times(fl_times(fl_one_or(u.far, fl_negative(m2)), bend), fl_times(w, w))) };
}

/* c.a = c. c^2/2 (1 - e^(-x^2)). */
static FL_INLINE vgh welsch(real y, real p, params c)
{
    const pair r = fl_sum(p, -y), x = fl_quotient(r, fl_exact(c.a)), x2 = fl_times(x, x);
    const exp_parts parts = fl_exp_parts(fl_negative(x2));
    /* right to rounding, also where x^2 underflows */
    const pair near = fl_times(fl_scale(R(0.5) - R(0.25) * x2.hi, r), r);
    const pair far = fl_scale(c.a, fl_scale(R(-0.5) * c.a, fl_expm1_of(parts)));
    const pair curve = fl_plus(fl_exact(R(1)), fl_pair(R(-2) * x2.hi, R(-2) * x2.lo));
    return (vgh){ .value = fl_rounded(fl_select(x2.hi < FL_TINY, near, far)),
                  .grad = fl_rounded(fl_times_exp_of(r, parts)),
                  .hess = fl_rounded(fl_times_exp_of(curve, parts)) };
}

/* c.a = c. r^2/2 / (1 + x^2). */
static FL_INLINE vgh geman_mcclure(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const pair w = fl_inverse(u.square), w2 = fl_times(w, w), m2 = fl_times(u.m, u.m);
    const pair fall = fl_times(fl_scale(c.a, u.m), m2);
    const pair one = fl_exact(R(1)), three = fl_exact(R(-3));
    const pair bend_near = fl_plus(one, fl_times(three, m2));
    const pair bend_far = fl_times(m2, fl_plus(three, m2));
    return (
        vgh){ .value = fl_times_rounded(fl_pair(R(0.5) * u.near.hi, R(0.5) * u.near.lo), fl_times(u.near, w)),
              .grad = fl_copysign(fl_times_rounded(fl_select(u.far, fall, u.size), w2), u.r.hi),
              .hess = fl_rounded(fl_times(fl_times(fl_select(u.far, bend_far, bend_near), fl_times(w2, w)),
                                          fl_one_or(u.far, m2))) };
}

/* c.a = c. c^2/6 (1 - (1 - x^2)^3) within c, c^2/6 outside. Beaton & Tukey (1974). */
static FL_INLINE vgh tukey_biweight(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const pair one = fl_exact(R(1)), half = fl_exact(R(0.5)), six = fl_exact(R(6));
    const pair z = fl_times(u.m, u.m), gap = fl_times(fl_one_plus(fl_negative(u.m)), fl_one_plus(u.m));
    const int outside = u.far | (gap.hi < R(0)); /* the rounded |r| may be c where r is beyond c */
    const pair inner = fl_plus(half, fl_negative(fl_ratio(z, six)));
    const pair height = fl_plus(half, fl_negative(fl_times(z, inner))); /* (3 - 3z + z^2) / 6 */
    const pair inside = fl_times(u.size, fl_times(u.size, height));
    const pair bend =
        fl_plus(one, fl_pair(R(-5) * z.hi, R(-5) * z.lo + fl_product_error(R(-5), z.hi, R(-5) * z.hi)));
    return (vgh){ .value = fl_rounded(fl_select(u.far, fl_scale(c.a, fl_ratio(fl_exact(c.a), six)), inside)),
                  .grad = outside ? R(0) : fl_signed(fl_times(fl_times(u.size, gap), gap), u.r),
                  .hess = outside ? R(0) : fl_rounded(fl_times(gap, bend)) };
}

/* (1 + x^2/b)^(b/2) is e^(x^2/2) to rounding, where that is a number, from this b on. */
#define FL_EXP_POWER ((real)((bits)1 << (FL_MANTISSA + 8)) * R(64))

/* x = 2^k m with 1 <= m < 2, for a positive, finite x. */
typedef struct {
    real m, k, unused[3];
} split;

static FL_INLINE split fl_split(real x)
{
    const int small = x < FL_MIN_NORMAL;
    const bits b = fl_to_bits(x * fl_choose(small, R(1) / FL_MIN_NORMAL, R(1)));
    const real biased = fl_from_bits((b >> FL_MANTISSA) + fl_to_bits(FL_MAGIC)) - FL_MAGIC;
    const bits fraction = b & (((bits)1 << FL_MANTISSA) - 1);
    return (split){ .m = fl_from_bits(fraction | ((bits)FL_BIAS << FL_MANTISSA)),
                    .k = biased - R(FL_BIAS) - fl_choose(small, R(FL_BIAS - 1), R(0)) };
}

/* c.a = alpha, c.b = b = |alpha - 2|, c.c = c, c.d = log b. With z = x^2/b and L = log1p(z):
 * b/alpha (e^(alpha L/2) - 1). alpha = 2, 0 and -inf are its limits. Barron (2019). With c = 2^k m, the 2^k
 * go into the exponents: neither 1/c nor the power need be in the range where their product is. */
static FL_INLINE vgh barron(real y, real p, params c)
{
    const int square = c.a == R(2), log_limit = c.a == R(0), exp_limit = fl_fabs(c.a) > FL_EXP_POWER,
              linear = c.a == R(1);
    const real sign = fl_choose(c.a < R(0), R(-1), R(1)),
               lift = fl_choose(c.c < R(1) / FL_ROOT_MAX, FL_ROOT_MAX, R(1));
    const split scale = fl_split(c.c);
    const pair one = fl_exact(R(1)), none = fl_exact(R(0)), b = fl_exact(c.b), m = fl_exact(scale.m);
    const pair back = fl_fast_sum(-scale.k * FL_LN2_HI, -scale.k * FL_LN2_LO);
    const pair r = fl_sum(p, -y), x = fl_quotient(fl_pair(lift * r.hi, lift * r.lo), fl_exact(lift * c.c));
    const pair x2 = fl_times(x, x), z = fl_quotient(x2, b);
    const int huge = z.hi > R(0x1p60), infinite = fl_fabs(r.hi) == FL_INF;
    /* x may be subnormal where x/c is not: then x/c is computed as r/c^2, with r brought out of the subnormal
     * range */
    const int near = (c.c < R(1)) & (c.c >= R(1) / FL_ROOT_MAX);
    const int small = fl_fabs(r.hi) < R(1);
    const real bits_up = small ? R(FL_MANTISSA + 2) : R(0), raised = small ? R(1) / FL_TINY : R(1);
    const pair sunk = fl_pair(-bits_up * FL_LN2_HI, -bits_up * FL_LN2_LO);
    const pair over = fl_quotient(fl_pair(raised * r.hi, raised * r.lo), m);
    /* log1p(z); for a huge z it is 2 log|x| - log b, since x may be beyond the range */
    const pair log = fl_log_of(fl_select(huge, fl_quotient(fl_magnitude(r), m), fl_plus(one, z)));
    const pair log_x = fl_plus(log, back);
    const pair wide = fl_plus(fl_pair(R(2) * log_x.hi, R(2) * log_x.lo), fl_exact(-c.d));
    const pair log1p_z = fl_select(huge, wide, log);
    const pair gauss = fl_pair(R(0.5) * sign * x2.hi, R(0.5) * sign * x2.lo);
    const pair up = fl_choose_pair(exp_limit, gauss, fl_scale(R(0.5) * c.a, log1p_z));
    const pair fall = fl_times(fl_sum(R(0.5) * c.a, R(-1)), log1p_z);
    const pair down = fl_choose_pair(square, none, fl_choose_pair(exp_limit, gauss, fall));
    const exp_parts rise = fl_exp_parts(up);
    const pair weight = fl_choose_pair(exp_limit, fl_exact(sign), fl_quotient(b, fl_exact(c.a)));
    const pair full =
        fl_select(rise.x > R(40), fl_times_exp_of(weight, rise), fl_times(weight, fl_expm1_of(rise)));
    /* the value where alpha L is tiny and b/alpha may overflow; for alpha = 0, b/2 is 1 */
    const pair level = fl_scale(R(0.5) * c.b, log1p_z);
    const pair value = fl_choose_pair(log_limit, level, fl_select(fl_fabs(up.hi) < FL_TINY, level, full));
    /* for a tiny x this is the value for every alpha, to rounding */
    const pair half = fl_times(fl_scale(R(0.5), x), x);
    const int logs = huge & !square;
    const pair factor = fl_select(logs, fl_exact(fl_copysign(R(1), r.hi)), fl_choose_pair(near, over, x));
    const pair lost = fl_select(logs, log_x, fl_choose_pair(near, fl_plus(back, sunk), none));
    const pair steep =
        fl_times_exp_of(fl_quotient(factor, m), fl_exp_parts(fl_plus(fl_plus(down, back), lost)));
    const real limit = fl_choose(c.a > R(1), FL_INF, fl_choose(c.a == R(1), R(1) / c.c, R(0)));
    const int beyond = z.hi > R(1);
    const pair slant = fl_sum(c.a, R(-1)), low = fl_select(beyond, fl_quotient(one, z), z);
    const pair top = fl_select(beyond, fl_plus(slant, low), fl_plus(one, fl_times(slant, low)));
    const pair bend =
        fl_choose_pair(exp_limit, fl_plus(one, fl_scale(sign, x2)), fl_ratio(top, fl_one_plus(low)));
    const pair curve = fl_quotient(fl_choose_pair(square | linear, one, bend), fl_product(scale.m, scale.m));
    /* for alpha = 1 the second derivative is one power; the general formula's (alpha - 1) + 1/z would be 0
     * where z overflows */
    const pair deep = fl_choose_pair(linear, fl_scale(R(-1.5), log1p_z), down);
    const exp_parts power = fl_exp_parts(fl_plus(deep, fl_pair(R(2) * back.hi, R(2) * back.lo)));
    return (vgh){ .value = fl_rounded(
                      fl_choose_pair(square, half, fl_select(x2.hi < R(4) * FL_TINY, half, value))),
                  .grad = infinite ? fl_copysign(limit, r.hi) : fl_rounded(steep),
                  .hess = fl_rounded(fl_times_exp_of(curve, power)) };
}

#endif
