/* Which kernels run: the best SIMD level that this CPU and operating system support. */
#include "api/levels.h"

#include <string.h>

#ifdef FL_X86_LEVELS
#include <cpuid.h>

/* __builtin_cpu_supports also asks the operating system whether it saves the wide registers. */
static int has_v2(void) { return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"); }
static int has_v3(void)
{
    unsigned a, b, c = 0, d;
    const unsigned movbe_f16c = 1u << 22 | 1u << 29, lzcnt = 1u << 5;
    return has_v2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           __get_cpuid(1, &a, &b, &c, &d) && (c & movbe_f16c) == movbe_f16c &&
           __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & lzcnt);
}
static int has_v4(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#define LEVELS(X) X(v4) X(v3) X(v2) /* best first */
#else
static int has_native(void) { return 1; }
#define LEVELS(X) X(native)
#endif

typedef struct {
    const char *name;
    int (*supported)(void);
    fl_table f32, f64;
} level;

#define DECLARE(name)                                                                             \
    extern const fl_pointwise_table fl_pointwise_table_f32_##name, fl_pointwise_table_f64_##name; \
    extern const fl_row_table fl_row_table_f32_##name, fl_row_table_f64_##name;                   \
    extern const fl_linear_table fl_linear_table_f32_##name, fl_linear_table_f64_##name;          \
    extern const fl_sgd_table fl_sgd_table_f32_##name, fl_sgd_table_f64_##name;
LEVELS(DECLARE)

#define TABLE(type) \
    { &fl_pointwise_table_##type, &fl_row_table_##type, &fl_linear_table_##type, &fl_sgd_table_##type }
#define LINE(name) { #name, has_##name, TABLE(f32_##name), TABLE(f64_##name) },
static const level levels[] = { LEVELS(LINE) };
static const int n_levels = sizeof levels / sizeof *levels;

static const level *_Atomic active; /* a level may be chosen while other threads compute */

const char *fl_select_level(const char *wanted)
{
#ifdef FL_X86_LEVELS
    __builtin_cpu_init();
#endif
    int known = 0;
    for (int i = 0; i < n_levels; i++) {
        const int named = !wanted || strcmp(wanted, levels[i].name) == 0;
        known |= named;
        if (named && levels[i].supported()) {
            active = &levels[i];
            return NULL;
        }
    }
    return known ? "is not supported by this CPU" : "is not a SIMD level of this build";
}

const char *fl_level(void) { return active->name; }

const char *fl_supported_level(int i)
{
    for (int k = 0; k < n_levels; k++)
        if (levels[k].supported() && i-- == 0)
            return levels[k].name;
    return NULL;
}

const fl_table *fl_kernels(int real_bytes)
{
    const level *now = active;
    return real_bytes == 8 ? &now->f64 : &now->f32;
}
