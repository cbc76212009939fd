/* The one unit that is compiled per SIMD level and dtype. It exports a single const table. */
#include "fastloss.h"
#include "kernels/collision.h"
#include "kernels/pointwise.h"
#include "kernels/labels.h"
#include "kernels/linear.h"
#include "kernels/rowsum.h"
#include "kernels/sgd.h"
#include "kernels/transpose.h"
#include "losses/binary.h"
#include "losses/count.h"
#include "losses/multiclass.h"
#include "losses/regression.h"

#define DOMAIN(name, violation, requirement)                     \
    static FL_INLINE int domain_##name(real y, real p, params c) \
    {                                                            \
        (void)y, (void)p, (void)c;                               \
        return violation;                                        \
    }
#include "losses/domains.def"
#undef DOMAIN

#define KERNEL(name)                                                                                    \
    static int FL_NAME(name)(ptrdiff_t n, const void *const *in, ptrdiff_t third_step, ptrdiff_t ahead, \
                             void *const *out, const double *k, double scale, double *sum)

/* huber_grad_f64_v3 and so on: the symbols that a profiler and the tests of the machine code see. */
#define PASS(loss, domain, pass, outputs)                                                                  \
    KERNEL(loss##_##pass)                                                                                  \
    {                                                                                                      \
        return fl_pointwise(loss, domain_##domain, outputs, n, in, third_step, ahead, out, k, scale, sum); \
    }
#define LOSS(name, domain) FL_PASSES(PASS, name, domain)
#define WAY_log_softmax(name, domain, labels) fl_softmax_rows(name, 0, tile, k, scale, sum)
#define WAY_softmax(name, domain, labels) fl_softmax_rows(name, 1, tile, k, scale, sum)
#define WAY_collision(name, domain, labels) ((void)k, fl_collision_rows(name, tile, scale, sum))
#define WAY_all_classes(name, domain, labels) \
    fl_sum_rows(name, domain_##domain, FL_ALL_CLASSES, FL_LABELS_##labels, tile, k, scale, sum)
#define WAY_other_classes(name, domain, labels) \
    fl_sum_rows(name, domain_##domain, FL_OTHER_CLASSES, FL_LABELS_##labels, tile, k, scale, sum)
#define WAY_distributions(name, domain, labels) \
    fl_sum_rows(name, domain_##domain, FL_DISTRIBUTIONS, FL_LABELS_##labels, tile, k, scale, sum)
#define WAY_rivals(name, domain, labels) ((void)k, fl_rival_rows(tile, scale, sum))
#define ROW_LOSS(name, way, domain, labels)                                                   \
    static int FL_NAME(name)(const fl_tile *tile, const double *k, double scale, double *sum) \
    {                                                                                         \
        return WAY_##way(name, domain, labels);                                               \
    }
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
#undef PASS

#define SGD(name, use_velocity, nesterov)                      \
    KERNEL(name)                                               \
    {                                                          \
        (void)third_step, (void)ahead, (void)scale, (void)sum; \
        return fl_sgd(use_velocity, nesterov, n, in, out, k);  \
    }
SGD(sgd_plain, 0, 0)
SGD(sgd_momentum, 1, 0)
SGD(sgd_nesterov, 1, 1)

#define EXCHANGE(name, scattering)                                                                          \
    static void FL_NAME(name)(char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes, \
                              char *strips)                                                                 \
    {                                                                                                       \
        fl_exchange_all(scattering, rows, step, stride, n, classes, strips);                                \
    }
EXCHANGE(gather, 0)
EXCHANGE(scatter, 1)
#define FL_LAYOUTS(X) X(rows) X(columns) X(sparse)
#define LINEAR(layout)                                                                                  \
    static void FL_NAME(forward_##layout)(const fl_matrix *x, const void *coef, double b, void *scores) \
    {                                                                                                   \
        fl_forward_##layout(x, coef, (real)b, scores);                                                  \
    }                                                                                                   \
    static void FL_NAME(backward_##layout)(const fl_matrix *x, const void *grad, const void *along,     \
                                           double *sums)                                                \
    {                                                                                                   \
        fl_backward_##layout(x, grad, along, sums);                                                     \
    }
FL_LAYOUTS(LINEAR)

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
KERNEL(sum)
{
    const void *const twice[] = { in[0], in[0], in[2] };
    return fl_pointwise(identity, domain_finite, FL_SUM, n, twice, third_step, ahead, out, k, scale, sum);
}

const fl_table FL_NAME(fl_table) = {
    .loss = {
#define PASS(loss, pass, outputs) FL_NAME(loss##_##pass),
#define LOSS(name, domain) { FL_PASSES(PASS, name) },
#define ROW_LOSS(name, way, domain, labels)
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
#undef PASS
    },
    .rows = {
#define LOSS(name, domain)
#define ROW_LOSS(name, way, domain, labels) FL_NAME(name),
#include "losses.def"
#undef LOSS
#undef ROW_LOSS
    },
    .label_cross_entropy = FL_NAME(label_cross_entropy),
    .sgd = { FL_NAME(sgd_plain), FL_NAME(sgd_momentum), FL_NAME(sgd_nesterov) },
    .gather = FL_NAME(gather),
    .scatter = FL_NAME(scatter),
#define FORWARD(layout) FL_NAME(forward_##layout),
#define BACKWARD(layout) FL_NAME(backward_##layout),
    .forward = { FL_LAYOUTS(FORWARD) },
    .backward = { FL_LAYOUTS(BACKWARD) },
    .sum = FL_NAME(sum),
};
