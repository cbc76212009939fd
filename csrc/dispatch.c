/* Which kernels run: the best SIMD level that this CPU and operating system support. */
#include "fastloss.h"

#include <string.h>

static const char *const loss_names[] = {
#define LOSS(name, domain) #name,
#define ROW_LOSS(name, way, domain, labels)
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
};

static const char *const row_loss_names[] = {
#define LOSS(name, domain)
#define ROW_LOSS(name, way, domain, labels) #name,
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
};

enum {
#define DOMAIN(name, violation, requirement) DOMAIN_##name,
#include "losses/domains.def"
#undef DOMAIN
};

static const char *const requirements[] = {
#define DOMAIN(name, violation, requirement) requirement,
#include "losses/domains.def"
#undef DOMAIN
};

static const int loss_domains[] = {
#define LOSS(name, domain) DOMAIN_##domain,
#define ROW_LOSS(name, way, domain, labels)
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
};

const char *fl_loss_name(int loss) { return loss_names[loss]; }
static const int row_loss_domains[] = {
#define LOSS(name, domain)
#define ROW_LOSS(name, way, domain, labels) DOMAIN_##domain,
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
};

static const int row_loss_labels[] = {
#define LOSS(name, domain)
#define ROW_LOSS(name, way, domain, labels) FL_LABELS_##labels,
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
};

enum {
    WAY_log_softmax = 1,
    WAY_softmax = 1,
    WAY_collision = 1,
    WAY_rivals = 0,
    WAY_all_classes = 0,
    WAY_other_classes = 0,
    WAY_distributions = 0
};
static const int row_loss_is_softmax[] = {
#define LOSS(name, domain)
#define ROW_LOSS(name, way, domain, labels) WAY_##way,
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
};

int fl_row_loss_is_softmax(int loss) { return row_loss_is_softmax[loss]; }
const char *fl_row_loss_requirement(int loss) { return requirements[row_loss_domains[loss]]; }
int fl_row_loss_labels(int loss) { return row_loss_labels[loss]; }
const char *fl_row_loss_name(int loss) { return row_loss_names[loss]; }
const char *fl_loss_requirement(int loss) { return requirements[loss_domains[loss]]; }

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
    const fl_table *f32, *f64;
} level;

#define DECLARE(name) extern const fl_table fl_table_f32_##name, fl_table_f64_##name;
LEVELS(DECLARE)
#define ROW(name) { #name, has_##name, &fl_table_f32_##name, &fl_table_f64_##name },
static const level levels[] = { LEVELS(ROW) };
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

const fl_table *fl_kernels(int real_bytes) { return real_bytes == 8 ? active->f64 : active->f32; }
