/* The kernels of pointwise losses, and the plain sum: compiled once per SIMD level and dtype; exports one
 * table. */
#include "api/pointwise.h"
#include "kernels/domains.h"
#include "kernels/lanes.h"
#include "losses/binary.h"
#include "losses/count.h"
#include "losses/regression.h"

typedef vgh loss_function(real y, real p, params c);
typedef int domain_function(real y, real p, params c);

/* The only pointwise loop: every pass of every loss is this function with `loss`, `violated` and `outputs`
 * known at compile time, and the compiler drops what a pass does not use. An element of weight 0 is absent:
 * its results are 0 even where the loss is inf or NaN or the domain is violated. There is no `restrict`,
 * since an output may be one of the inputs. */
static FL_INLINE int fl_pointwise(loss_function *loss, domain_function *violated, int outputs,
                                  const fl_block *block)
{
    const real *y = block->in[0], *p = block->in[1], *w = block->weight;
    real *first = outputs & ~FL_SUM ? block->out[0] : NULL;
    real *second = outputs & FL_HESS || (outputs & FL_VALUE && outputs & FL_GRAD) ? block->out[1] : NULL;
    const ptrdiff_t n = block->n, weight_step = block->weight_step, ahead = block->ahead;
    const double *k = block->constants;
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    const real factor = (real)block->scale;
    lane_sums total;
    fl_clear(&total);
    int bad[FL_LANES] = { 0 };

    for (ptrdiff_t i = 0; i < n; i += FL_LANES, w += weight_step) {
        if (ahead) /* prefetches across the ends of pages, where the hardware stops: up to 1.3 times as fast
                      from memory */
            for (int line = 0; line < FL_LANES * (int)sizeof(real); line += 64) {
                __builtin_prefetch((const char *)(y + i) + ahead + line);
                __builtin_prefetch((const char *)(p + i) + ahead + line);
            }
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real yi = y[i + l], pi = p[i + l];
            const real wi = w[l];
            bad[l] |= violated(yi, pi, c) & (wi != R(0));
            if (outputs) {
                const real wf = wi * factor;
                const vgh f = loss(yi, pi, c);
                const real value = wi == R(0) ? R(0) : wi * f.value;
                const real grad = wi == R(0) ? R(0) : wf * f.grad;
                const real hess = wi == R(0) ? R(0) : wf * f.hess;
                if (outputs & FL_SUM)
                    fl_lane_add(&total, l, fl_exact(value));
                if (outputs & FL_VALUE)
                    first[i + l] = value;
                if (outputs & FL_GRAD)
                    *(outputs & FL_VALUE ? &second[i + l] : &first[i + l]) = grad;
                if (outputs & FL_HESS)
                    second[i + l] = hess;
            }
        }
    }
    if (outputs & FL_SUM)
        *block->sum = fl_all_lanes(&total);
    int any = 0;
    for (int l = 0; l < FL_LANES; l++)
        any |= bad[l];
    return any;
}

/* huber_grad_f64_v3 and so on: the symbols that a profiler and the tests of the machine code see. */
#define PASS(loss, domain, pass, outputs)                           \
    static int FL_NAME(loss##_##pass)(const fl_block *block)        \
    {                                                               \
        return fl_pointwise(loss, domain_##domain, outputs, block); \
    }
#define LOSS(name, domain) FL_PASSES(PASS, name, domain)
#include "registry/losses.def"
#undef LOSS
#undef PASS

static FL_INLINE vgh identity(real y, real p, params c)
{
    (void)p, (void)c;
    return (vgh){ .value = y };
}
static FL_INLINE int domain_finite(real y, real p, params c)
{
    (void)p, (void)c;
    return !(fl_fabs(y) < FL_INF);
}
static int FL_NAME(sum)(const fl_block *block)
{
    static const double none[FL_CONSTANTS] = { 0 };
    fl_block twice = *block;
    twice.in[1] = twice.in[0];
    twice.constants = none;
    return fl_pointwise(identity, domain_finite, FL_SUM, &twice);
}

const fl_pointwise_table FL_NAME(fl_pointwise_table) = {
    .loss = {
#define PASS(loss, pass, outputs) FL_NAME(loss##_##pass),
#define LOSS(name, domain) { FL_PASSES(PASS, name) },
#include "registry/losses.def"
#undef LOSS
#undef PASS
    },
    .sum = FL_NAME(sum),
};
