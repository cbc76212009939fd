/* The kernels of pointwise losses: which losses there are, and what one sweep over the data can leave behind.
 */
#ifndef FL_API_POINTWISE_H
#define FL_API_POINTWISE_H

#include "api/kernel.h"

typedef enum {
#define LOSS(name, domain) FL_LOSS_##name,
#include "registry/losses.def"
#undef LOSS
    FL_N_LOSSES
} fl_loss;

/* FL_PASSES(PASS, ...) is PASS(..., name, outputs) for each pass over the data. A macro and not a list of
 * lines, because kernels/pointwise.c needs all of them for each loss. `check` looks at the domain alone. */
#define FL_PASSES(PASS, ...)                          \
    PASS(__VA_ARGS__, check, 0)                       \
    PASS(__VA_ARGS__, sum, FL_SUM)                    \
    PASS(__VA_ARGS__, value, FL_VALUE)                \
    PASS(__VA_ARGS__, grad, FL_GRAD)                  \
    PASS(__VA_ARGS__, sum_grad, FL_SUM | FL_GRAD)     \
    PASS(__VA_ARGS__, value_grad, FL_VALUE | FL_GRAD) \
    PASS(__VA_ARGS__, grad_hess, FL_GRAD | FL_HESS)

/* The outputs of a pass: the sum, and arrays, which are in this order in `out`. */
enum { FL_SUM = 1, FL_VALUE = 2, FL_GRAD = 4, FL_HESS = 8 };

typedef enum {
#define PASS(prefix, name, outputs) prefix##name,
    FL_PASSES(PASS, FL_PASS_)
#undef PASS
        FL_N_PASSES
} fl_pass;

/* Of one SIMD level and one dtype. in: y_true, y_pred. */
typedef struct {
    fl_kernel *loss[FL_N_LOSSES][FL_N_PASSES];
    fl_kernel
        *sum; /* of its only input, times the weights; violated where that is not finite. No constants */
} fl_pointwise_table;

#endif
