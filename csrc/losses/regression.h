/* Regression losses. r = y_pred - y_true. */
#ifndef FL_REGRESSION_H
#define FL_REGRESSION_H

#include "../kernels/vecmath.h"

static FL_INLINE vgh squared_error(real y, real p, params c)
{
    const real r = p - y;
    (void)c;
    return (vgh){ .value = r * r, .grad = R(2) * r, .hess = R(2) };
}

static FL_INLINE vgh half_squared_error(real y, real p, params c)
{
    const real r = p - y;
    (void)c;
    return (vgh){ .value = R(0.5) * r * r, .grad = r, .hess = R(1) };
}

static FL_INLINE vgh absolute_error(real y, real p, params c)
{
    const real r = p - y;
    (void)c;
    return (vgh){ .value = fl_fabs(r), .grad = fl_sign(r), .hess = R(0) };
}

/* c.a = delta. r^2/2 within delta, delta (|r| - delta/2) outside. Huber (1964). */
static FL_INLINE vgh huber(real y, real p, params c)
{
    const real r = p - y, k = fl_clip(r, -c.a, c.a);
    return (vgh){ .value = k * (r - R(0.5) * k), .grad = k, .hess = r == k ? R(1) : R(0) };
}

/* c.a = beta. huber(beta) / beta; beta = 0 is the absolute error. */
static FL_INLINE vgh smooth_l1(real y, real p, params c)
{
    const real r = p - y, k = fl_clip(r, -c.a, c.a);
    const real slope = fl_choose(c.a == R(0), fl_sign(r), fl_clip(r / c.a, R(-1), R(1)));
    const real inside = fl_choose(c.a == R(0), R(0), R(1) / c.a);
    return (vgh){ .value = slope * (r - R(0.5) * k), .grad = slope, .hess = r == k ? inside : R(0) };
}

/* x = r/c seen from the side where nothing overflows: m = min(|x|, 1/|x|), square = 1 + m^2.
 * 1 + x^2 is square where |x| <= 1, and square / m^2 beyond. */
typedef struct {
    real r, abs_x, m, square;
    int far;
} scaled;

static FL_INLINE scaled fl_scaled(real y, real p, real c)
{
    const real r = p - y, x = fl_fabs(r / c);
    const int far = x > R(1);
    const real m = far ? R(1) / x : x;
    return (scaled){ r, x, m, R(1) + m * m, far };
}

/* c.a = delta. delta^2 (sqrt(1 + x^2) - 1), written as r^2 / (1 + sqrt(1 + x^2)): no cancellation. */
static FL_INLINE vgh pseudo_huber(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const real root = fl_sqrt(u.square), a = fl_fabs(u.r);
    const real inverse = (u.far ? u.m : R(1)) / root; /* 1 / sqrt(1 + x^2) */
    return (vgh){ .value = a * (u.far ? c.a : a) / ((u.far ? u.m : R(1)) + root),
                  .grad = (u.far ? fl_copysign(c.a, u.r) : u.r) / root,
                  .hess = inverse * inverse * inverse };
}

/* log(cosh r): up to |r| = 1 a polynomial times r^2, beyond |r| - log 2 + log1p(e^-2|r|). tanh and sech come
 * from e^-|r| and that minus 1, so that nothing cancels on either side. */
static FL_INLINE vgh log_cosh(real y, real p, params c)
{
    const pair d = fl_sum(p, -y); /* in e^-|r| the rounding of r would count |r| times */
    const real r = d.hi, a = fl_fabs(r), a_lo = r < R(0) ? -d.lo : d.lo;
    const exp_minus e = fl_exp_minus_parts(a, a_lo);
    const real t = fl_lowered(e.lifted), t2 = t * t, inverse = R(1) / (R(1) + t2), sech = R(2) * t * inverse;
    const real near = r * r * FL_LOG_COSH_POLY(r * r - R(0.5));
    const real tail = fl_fma(t2 * t2, FL_LOG1P_SMALL_POLY(t2 - R(0.0625)), t2);
    (void)c;
    return (vgh){ .value = a < R(1) ? near : (a - R(0.69314718055994530942)) + tail,
                  .grad = fl_copysign(-e.minus_one * (R(1) + t) * inverse, r),
                  .hess = sech * sech };
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
    const real r = p - y, w = r > R(0) ? c.b : c.a;
    return (vgh){ .value = R(0.5) * w * r * r, .grad = w * r, .hess = w };
}

/* c.a = epsilon. Vapnik (1995). */
static FL_INLINE vgh epsilon_insensitive(real y, real p, params c)
{
    const real r = p - y, d = fl_fabs(r) - c.a;
    return (vgh){ .value = fl_at_least(d, R(0)),
                  .grad = d > R(0)    ? fl_sign(r)
                          : d <= R(0) ? R(0)
                                      : d,
                  .hess = R(0) };
}

static FL_INLINE vgh squared_epsilon_insensitive(real y, real p, params c)
{
    const real r = p - y, gap = fl_fabs(r) - c.a, d = fl_at_least(gap, R(0));
    return (vgh){ .value = d * d, .grad = R(2) * fl_copysign(d, r), .hess = gap >= R(0) ? R(2) : R(0) };
}

/* d = log1p(p) - log1p(y), taken as the log of one quotient whose rounding is undone. */
static FL_INLINE vgh squared_log_error(real y, real p, params c)
{
    const pair a = fl_sum(R(1), p), b = fl_sum(R(1), y);
    const pair q = fl_quotient(a, b.hi);
    const real correction = q.lo - q.hi * (b.lo / b.hi);
    const real d = fl_log_pair(q.hi, correction == correction ? correction : R(0)).hi;
    const real inverse = R(1) / a.hi;
    (void)c;
    return (vgh){ .value = d * d,
                  .grad = p == FL_INF ? R(0) : R(2) * d * inverse,
                  .hess = p == FL_INF ? R(0) : R(2) * (R(1) - d) * inverse * inverse };
}

/* c.a = epsilon. */
static FL_INLINE vgh absolute_percentage_error(real y, real p, params c)
{
    const real r = p - y, scale = fl_at_least(fl_fabs(y), c.a);
    const int limit = (scale == FL_INF) & (r == r);
    return (vgh){ .value = limit ? R(1) : fl_fabs(r) / scale, .grad = fl_sign(r) / scale, .hess = R(0) };
}

/* c.a = c. c^2 (x - log1p(x)), x = |r|/c; up to x = 1 that is r^2 times a polynomial. */
static FL_INLINE vgh fair(real y, real p, params c)
{
    const real r = p - y, x = fl_fabs(r / c.a), w = R(1) / (R(1) + x);
    const real far = x == FL_INF ? x : c.a * (c.a * (x - fl_log1p(x)));
    return (vgh){ .value = x > R(1) ? far : r * r * -FL_LOG1P_POLY(x - R(0.5)),
                  .grad = x > R(1) ? fl_copysign(c.a / (R(1) + R(1) / x), r) : r * w,
                  .hess = w * w };
}

/* c.a = c. c^2/2 log1p(x^2): up to x = 1 r^2 times a polynomial, beyond 2^40 without the 1, as x^2 might
 * overflow. */
static FL_INLINE vgh cauchy(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const real m2 = u.m * u.m, half = R(0.5) * u.r * u.r;
    const int huge = u.abs_x > R(0x1p40);
    const pair square = fl_sum(R(1), u.abs_x * u.abs_x);
    const real log_x = fl_log_pair(huge ? u.abs_x : square.hi, huge ? R(0) : square.lo).hi;
    const real near = fl_fma(half * m2, FL_LOG1P_POLY(m2 - R(0.5)), half);
    return (vgh){ .value = u.far ? c.a * (c.a * (huge ? log_x : R(0.5) * log_x)) : near,
                  .grad = (u.far ? fl_copysign(c.a * u.m, u.r) : u.r) / u.square,
                  .hess = (R(1) - u.m) * (R(1) + u.m) * (u.far ? -m2 : R(1)) / (u.square * u.square) };
}

/* Below this x^2, terms in x^4 are lost in rounding. */
#define FL_TINY (R(1) / (real)((bits)1 << (FL_MANTISSA + 2)))

/* x^2 with x = r/c, to twice the working precision: an exponent needs it. */
static FL_INLINE pair fl_scaled_square(real y, real p, real c)
{
    return fl_square(fl_quotient(fl_sum(p, -y), c));
}

/* c.a = c. c^2/2 (1 - e^(-x^2)). */
static FL_INLINE vgh welsch(real y, real p, params c)
{
    const real r = p - y;
    const pair x2 = fl_scaled_square(y, p, c.a);
    const exp_parts parts = fl_exp_parts(fl_pair(-x2.hi, -x2.lo));
    const real curve = (R(1) - R(2) * x2.hi) - R(2) * x2.lo;
    const real near = r * r * (R(0.5) - R(0.25) * x2.hi); /* to rounding; x^2 may underflow */
    return (vgh){ .value = x2.hi < FL_TINY ? near : c.a * (R(-0.5) * c.a * fl_expm1_of(parts)),
                  .grad = fl_times_exp_of(r, parts),
                  .hess = fl_times_exp_of(curve, parts) };
}

/* c.a = c. r^2/2 / (1 + x^2). */
static FL_INLINE vgh geman_mcclure(real y, real p, params c)
{
    const scaled u = fl_scaled(y, p, c.a);
    const real w = R(1) / u.square, m2 = u.m * u.m;
    return (vgh){ .value = (u.far ? R(0.5) * c.a * c.a : R(0.5) * u.r * u.r) * w,
                  .grad = (u.far ? fl_copysign(c.a * m2 * u.m, u.r) : u.r) * w * w,
                  .hess = (u.far ? (m2 - R(3)) * m2 * m2 : R(1) - R(3) * m2) * w * w * w };
}

/* c.a = c. c^2/6 (1 - (1 - x^2)^3) within c, c^2/6 outside. Beaton & Tukey (1974). */
static FL_INLINE vgh tukey_biweight(real y, real p, params c)
{
    const real r = p - y, x = fl_fabs(r / c.a), x2 = x * x;
    const real gap = (R(1) - x) * (R(1) + x);
    const int outside = x > R(1);
    return (vgh){ .value = outside ? c.a * c.a / R(6) : r * r * ((R(3) - R(3) * x2) + x2 * x2) / R(6),
                  .grad = outside ? R(0) : r * gap * gap,
                  .hess = outside ? R(0) : gap * (R(1) - R(5) * x2) };
}

/* c.a = alpha, c.b = b = |alpha - 2|, c.c = c, c.d = log b. With z = x^2/b and L = log1p(z):
 * b/alpha (e^(alpha L/2) - 1). alpha = 2, 0 and -inf are its limits. Barron (2019). */
static FL_INLINE vgh barron(real y, real p, params c)
{
    const int square = c.a == R(2), log_limit = c.a == R(0), exp_limit = c.a == -FL_INF;
    const real r = p - y, x = r / c.c, a = fl_fabs(x), z = a * a / c.b;
    const pair x2 = fl_scaled_square(y, p, c.c);
    const int huge = z > R(0x1p60);
    const pair log_x = fl_log_pair(huge ? a : R(1) + z, huge ? R(0) : fl_sum(R(1), z).lo);
    const pair wide = fl_sum(R(2) * log_x.hi, -c.d);
    const pair log1p_z = fl_pair(huge ? wide.hi : log_x.hi, huge ? wide.lo + R(2) * log_x.lo : log_x.lo);
    const pair gauss = fl_pair(R(-0.5) * x2.hi, R(-0.5) * x2.lo);
    const pair up = fl_scale(R(0.5) * c.a, log1p_z), less = fl_sum(up.hi, -log1p_z.hi);
    const real low = less.lo + (up.lo - log1p_z.lo);
    const pair down = log1p_z.hi == FL_INF ? fl_pair((R(0.5) * c.a - R(1)) * FL_INF, R(0))
                                           : fl_pair(less.hi, low == low ? low : R(0));
    const real rise = fl_expm1_pair(fl_choose_pair(exp_limit, gauss, up));
    const exp_parts power = fl_exp_parts(fl_choose_pair(exp_limit, gauss, down));
    const real limit = fl_choose(c.a > R(1), FL_INF, fl_choose(c.a == R(1), R(1), R(0)));
    const real inverse = R(1) / z, slant = c.a - R(1);
    const real ratio = (z > R(1) ? inverse + slant : R(1) + slant * z) / (R(1) + (z > R(1) ? inverse : z));
    const real half = R(0.5) * x * x; /* also the value of every alpha, to rounding, where x is tiny */
    const real value = fl_choose(log_limit, log1p_z.hi, c.b / c.a * rise);
    const real grad = a == FL_INF ? fl_copysign(limit, r) : fl_times_exp_of(x, power);
    const real bend = fl_choose(exp_limit, (R(1) - x2.hi) - x2.lo, ratio);
    const real curve = fl_times_exp_of(bend, power);
    return (vgh){ .value =
                      fl_choose(square, half, x2.hi < FL_TINY ? half : fl_choose(exp_limit, -rise, value)),
                  .grad = fl_choose(square, x, grad) / c.c,
                  .hess = fl_choose(square, R(1), curve) / c.c / c.c };
}

#endif
