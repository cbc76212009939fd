/* The working type of one compiled kernel unit, and the rules of its loops.
 *
 * Parameters (set by the build):
 *   FL_BITS   32 or 64: `real` is float or double
 *   FL_ISA    suffix of the SIMD level: v2, v3, v4, native
 *
 * The rules that keep every loop vectorised and its bits the same at every level with FMA:
 *   - No branch and no libm call in a formula: compute both sides, then select with `?:`.
 *     fmax and fmin become calls and cost ten times the loop. sqrt is an instruction, not a call.
 *   - Clamp as `x < lo ? lo : x`: the comparison is false for NaN, so NaN passes through.
 *   - fl_fma is the only fused multiply-add (the build sets -ffp-contract=off). Where the level has
 *     none it is a*b+c, because libm's software fma is some fifty times slower.
 *   - Integer <-> real goes through FL_MAGIC: AVX2 has no int64 <-> double instruction.
 *   - Every function is static: nothing compiled above the baseline may leak through the linker.
 *   - Never -ffast-math: it changes the floating-point mode of the whole process.
 */
#ifndef FL_REAL_H
#define FL_REAL_H

#include <stddef.h>
#include <stdint.h>

#define FL_INLINE inline __attribute__((always_inline))

#define FL_PASTE_(a, bits, isa) a##_f##bits##_##isa
#define FL_PASTE(a, bits, isa) FL_PASTE_(a, bits, isa)
/* huber -> huber_f64_v3 */
#define FL_NAME(a) FL_PASTE(a, FL_BITS, FL_ISA)

#if FL_BITS == 32
typedef float real;
typedef uint32_t bits;
#define FL_MANTISSA 23
#define FL_BIAS 127
#define FL_MAGIC 0x1.8p23f
#define FL_MIN_NORMAL 0x1p-126f
#define FL_MAX 0x1.fffffep127f
#define FL_ROOT_MAX 0x1p64f /* sqrt(2^128) */
#define fl_sqrt __builtin_sqrtf
#define fl_fabs __builtin_fabsf
#define fl_copysign __builtin_copysignf
#else
typedef double real;
typedef uint64_t bits;
#define FL_MANTISSA 52
#define FL_BIAS 1023
#define FL_MAGIC 0x1.8p52
#define FL_MIN_NORMAL 0x1p-1022
#define FL_MAX 0x1.fffffffffffffp1023
#define FL_ROOT_MAX 0x1p512
#define fl_sqrt __builtin_sqrt
#define fl_fabs __builtin_fabs
#define fl_copysign __builtin_copysign
#endif

/* A literal of the working type. */
#define R(x) ((real)(x))
#define FL_INF ((real)__builtin_inf())
#define FL_NAN ((real)__builtin_nan(""))

/* What a loss returns for one element: its value and its derivatives by y_pred. Structs are made wider than
 * 16 bytes: Clang returns smaller ones of floats as <2 x float>, and then leaves the loop scalar. */
typedef struct {
    real value, grad, hess, unused[2];
} vgh;

/* The constants of a loss, in the order in which its Python entry returns them. */
typedef struct {
    real a, b, c, d;
} params;

#if defined(__FMA__) || defined(__aarch64__)
#define FL_HAS_FMA 1
#else
#define FL_HAS_FMA 0
#endif

static FL_INLINE real fl_fma(real a, real b, real c)
{
#if FL_HAS_FMA && FL_BITS == 32
    return __builtin_fmaf(a, b, c);
#elif FL_HAS_FMA
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

/* The exact rounding error of the product p = a * b, by Dekker's algorithm (1971) where there is no FMA. */
static FL_INLINE real fl_product_error(real a, real b, real p)
{
#if FL_HAS_FMA
    return fl_fma(a, b, -p);
#else
    const int half = (FL_MANTISSA + 2) / 2;
    const real split = (real)((bits)1 << half) + R(1);
    /* A number so large that its split would overflow is split, and multiplied, scaled down. */
    const real large = FL_MAX / (split * R(2)), least = R(1) / (split - R(1)), most = split - R(1);
    const int a_large = fl_fabs(a) > large, b_large = fl_fabs(b) > large;
    const real x = a_large ? a * least : a, y = b_large ? b * least : b;
    const real down = (a_large | b_large) ? least : R(1), up = (a_large | b_large) ? most : R(1);
    const real xt = x * split, yt = y * split;
    const real xh = xt - (xt - x), yh = yt - (yt - y);
    const real xl = x - xh, yl = y - yh;
    const real e = (((xh * yh - p * down) + xh * yl + xl * yh) + xl * yl) * up;
    /* No correction of an infinite product, nor where the parts of e are rounded to subnormal numbers, since
     * they are then no error of p. */
    return (fl_fabs(e) <= FL_MAX) & (fl_fabs(p) >= R(256) * FL_MIN_NORMAL) ? e : R(0);
#endif
}

/* The exact rounding error of the sum s = a + b, by Knuth's algorithm. */
static FL_INLINE real fl_sum_error(real a, real b, real s)
{
    const real v = s - a;
    return (a - (s - v)) + (b - v);
}

/* a * b + c with a single rounding (nearly so where there is no FMA), for a last step that may not cost 1
 * ULP. */
static FL_INLINE real fl_muladd(real a, real b, real c)
{
#if FL_HAS_FMA
    return fl_fma(a, b, c);
#else
    const real p = a * b, s = p + c;
    return s + (fl_sum_error(p, c, s) + fl_product_error(a, b, p));
#endif
}

static FL_INLINE bits fl_to_bits(real x)
{
    bits b;
    __builtin_memcpy(&b, &x, sizeof b);
    return b;
}

static FL_INLINE real fl_from_bits(bits b)
{
    real x;
    __builtin_memcpy(&x, &b, sizeof x);
    return x;
}

/* NaN passes through all of these. */
static FL_INLINE real fl_at_least(real x, real lo) { return x < lo ? lo : x; }
static FL_INLINE real fl_at_most(real x, real hi) { return x > hi ? hi : x; }
static FL_INLINE real fl_clip(real x, real lo, real hi) { return fl_at_most(fl_at_least(x, lo), hi); }

/* -1, 0 or 1 */
static FL_INLINE real fl_sign(real x) { return x > R(0) ? R(1) : x < R(0) ? R(-1) : x; }

/* yes ? a : b for a condition on the loss's constants alone. The mask is computed before the loop, and the
 * loop has no branch (a `?:` would tempt GCC to clone the loop, and then to leave the clones scalar). */
static FL_INLINE real fl_choose(int yes, real a, real b)
{
    const bits mask = (bits)0 - (bits)yes;
    return fl_from_bits((fl_to_bits(a) & mask) | (fl_to_bits(b) & ~mask));
}

/* w * x, where a factor of 0 means "this term is absent": 0 * inf is 0, and 0 * NaN too. */
static FL_INLINE real fl_term(real w, real x) { return w == R(0) ? R(0) : w * x; }

/* The label of a margin loss as -1 or +1: positive where y > 0. */
static FL_INLINE real fl_margin_label(real y) { return y > R(0) ? R(1) : y <= R(0) ? R(-1) : y; }

#endif
