/* The largest errors of vecmath.h in float32, over all arguments.
 *
 *   vecmath [STEP [LEVEL...]]   every STEP-th float (default 1: all 2^32), at LEVELs (default: all of the
 * CPU)
 *
 * The references are libm's in double, whose error is below 2^-28 float ULP; what comes near the largest
 * error so far is done again in long double. Errors are in units of the last place (ULP) of the exact result;
 * below the normal range these are 2^-149. A result of 0, inf or NaN must be exact. Fails above 1 ULP.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int evaluate(const char *name, const float *x, const float *y, float *out, size_t n);
#define LEVEL(level) evaluate elementary_f32_##level;
#ifdef HAVE_v2
LEVEL(v2)
LEVEL(v3)
LEVEL(v4)
#else
LEVEL(native)
#endif
#undef LEVEL

typedef struct {
    const char *name;
    evaluate *evaluate;
    int supported;
} level;

static double log_cosh(double x) { return log1p(2 * sinh(x / 2) * sinh(x / 2)); }
static long double log_coshl(long double x) { return log1pl(2 * sinhl(x / 2) * sinhl(x / 2)); }
static double exp_minus(double x) { return exp(-x); }
static long double exp_minusl(long double x) { return expl(-x); }
static double expm1_minus(double x) { return expm1(-x); }
static long double expm1_minusl(long double x) { return expm1l(-x); }

static const struct function {
    const char *name;
    double (*reference)(double);
    long double (*reference_l)(long double);
    float low, high;
} functions[] = {
    { "exp", exp, expl, -INFINITY, INFINITY },
    { "expm1", expm1, expm1l, -INFINITY, INFINITY },
    { "e^-a", exp_minus, exp_minusl, 0, INFINITY },
    { "e^-a, high part", exp_minus, exp_minusl, 0, INFINITY },
    { "e^-a - 1", expm1_minus, expm1_minusl, 0, INFINITY },
    { "log", log, logl, -INFINITY, INFINITY },
    { "log1p", log1p, log1pl, -INFINITY, INFINITY },
    { "log1p, unit", log1p, log1pl, 0, 1 },
    { "log1p, pair", log1p, log1pl, 0, 1 },
    { "log1p, small", log1p, log1pl, 0, 0x1.152aaap-3f }, /* e^-2 */
    { "log cosh, unit", log_cosh, log_coshl, 0x1p-50f, 1 },
};
enum { FUNCTIONS = sizeof functions / sizeof *functions, BLOCK = 4096 };

/* 1 over the unit in the last place of a float32 result. */
static double ulps_in(double exact)
{
    const double size = fabs(exact);
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    const int exponent = (int)(bits >> 52) - 1023;
    bits = (uint64_t)(1023 + 23 - (exponent < -126 ? -126 : exponent > 127 ? 127 : exponent)) << 52;
    double units;
    memcpy(&units, &bits, sizeof units);
    return units;
}

static long double error(float got, long double exact)
{
    if (isnan(exact) || isnan(got))
        return isnan(exact) && isnan(got) ? 0 : INFINITY;
    if (exact == 0 || (isinf(exact) && isinf(got)))
        return got == exact ? 0 : INFINITY;
    const long double reached = isinf(got) ? copysignl(0x1p128L, got) : got;
    if (isinf(got) && fabsl(exact) > 0x1p128L && (got > 0) == (exact > 0))
        return 0;
    return fabsl(reached - exact) * ulps_in((double)exact);
}

typedef struct {
    double error;
    float at;
} worst;

static worst check(const struct function *f, evaluate *evaluate, uint64_t step)
{
    const int64_t blocks = (int64_t)((UINT64_C(1) << 32) / step / BLOCK) + 1;
    worst all = { 0, 0 };
#pragma omp parallel
    {
        worst own = { 0, 0 };
        float x[BLOCK], y[BLOCK];
#pragma omp for schedule(dynamic, 64)
        for (int64_t block = 0; block < blocks; block++) {
            int n = 0;
            for (uint64_t i = (uint64_t)block * BLOCK, end = i + BLOCK; i < end; i++) {
                const uint32_t bits = (uint32_t)(i * step);
                memcpy(&x[n], &bits, sizeof bits);
                n += i * step < UINT64_C(1) << 32 && !(x[n] < f->low) && !(x[n] > f->high);
            }
            evaluate(f->name, x, x, y, (size_t)n);
            for (int i = 0; i < n; i++) {
                const double exact = f->reference(x[i]);
                const double rough = fabs(y[i] - exact) * ulps_in(exact);
                if (rough < own.error - 1e-6 || exact == y[i] || (exact != exact && y[i] != y[i]))
                    continue;
                const double here = (double)error(y[i], f->reference_l(x[i]));
                if (here > own.error)
                    own = (worst){ here, x[i] };
            }
        }
#pragma omp critical
        if (own.error > all.error)
            all = own;
    }
    return all;
}

static int is_function(const char *name)
{
    for (int i = 0; i < FUNCTIONS; i++)
        if (!strcmp(name, functions[i].name))
            return 1;
    return 0;
}

static int is_level(const char *name) { return !is_function(name); }

/* Whether the arguments contain that name, or no name of its kind. */
static int chosen(const char *name, int (*is_of_kind)(const char *), int argc, char **argv)
{
    int others = 0;
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], name))
            return 1;
        others |= is_of_kind(argv[i]);
    }
    return !others;
}

int main(int argc, char **argv)
{
    const level levels[] = {
#ifdef HAVE_v2
        { "v2", elementary_f32_v2, 1 },
        { "v3", elementary_f32_v3, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") },
        { "v4", elementary_f32_v4,
          __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl") },
#else
        { "native", elementary_f32_native, 1 },
#endif
    };
    const uint64_t step = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    int failures = 0;
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        for (int i = 0; i < FUNCTIONS; i++) {
            if (!levels[l].supported || !chosen(levels[l].name, is_level, argc, argv) ||
                !chosen(functions[i].name, is_function, argc, argv))
                continue;
            struct timespec start, end;
            clock_gettime(CLOCK_MONOTONIC, &start);
            const worst w = check(&functions[i], levels[l].evaluate, step);
            clock_gettime(CLOCK_MONOTONIC, &end);
            const double seconds =
                (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
            failures += w.error > 1;
            printf("%-7s %-16s %.4f ULP at %a (%.9g), %.0f s\n", levels[l].name, functions[i].name, w.error,
                   (double)w.at, (double)w.at, seconds);
            fflush(stdout);
        }
    }
    return failures > 0;
}
