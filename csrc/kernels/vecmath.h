/* Branch-free elementary functions that the compiler vectorises.
 *
 * Largest errors in units of the last place, over all 2^32 float32 (`tests/c/run vecmath`):
 *
 *   exp, e^-a       0.82
 *   expm1           0.93
 *   e^-a - 1        0.96
 *   log             0.66
 *   log1p           0.69
 *   log1p on [0, 1] 0.95
 *
 * In float64 no error was above 1, for adversarial and random arguments (tests/project/test_vecmath.py).
 */
#ifndef FL_VECMATH_H
#define FL_VECMATH_H

#include "kernels/pair.h"

/* Polynomials: fits in 60 digits (tools/fit_polynomials.py prints them), lowest degree first.
 *
 *   FL_EXP_TAIL          (e^r - 1 - r - r^2/2) / r^3    |r| <= ln(2)/2
 *   FL_LOG_POLY          (2 atanh(s)/s - 2) / z         z = s^2 <= 0.0296
 *   FL_LOG1P_UNIT        (log1p(t) - t + t^2/2) / t^2   0 <= t <= 1
 *   FL_LOG1P             (log1p(t) - t) / t^2           0 <= t <= 1
 *   FL_LOG1P_SMALL_POLY  the same, u = t - 1/16         0 <= t <= e^-2
 *   FL_LOG_COSH          log(cosh a) / t                0 <= t = a^2 <= 1
 *
 * The three with a CENTRE are AT_CENTRE + u SLOPE(u) for u = t - CENTRE, so that the rounding of SLOPE counts
 * by half. In the last two AT_CENTRE is most of the result; their CENTRE is a number where it is rounded by
 * less than 0.0002 ULP. Polynomials of u add up their odd and their even terms apart: in a single chain of 20
 * products each would have to wait for the one before. FL_LOG_POLY takes s = f / (2 + f) for sqrt(1/2) <= 1 +
 * f < sqrt(2).
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

/* ln 2 = hi + lo, with so few bits in hi that k * hi is exact for every exponent k. */
#if FL_BITS == 32
#define FL_LN2_HI 0x1.63p-1f
#define FL_LN2_LO -0x1.bd0106p-13f
#define FL_UP 48
#define FL_EXP_LIMIT 194.0f /* beyond it e^x is 0 or inf, also times any finite factor */
#define FL_DEEP 64.0f
#define FL_FAR 155
#define FL_FIRST 64
#define FL_EXP_ZERO 130.0f /* e^-130 times some thousands is far below the least subnormal */
#define FL_FAR_TOP 260.0f
#define FL_FLAT 0x1p-47f /* smaller factors would lose digits when they are lowered */
#define FL_EXP_TAIL(r) P3(r, 0x1.55549ep-3, 0x1.5554c2p-5, 0x1.123248p-7, 0x1.6d7804p-10)
#define FL_LOG_POLY(z) P3(z, 0x1.555556p-1, 0x1.9999ecp-2, 0x1.245ba6p-2, 0x1.ddf01ap-3)
#define FL_LOG1P_UNIT_CENTRE 0x1p-1f
#define FL_LOG1P_UNIT_AT_CENTRE 0x1.f323eep-4f
#define FL_LOG1P_UNIT_SLOPE(u)                                                             \
    fl_fma(u, P3((u) * (u), -0x1.7de0bp-4, -0x1.d995dep-6, -0x1.4d4f0ap-7, -0x1.b5b21p-9), \
           P3((u) * (u), 0x1.6f0d74p-3, 0x1.a28636p-5, 0x1.10d84cp-6, 0x1.c700a2p-8))
#define FL_LOG1P_CENTRE 0x1.000194p-1f
#define FL_LOG1P_AT_CENTRE -0x1.833674p-2f
#define FL_LOG1P_SLOPE(u)                                                                  \
    fl_fma(u, P3((u) * (u), -0x1.7ddcf2p-4, -0x1.da63ap-6, -0x1.3f0be6p-7, -0x1.24adap-8), \
           P4((u) * (u), 0x1.6f0c4ep-3, 0x1.a27686p-5, 0x1.132df6p-6, 0x1.7d8402p-8, 0x1.66382cp-9))
#define FL_LOG_COSH_CENTRE 0x1.000fa6p-1f
#define FL_LOG_COSH_AT_CENTRE 0x1.da4544p-2f
#define FL_LOG_COSH_SLOPE(u)                                                \
    fl_fma(u, P2((u) * (u), 0x1.e0197ap-7, 0x1.091aaap-10, 0x1.6ab202p-14), \
           P2((u) * (u), -0x1.0b52f6p-4, -0x1.e8d258p-9, -0x1.36ce2ep-12))
#define FL_LOG1P_SMALL_POLY(u)                             \
    fl_fma(u, P1((u) * (u), 0x1.379396p-2, 0x1.4fb63cp-3), \
           P2((u) * (u), -0x1.eb9e8p-2, -0x1.ba8eaap-3, -0x1.02b57p-3))
#else
#define FL_LN2_HI 0x1.62e42feep-1
#define FL_LN2_LO 0x1.a39ef35793c76p-33
#define FL_UP 96
#define FL_EXP_LIMIT 1456.0
#define FL_DEEP 400.0
#define FL_FAR 1080
#define FL_FIRST 512
#define FL_EXP_ZERO 770.0
#define FL_FAR_TOP 1540.0
#define FL_FLAT 0x1p-830
#define FL_EXP_TAIL(r)                                                                             \
    P8(r, 0x1.555555555555bp-3, 0x1.55555555535a9p-5, 0x1.111111110ea98p-7, 0x1.6c16c17bb6799p-10, \
       0x1.a01a01b4daa96p-13, 0x1.a019ae361609fp-16, 0x1.71ddebc545429p-19, 0x1.289cc0c10aa38p-22, \
       0x1.af747572737e6p-26)
#define FL_LOG_POLY(z)                                                                            \
    P6(z, 0x1.5555555555558p-1, 0x1.9999999995077p-2, 0x1.2492492e35998p-2, 0x1.c71c628e9e0c9p-3, \
       0x1.7462cd53e5318p-3, 0x1.39fb2efe206abp-3, 0x1.2b7fa64da1a6ap-3)
#define FL_LOG1P_UNIT_CENTRE 0x1p-1
#define FL_LOG1P_UNIT_AT_CENTRE 0x1.f323ecbf984bfp-4
#define FL_LOG1P_UNIT_SLOPE(u)                                                                               \
    fl_fma(u,                                                                                                \
           P8((u) * (u), -0x1.7ddf1fe86abd1p-4, -0x1.da34824883386p-6, -0x1.44ba45db9d2c7p-7,                \
              -0x1.d5faf123991e3p-9, -0x1.607609b860a1ap-10, -0x1.0ecf788c88794p-11, -0x1.adc02c95d15b2p-13, \
              -0x1.29bc4f4797e09p-14, -0x1.adbcc1715d516p-15),                                               \
           P9((u) * (u), 0x1.6f0d7bd624beep-3, 0x1.a279c04c78267p-5, 0x1.131116fc3b796p-6,                   \
              0x1.84904ec23cf92p-8, 0x1.1ebd44e93877p-9, 0x1.b3dd296fcd372p-11, 0x1.532a48cfe51e4p-12,       \
              0x1.07381d7a19aap-13, 0x1.b9160661f0d2bp-15, 0x1.abd5900876f93p-16))
#define FL_LOG1P_CENTRE 0x1.ffebd51d14e3cp-2
#define FL_LOG1P_AT_CENTRE -0x1.833aa22afca1fp-2
#define FL_LOG1P_SLOPE(u)                                                                                    \
    fl_fma(u,                                                                                                \
           P9((u) * (u), -0x1.7deb7d0a479a2p-4, -0x1.da4f997fa155ep-6, -0x1.44d50fd4bed2ep-7,                \
              -0x1.d62dd87eca4acp-9, -0x1.60a2c918c3737p-10, -0x1.0f320afcfca24p-11, -0x1.a83efc523b761p-13, \
              -0x1.5893ea0320c4ap-14, -0x1.c49093b8fe001p-16, -0x1.76bba5a33f1a4p-16),                       \
           P9((u) * (u), 0x1.6f15014f35637p-3, 0x1.a28c6e9aa4874p-5, 0x1.132447790ba6dp-6,                   \
              0x1.84b559e13caa3p-8, 0x1.1edf8bac0031ap-9, 0x1.b431f14604451p-11, 0x1.52419144864dfp-12,      \
              0x1.10d8ef516407fp-13, 0x1.64d432e31a86p-15, 0x1.2598919f63adap-15))
#define FL_LOG_COSH_CENTRE 0x1.0003c08e8a71ep-1
#define FL_LOG_COSH_AT_CENTRE 0x1.da46d18702431p-2
#define FL_LOG_COSH_SLOPE(u)                                                                             \
    fl_fma(u,                                                                                            \
           P6((u) * (u), 0x1.e021c931699d7p-7, 0x1.0949c4919c41dp-10, 0x1.5b0978662d48p-14,              \
              0x1.ecceaf9d68b6p-18, 0x1.6f88d2a01a96bp-21, 0x1.19ee34f0b67bp-24, 0x1.ee73a4bc6deaep-28), \
           P6((u) * (u), -0x1.0b55b39f462b9p-4, -0x1.e90cd84287be6p-9, -0x1.2b56fcb13ee72p-12,           \
              -0x1.9a6987604ac0dp-16, -0x1.2b79fa172d964p-19, -0x1.c4fe2dc491366p-23,                    \
              -0x1.85d194dd5511cp-26))
#define FL_LOG1P_SMALL_POLY(u)                                                                \
    fl_fma(u,                                                                                 \
           P4((u) * (u), 0x1.3793bf6b1a17dp-2, 0x1.4e8e833c44938p-3, 0x1.a98489d528352p-4,    \
              0x1.2623fa7fa1665p-4, 0x1.9c0682e244c1p-5),                                     \
           P4((u) * (u), -0x1.eb9e7fdd3ab36p-2, -0x1.ba8a41fa48f7cp-3, -0x1.07289dd9a9711p-3, \
              -0x1.5f03df31fd7e7p-4, -0x1.f6830a8af0acdp-5))
#endif
#define FL_LOG1P_POLY(t) \
    fl_fma((t) - FL_LOG1P_CENTRE, FL_LOG1P_SLOPE((t) - FL_LOG1P_CENTRE), FL_LOG1P_AT_CENTRE)
#define FL_LOG2E R(1.44269504088896340736)

#define FL_TWO_TO(n) fl_from_bits((bits)(FL_BIAS + (n)) << FL_MANTISSA)

/* e^r - 1 - r, and the same minus r^2/2. */
static FL_INLINE real fl_exp_rest(real r) { return r * r * fl_fma(r, FL_EXP_TAIL(r), R(0.5)); }
static FL_INLINE real fl_cubic_rest(real r) { return r * r * r * FL_EXP_TAIL(r); }

/* e^x = (1 + r + r_lo + q) * s1 * s1 * s2 with x = k ln 2 + r + r_lo. q is small against 1 + r, so that
 * adding it last makes one rounding of all; r_lo matters for e^x - 1 alone. 2^k is split into s1 s1 s2, since
 * it may be beyond the range where a factor brings the result back into it. */
typedef struct {
    real r, r_lo, q, s1, s2, x;
} exp_parts;

static FL_INLINE exp_parts fl_exp_parts(pair x)
{
    const real h = fl_clip(x.hi, -FL_EXP_LIMIT, FL_EXP_LIMIT);
    const real k = fl_fma(h, FL_LOG2E, FL_MAGIC) - FL_MAGIC;
    const real t = fl_fma(k, -FL_LN2_HI, h), c = fl_fma(k, FL_LN2_LO, h == x.hi ? -x.lo : R(0)), r = t - c;
    const real part = fl_fma(k, R(0.275), FL_MAGIC);
    const real rest = fl_fma(part - FL_MAGIC, R(-2), k) + FL_MAGIC;
    return (exp_parts){ .r = r,
                        .r_lo = (t - r) - c,
                        .q = fl_exp_rest(r),
                        .s1 = fl_from_bits((fl_to_bits(part) + FL_BIAS) << FL_MANTISSA),
                        .s2 = fl_from_bits((fl_to_bits(rest) + FL_BIAS) << FL_MANTISSA),
                        .x = h };
}

/* 1 + r + q */
static FL_INLINE pair fl_mantissa(real r, real q)
{
    const real hi = R(1) + r;
    return fl_fast_sum(hi, ((R(1) - hi) + r) + q);
}

static FL_INLINE pair fl_exp_of(exp_parts e)
{
    const pair m = fl_mantissa(e.r, e.q);
    const real s = e.s1 * e.s1;
    return fl_pair((m.hi * s) * e.s2, (m.lo * s) * e.s2);
}

/* e^x as one number, rounded before it is multiplied by 2^k, since the product may leave the range. */
static FL_INLINE real fl_exp_rounded(exp_parts e)
{
    return (fl_mantissa(e.r, e.q).hi * (e.s1 * e.s1)) * e.s2;
}

static FL_INLINE pair fl_expm1_of(exp_parts e)
{
    const real s = e.s1 * e.s1 * e.s2, top = s - R(1), step = s * e.r, hi = top + step;
    /* s r^2/2 is rounded in the sum alone; with s q in its place the error would be 0.99 ULP */
    const real small = (step - (hi - top)) + fl_fma(s, fl_fma(e.r, e.r_lo, e.r_lo), (s - top) - R(1));
    const pair less = fl_fast_sum(hi, fl_muladd(R(0.5) * step, e.r, fl_fma(s, fl_cubic_rest(e.r), small)));
    return fl_select(e.x > R(40), fl_exp_of(e), less);
}

static FL_INLINE real fl_exp(real x) { return fl_exp_rounded(fl_exp_parts(fl_exact(x))); }
static FL_INLINE real fl_expm1(real x) { return fl_rounded(fl_expm1_of(fl_exp_parts(fl_exact(x)))); }

/* e^-(a + a_lo), for a >= 0 and a tiny a_lo, is mantissa * 2^k, with r and q as above and magic = k +
 * FL_MAGIC. */
typedef struct {
    real r, q, magic, unused[2];
} exp_minus_reduced;

static FL_INLINE exp_minus_reduced fl_exp_minus_reduced(real a, real a_lo)
{
    const real magic = fl_fma(a, -FL_LOG2E, FL_MAGIC), k = magic - FL_MAGIC;
    const real r = fl_fma(k, -FL_LN2_HI, -a) - fl_fma(k, FL_LN2_LO, a_lo);
    return (exp_minus_reduced){ .r = r, .q = fl_exp_rest(r), .magic = magic };
}

/* The power of two next to e^x is 2^fl_exponent(x). */
static FL_INLINE real fl_exponent(real x) { return fl_fma(x, FL_LOG2E, FL_MAGIC) - FL_MAGIC; }

/* A lifted number is 2^FL_LIFT times as large. A lifted e^-a is normal wherever e^-a is not 0, so that a
 * small factor can be applied before the result becomes subnormal and loses digits; fl_lowered takes the
 * 2^FL_LIFT away again. */
#define FL_LIFT (FL_MANTISSA + 40)

static FL_INLINE real fl_lowered(real x) { return x * FL_TWO_TO(-FL_LIFT); }

/* What exponentials in a loop are relative to: e^(s - centre) is multiplied by 2^lift / 2^k for the lift and
 * the k of fl_exp_origin, or is 0 below `floor`. */
typedef struct {
    real centre, floor, magic, unused[2];
} exp_origin;

static FL_INLINE exp_origin fl_exp_origin(real centre, real k)
{
    const real shift = R(FL_BIAS + FL_LIFT) - k;
    return (exp_origin){ .centre = centre,
                         .floor = R(-0.69314718055994530942) * shift,
                         .magic = FL_MAGIC + shift };
}

/* e^(s - centre), in 18 operations for float32 and two for the low part. At the floor the exponent's field is
 * 0, and so is the scale. The last five operations are 1 + r + q times the scale, with two roundings that are
 * known. */
static FL_INLINE pair fl_exp_from(real s, exp_origin o)
{
    const real x = fl_at_least(s - o.centre, o.floor);
    const real magic = fl_fma(x, FL_LOG2E, o.magic), k = magic - o.magic;
    const real r = fl_fma(k, -FL_LN2_LO, fl_fma(k, -FL_LN2_HI, x));
    const real scale = fl_from_bits(fl_to_bits(magic) << FL_MANTISSA);
    const real most = fl_fma(scale, r, scale);
    const real rest = fl_fma(scale, fl_exp_rest(r), fl_fma(scale, r, scale - most));
    const real hi = most + rest;
    return fl_pair(hi, rest - (hi - most));
}

/* The power of two next to that. */
static FL_INLINE real fl_exp_scale(real s, exp_origin o)
{
    return fl_from_bits(fl_to_bits(fl_fma(fl_at_least(s - o.centre, o.floor), FL_LOG2E, o.magic))
                        << FL_MANTISSA);
}

/* 2^lift e^-a, or 0 where `zero` says that a is above the caller's limit. */
static FL_INLINE pair fl_exp_minus_lifted(exp_minus_reduced e, real lift, int zero)
{
    const real scale = fl_from_bits(fl_to_bits(e.magic + (lift + R(FL_BIAS))) << FL_MANTISSA);
    const pair m = fl_mantissa(e.r, e.q);
    return fl_pair(zero ? R(0) : m.hi * scale, zero ? R(0) : m.lo * scale);
}

typedef struct {
    pair lifted, minus_one; /* 2^FL_LIFT e^-a, and e^-a - 1 */
} exp_minus;

static FL_INLINE exp_minus fl_exp_minus_parts(real a, real a_lo)
{
    const exp_minus_reduced e = fl_exp_minus_reduced(a, a_lo);
    const int zero = a > FL_EXP_ZERO;
    const real s = fl_lowered(fl_from_bits((fl_to_bits(e.magic) + (FL_BIAS + FL_LIFT)) << FL_MANTISSA));
    const real top = s - R(1);
    const real step = s * e.r, hi = top + step;
    const real rest = fl_fma(s, fl_cubic_rest(e.r), step - (hi - top));
    const pair less = fl_fast_sum(hi, fl_fma(R(0.5) * step, e.r, rest));
    return (exp_minus){ .lifted = fl_exp_minus_lifted(e, R(FL_LIFT), zero),
                        .minus_one = fl_select(zero, fl_exact(R(-1)), less) };
}

/* e^-a, to be multiplied by a factor of any size. Where it is very small, or `deep`, t is 2^FL_FAR e^-a, and
 * the product has to be multiplied by 2^-FL_FAR in two steps. The first is applied to the factor, which stays
 * normal where the product is not 0, so that nothing overflows; the second is applied to the product. A deep
 * e^-a is lost to rounding when it is added to 1. */
typedef struct {
    pair t; /* e^-a, or lifted where it is deep */
    real first, second;
    int deep;
} tail;

static FL_INLINE tail fl_tail(real a)
{
    const int deep = a > FL_DEEP;
    return (tail){ .t = fl_exp_minus_lifted(fl_exp_minus_reduced(a, R(0)), deep ? R(FL_FAR) : R(0),
                                            a > FL_EXP_LIMIT),
                   .first = deep ? FL_TWO_TO(-FL_FIRST) : R(1),
                   .second = deep ? FL_TWO_TO(FL_FIRST - FL_FAR) : R(1),
                   .deep = deep };
}

/* w e^x, in which e^x neither overflows nor underflows before w is applied. It is 0 for w = 0 and for x far
 * below 0, whatever the other is. w is first moved away from both ends of the range: then the product with
 * the mantissa is exact and overflows only where the result does, and so does that product times one more
 * factor of ordinary size. */
static FL_INLINE real fl_times_exp_up(real w, exp_parts e)
{
    return e.s1 * fl_choose(fl_fabs(w) < R(1024), FL_TWO_TO(FL_UP), FL_TWO_TO(-FL_MANTISSA));
}

static FL_INLINE pair fl_times_exp_down(pair inside, real w, exp_parts e)
{
    const real down = e.s2 * fl_choose(fl_fabs(w) < R(1024), FL_TWO_TO(-FL_UP), FL_TWO_TO(FL_MANTISSA));
    /* lo is made small first: below the normal range both parts are rounded to the same unit */
    const real hi = fl_rounded(inside), lo = inside.lo - (hi - inside.hi);
    const int zero = e.x <= -FL_EXP_LIMIT; /* also for an infinite w */
    return fl_pair(zero ? R(0) : hi * e.s1 * down, zero ? R(0) : lo * e.s1 * down);
}

static FL_INLINE pair fl_times_exp_of(pair w, exp_parts e)
{
    const real up = fl_times_exp_up(w.hi, e);
    return fl_times_exp_down(fl_times(fl_pair(w.hi * up, w.lo * up), fl_mantissa(e.r, e.q)), w.hi, e);
}

static FL_INLINE pair fl_times_exp(real w, pair x)
{
    const exp_parts e = fl_exp_parts(x);
    return fl_times_exp_down(fl_scale(w * fl_times_exp_up(w, e), fl_mantissa(e.r, e.q)), w, e);
}

/* log(2^-down u) + correction for a normal u and a correction of at most an ULP of u, relative to u. fdlibm's
 * reduction: u = 2^k (1 + f), s = f / (2 + f). A correction that is NaN is the result. */
static FL_INLINE pair fl_log_normal(real u, real down, real correction)
{
    const bits one = (bits)FL_BIAS << FL_MANTISSA;
    const bits root_half = fl_to_bits(R(0.70710678118654752440));
    const bits b = fl_to_bits(u) + (one - root_half);
    const real biased = fl_from_bits((b >> FL_MANTISSA) + fl_to_bits(FL_MAGIC)) - FL_MAGIC;
    const real k = biased - (R(FL_BIAS) + down);
    const real f = fl_from_bits((b & (((bits)1 << FL_MANTISSA) - 1)) + root_half) - R(1);
    const real s = f / (R(2) + f), z = s * s, half = R(0.5) * f, half_square = half * f;
    const real rest = s * fl_fma(z, FL_LOG_POLY(z), half_square) - fl_product_error(half, f, half_square);
    const real top = k * FL_LN2_HI;
    const real line = top + f, hi = line - half_square;
    const real lost = (f - (line - top)) + ((line - hi) - half_square);
    return fl_fast_sum(hi, lost + (rest + fl_fma(k, FL_LN2_LO, correction)));
}

/* log(u) + correction for any u. */
static FL_INLINE pair fl_log_corrected(real u, real correction)
{
    const int small = u < FL_MIN_NORMAL;
    const pair log =
        fl_log_normal(small ? u * (R(1) / FL_MIN_NORMAL) : u, small ? R(FL_BIAS - 1) : R(0), correction);
    const real limit = u == R(0) ? -FL_INF : u == FL_INF ? u : FL_NAN;
    const int finite = (u > R(0)) & (u < FL_INF);
    return fl_pair(finite ? log.hi : limit, finite ? log.lo : R(0));
}

/* log(u + c) for |c| <= ulp(u). */
static FL_INLINE pair fl_log_pair(real u, real c) { return fl_log_corrected(u, c == R(0) ? R(0) : c / u); }

static FL_INLINE real fl_log(real x) { return fl_log_pair(x, R(0)).hi; }

/* log(x) of a pair, and log(a + b) with the rounding of a + b undone: full relative accuracy also where the
 * argument is near 1. */
static FL_INLINE pair fl_log_of(pair x) { return fl_log_pair(x.hi, x.lo == x.lo ? x.lo : R(0)); }
static FL_INLINE pair fl_log_sum(real a, real b) { return fl_log_of(fl_sum(a, b)); }

static FL_INLINE real fl_log1p(real x) { return fl_log_sum(R(1), x).hi; }

/* log1p(t + t_lo) for 0 <= t <= 1 and a tiny t_lo, as the pair 3/4 t + rest with rest = t (1/4 - t/2 + t
 * poly(t)). With this split, rest is at most t/4 and each of its rounding errors at most an eighth of an ULP
 * of the result. There is no division, which costs as much as twenty products. */
static FL_INLINE pair fl_log1p_unit(real t, real t_lo)
{
    const real u = t - FL_LOG1P_UNIT_CENTRE,
               poly = fl_fma(u, FL_LOG1P_UNIT_SLOPE(u), FL_LOG1P_UNIT_AT_CENTRE);
    const real most = R(0.75) * t;
    const real lost = FL_HAS_FMA ? fl_fma(R(0.75), t, -most) : (t - most) - R(0.25) * t;
    return fl_pair(most, fl_muladd(t, fl_muladd(t, poly, fl_fma(t, R(-0.5), R(0.25))), lost + t_lo));
}

/* The same for 0 <= t <= e^-2, where half as many terms are enough. */
static FL_INLINE pair fl_log1p_small(real t, real t_lo)
{
    return fl_pair(t, fl_fma(t * t, FL_LOG1P_SMALL_POLY(t - R(0.0625)), t_lo));
}

/* log(cosh a), 0 <= a <= 1. Below a = 2^-50 in float32 and 2^-480 in float64 the error of a^2 is below the
 * subnormal range and is lost, which costs up to 1.5 ULP, without FMA 1.8. */
static FL_INLINE real fl_log_cosh_unit(pair square)
{
    const real u = square.hi - FL_LOG_COSH_CENTRE, step = u * FL_LOG_COSH_SLOPE(u);
    const real rest = fl_muladd(square.hi, step, square.lo * FL_LOG_COSH_AT_CENTRE);
    return fl_muladd(square.hi, FL_LOG_COSH_AT_CENTRE, rest);
}

/* log1p on [0, 1] with twice the working precision, for results that are multiplied by large factors. */
static FL_INLINE pair fl_log1p_pair(pair t)
{
    const real u = t.hi - FL_LOG1P_CENTRE, slope = FL_LOG1P_SLOPE(u);
    const pair step = fl_product(u, slope), poly = fl_fast_sum(FL_LOG1P_AT_CENTRE, step.hi);
    const pair rest = fl_times(fl_product(t.hi, t.hi), fl_pair(poly.hi, poly.lo + step.lo));
    const pair sum = fl_fast_sum(t.hi, rest.hi);
    return fl_pair(sum.hi, sum.lo + (rest.lo + t.lo / (R(1) + t.hi)));
}

#endif
