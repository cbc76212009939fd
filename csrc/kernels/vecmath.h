/* Branch-free elementary functions that the compiler vectorises.
 *
 * Largest errors seen in units of the last place, over 8 million random arguments in each of two ranges and
 * against the next wider type (with FMA):
 *
 *                      float32   float64
 *   exp, e^-a             1.07      0.98
 *   expm1, x < 0          1.05      1.11
 *   expm1, x > 0          1.65      1.83
 *   log                   0.83      0.86
 *   log1p                 0.85      0.84
 *   log1p on [0, 1]       1.41      1.29
 */
#ifndef FL_VECMATH_H
#define FL_VECMATH_H

#include "real.h"

/* Polynomials: Chebyshev fits in 60 digits (tools/fit_polynomials.py prints them), lowest degree first.
 *   FL_EXP_POLY    (e^r - 1 - r) / r^2                on |r| <= ln(2)/2
 *   FL_LOG_POLY    (2 atanh(s)/s - 2) / s^2, z = s^2  on z <= 0.0296: s = f/(2+f), sqrt(1/2) <= 1+f < sqrt(2)
 *   FL_LOG1P_POLY  (log1p(t) - t) / t^2, u = t - 1/2  on 0 <= t <= 1; its even and odd terms apart,
 *                  because one chain of 20 products would be waited for; so in the next two
 *   FL_LOG1P_SMALL_POLY  the same, u = t - 1/16       on 0 <= t <= e^-2
 *   FL_LOG_COSH_POLY     log(cosh a) / a^2, u = a^2 - 1/2  on 0 <= a <= 1
 */
#define P0(z, a) R(a)
#define P1(z, a, ...) fl_fma(P0(z, __VA_ARGS__), z, R(a))
#define P2(z, a, ...) fl_fma(P1(z, __VA_ARGS__), z, R(a))
#define P3(z, a, ...) fl_fma(P2(z, __VA_ARGS__), z, R(a))
#define P4(z, a, ...) fl_fma(P3(z, __VA_ARGS__), z, R(a))
#define P5(z, a, ...) fl_fma(P4(z, __VA_ARGS__), z, R(a))
#define P6(z, a, ...) fl_fma(P5(z, __VA_ARGS__), z, R(a))
#define P7(z, a, ...) fl_fma(P6(z, __VA_ARGS__), z, R(a))
#define P8(z, a, ...) fl_fma(P7(z, __VA_ARGS__), z, R(a))
#define P9(z, a, ...) fl_fma(P8(z, __VA_ARGS__), z, R(a))
#define P10(z, a, ...) fl_fma(P9(z, __VA_ARGS__), z, R(a))

/* ln 2 = hi + lo, with so few bits in hi that k * hi is exact for every exponent k. */
#if FL_BITS == 32
#define FL_LN2_HI 0x1.63p-1f
#define FL_LN2_LO -0x1.bd0106p-13f
#define FL_EXP_LIMIT 174.0f /* beyond: 0 or inf, also times any finite factor but the tiniest */
#define FL_EXP_ZERO 109.0f  /* e^-109 is far below the least subnormal */
#define FL_EXP_POLY(r) P4(r, 0x1p-1, 0x1.5554d4p-3, 0x1.555514p-5, 0x1.121582p-7, 0x1.6d1b1cp-10)
#define FL_LOG_POLY(z) P3(z, 0x1.555556p-1, 0x1.9999ecp-2, 0x1.245ba6p-2, 0x1.ddf01ap-3)
#define FL_LOG1P_POLY(u)                                                                                \
    fl_fma(u, P4((u) * (u), 0x1.6f0d7cp-3, 0x1.a278e6p-5, 0x1.13473cp-6, 0x1.7b4d38p-8, 0x1.6f3782p-9), \
           P4((u) * (u), -0x1.833706p-2, -0x1.7dde7p-4, -0x1.da8bdap-6, -0x1.3d4152p-7, -0x1.2bf346p-8))
#define FL_LOG1P_SMALL_POLY(u)                             \
    fl_fma(u, P1((u) * (u), 0x1.379396p-2, 0x1.4fb63cp-3), \
           P2((u) * (u), -0x1.eb9e8p-2, -0x1.ba8eaap-3, -0x1.02b57p-3))
#define FL_LOG_COSH_POLY(u)                                                 \
    fl_fma(u, P2((u) * (u), -0x1.0b56ap-4, -0x1.e8e22p-9, -0x1.36e7f8p-12), \
           P3((u) * (u), 0x1.da474ep-2, 0x1.e02496p-7, 0x1.093082p-10, 0x1.68efe4p-14))
#else
#define FL_LN2_HI 0x1.62e42feep-1
#define FL_LN2_LO 0x1.a39ef35793c76p-33
#define FL_EXP_LIMIT 1414.0
#define FL_EXP_ZERO 750.0
#define FL_EXP_POLY(r)                                                                                      \
    P10(r, 0x1p-1, 0x1.5555555555557p-3, 0x1.5555555555556p-5, 0x1.111111110fe17p-7, 0x1.6c16c16c1613fp-10, \
        0x1.a01a01ad6369dp-13, 0x1.a01a01a7b14bbp-16, 0x1.71ddfd9647581p-19, 0x1.27e4d8c2b2e6cp-22,         \
        0x1.af574f448311ap-26, 0x1.1f7861ab0e5c1p-29)
#define FL_LOG_POLY(z)                                                                            \
    P6(z, 0x1.5555555555558p-1, 0x1.9999999995077p-2, 0x1.2492492e35998p-2, 0x1.c71c628e9e0c9p-3, \
       0x1.7462cd53e5318p-3, 0x1.39fb2efe206abp-3, 0x1.2b7fa64da1a6ap-3)
#define FL_LOG1P_POLY(u)                                                                                     \
    fl_fma(u,                                                                                                \
           P9((u) * (u), 0x1.6f0d7bd624bcdp-3, 0x1.a279c04c81491p-5, 0x1.131116f660a62p-6,                   \
              0x1.84905221be439p-8, 0x1.1ebcbf79b310ep-9, 0x1.b3f52ec039017p-11, 0x1.51de3a7ee466ep-12,      \
              0x1.11ce2880d86a2p-13, 0x1.5b243c1b4b1a6p-15, 0x1.2d368f35340b8p-15),                          \
           P10((u) * (u), -0x1.833704d019ed0p-2, -0x1.7ddf1fe86aa8bp-4, -0x1.da348248c136cp-6,               \
               -0x1.44ba45b9d5f97p-7, -0x1.d5fb02e8e4f0bp-9, -0x1.60737227c7dc1p-10, -0x1.0f08dfdc87d0bp-11, \
               -0x1.a7ba1ffdb4dcbp-13, -0x1.59d76729768ccp-14, -0x1.b7b60cffcd11fp-16,                       \
               -0x1.80d9a3ccbf91fp-16))
#define FL_LOG1P_SMALL_POLY(u)                                                                \
    fl_fma(u,                                                                                 \
           P4((u) * (u), 0x1.3793bf6b1a17dp-2, 0x1.4e8e833c44938p-3, 0x1.a98489d528352p-4,    \
              0x1.2623fa7fa1665p-4, 0x1.9c0682e244c1p-5),                                     \
           P4((u) * (u), -0x1.eb9e7fdd3ab36p-2, -0x1.ba8a41fa48f7cp-3, -0x1.07289dd9a9711p-3, \
              -0x1.5f03df31fd7e7p-4, -0x1.f6830a8af0acdp-5))
#define FL_LOG_COSH_POLY(u)                                                                               \
    fl_fma(u,                                                                                             \
           P6((u) * (u), -0x1.0b5694d128a75p-4, -0x1.e910bbb0041adp-9, -0x1.2b5acd5453a6dp-12,            \
              -0x1.9a70c07840c54p-16, -0x1.2b80b96dd5195p-19, -0x1.c509fd5de4955p-23,                     \
              -0x1.85e350bf7e5b3p-26),                                                                    \
           P7((u) * (u), 0x1.da474ee9fe88dp-2, 0x1.e02479545320ep-7, 0x1.094c829229f35p-10,               \
              0x1.5b0ebbd687af7p-14, 0x1.ecd89a0f45a1ep-18, 0x1.6f901668e05a5p-21, 0x1.1a23475fb45abp-24, \
              0x1.eb4e0b5d6bd5cp-28))
#endif
#define FL_LOG2E R(1.44269504088896340736)

/* An unevaluated sum hi + lo, |lo| <= ulp(hi); as wide as vgh, for the same reason. */
typedef struct {
    real hi, lo, unused[3];
} pair;

static FL_INLINE pair fl_pair(real hi, real lo) { return (pair){ .hi = hi, .lo = lo }; }

static FL_INLINE pair fl_sum(real a, real b)
{
    const real s = a + b;
    return fl_pair(s, fl_sum_error(a, b, s));
}

static FL_INLINE pair fl_product(real a, real b)
{
    const real p = a * b;
    return fl_pair(p, fl_product_error(a, b, p));
}

static FL_INLINE pair fl_choose_pair(int yes, pair a, pair b)
{
    return fl_pair(fl_choose(yes, a.hi, b.hi), fl_choose(yes, a.lo, b.lo));
}

/* a / b with its rounding error. */
static FL_INLINE pair fl_quotient(pair a, real b)
{
    const real q = a.hi / b;
    const pair back = fl_product(q, b);
    const real lo = (((a.hi - back.hi) - back.lo) + a.lo) / b;
    return fl_pair(q, lo == lo ? lo : R(0));
}

static FL_INLINE pair fl_square(pair a)
{
    const pair square = fl_product(a.hi, a.hi);
    const real lo = square.lo + R(2) * a.hi * a.lo;
    return fl_pair(square.hi, lo == lo ? lo : R(0));
}

static FL_INLINE pair fl_scale(real w, pair a)
{
    const pair product = fl_product(w, a.hi);
    const real lo = product.lo + w * a.lo;
    return fl_pair(product.hi, lo == lo ? lo : R(0));
}

/* e^x = (1 + p) * s1 * s2: x = k ln 2 + r, p = e^r - 1. 2^k comes in two halves, so that results in
 * the subnormal range and close to overflow are right. */
typedef struct {
    real p, s1, s2, x;
} exp_parts;

static FL_INLINE exp_parts fl_exp_parts(pair x)
{
    const real h = fl_clip(x.hi, -FL_EXP_LIMIT, FL_EXP_LIMIT);
    const real k = fl_fma(h, FL_LOG2E, FL_MAGIC) - FL_MAGIC;
    const real r = fl_fma(k, -FL_LN2_LO, fl_fma(k, -FL_LN2_HI, h)) + (h == x.hi ? x.lo : R(0));
    const real half = fl_fma(k, R(0.5), FL_MAGIC);
    const real rest = (k - (half - FL_MAGIC)) + FL_MAGIC;
    return (exp_parts){ .p = fl_fma(r * r, FL_EXP_POLY(r), r),
                        .s1 = fl_from_bits((fl_to_bits(half) + FL_BIAS) << FL_MANTISSA),
                        .s2 = fl_from_bits((fl_to_bits(rest) + FL_BIAS) << FL_MANTISSA),
                        .x = h };
}

static FL_INLINE real fl_exp_of(exp_parts e) { return ((R(1) + e.p) * e.s1) * e.s2; }
static FL_INLINE real fl_expm1_of(exp_parts e)
{
    const real s = e.s1 * e.s2;
    return e.x > R(40) ? fl_exp_of(e) : fl_fma(s, e.p, s - R(1));
}

static FL_INLINE real fl_exp(real x) { return fl_exp_of(fl_exp_parts(fl_pair(x, R(0)))); }
static FL_INLINE real fl_exp_pair(pair x) { return fl_exp_of(fl_exp_parts(x)); }
static FL_INLINE real fl_expm1_pair(pair x) { return fl_expm1_of(fl_exp_parts(x)); }

/* e^-a for a >= 0 (less a small a_lo). 2^FL_LIFT e^-a is normal wherever e^-a is not 0, so that a factor can
 * be applied before the result sinks into the subnormal range; fl_lowered brings it down. */
#define FL_LIFT (FL_MANTISSA + 8)

static FL_INLINE real fl_lowered(real x) { return x * (R(1) / (real)((bits)1 << FL_LIFT)); }

typedef struct {
    real lifted, minus_one, unused[3]; /* 2^FL_LIFT e^-a, and e^-a - 1 */
} exp_minus;

static FL_INLINE exp_minus fl_exp_minus_parts(real a, real a_lo)
{
    const real magic = fl_fma(a, -FL_LOG2E, FL_MAGIC), k = magic - FL_MAGIC;
    const real r = fl_fma(k, -FL_LN2_LO, fl_fma(k, -FL_LN2_HI, -a)) - a_lo;
    const real p = fl_fma(r * r, FL_EXP_POLY(r), r);
    const real scale = fl_from_bits((fl_to_bits(magic) + (FL_BIAS + FL_LIFT)) << FL_MANTISSA);
    const real s = fl_lowered(scale);
    const int zero = a > FL_EXP_ZERO;
    return (exp_minus){ .lifted = zero ? R(0) : (R(1) + p) * scale,
                        .minus_one = zero ? R(-1) : fl_fma(s, p, s - R(1)) };
}

static FL_INLINE real fl_lifted_exp_minus(real a) { return fl_exp_minus_parts(a, R(0)).lifted; }

/* w e^x without overflow or underflow of e^x before w is applied. 0 for w = 0 and 0 for x far below 0,
 * whatever the other is. */
static FL_INLINE real fl_times_exp_of(real w, exp_parts e)
{
    const real inside = (((R(1) + e.p) * e.s1) * w) * e.s2;
    return e.x >= FL_EXP_LIMIT ? fl_term(w, FL_INF) : e.x <= -FL_EXP_LIMIT ? R(0) : inside;
}

static FL_INLINE real fl_times_exp(real w, pair x) { return fl_times_exp_of(w, fl_exp_parts(x)); }

/* log(u + c) for |c| <= ulp(u), as a pair. fdlibm's reduction: u = 2^k (1 + f), s = f / (2 + f). */
static FL_INLINE pair fl_log_pair(real u, real c)
{
    const bits one = (bits)FL_BIAS << FL_MANTISSA;
    const bits root_half = fl_to_bits(R(0.70710678118654752440));
    const real small = u < FL_MIN_NORMAL ? R(1) : R(0);
    const real scaled = u < FL_MIN_NORMAL ? u * (R(1) / FL_MIN_NORMAL) : u;
    const bits b = fl_to_bits(scaled) + (one - root_half);
    const real biased = fl_from_bits((b >> FL_MANTISSA) + fl_to_bits(FL_MAGIC)) - FL_MAGIC;
    const real k = biased - (R(FL_BIAS) + small * R(FL_BIAS - 1));
    const real f = fl_from_bits((b & (((bits)1 << FL_MANTISSA) - 1)) + root_half) - R(1);
    const real s = f / (R(2) + f), z = s * s, half_square = R(0.5) * f * f;
    const real rest = s * fl_fma(z, FL_LOG_POLY(z), half_square);
    const real correction = c == R(0) ? R(0) : c / u;
    const real top = k * FL_LN2_HI;
    const real hi = top + f;
    const real lo = (f - (hi - top)) - (half_square - (rest + fl_fma(k, FL_LN2_LO, correction)));
    const real limit = u == R(0) ? -FL_INF : u == FL_INF ? u : FL_NAN;
    const int finite = (u > R(0)) & (u < FL_INF);
    const real sum = hi + lo;
    return fl_pair(finite ? sum : limit, finite ? lo - (sum - hi) : R(0));
}

static FL_INLINE real fl_log(real x) { return fl_log_pair(x, R(0)).hi; }

/* log(a + b), with the rounding of a + b undone: full relative accuracy also where a + b is near 1. */
static FL_INLINE pair fl_log_sum(real a, real b)
{
    const pair u = fl_sum(a, b);
    return fl_log_pair(u.hi, u.lo == u.lo ? u.lo : R(0));
}

static FL_INLINE real fl_log1p(real x) { return fl_log_sum(R(1), x).hi; }

/* log1p(t) for 0 <= t <= 1. A polynomial and no division, which costs as much as twenty products. */
static FL_INLINE real fl_log1p_unit(real t) { return fl_fma(t * t, FL_LOG1P_POLY(t - R(0.5)), t); }

#endif
