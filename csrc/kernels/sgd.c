/* The SGD update: compiled once per SIMD level and dtype; exports one table. It is that of torch.optim.SGD:
 * with d = grad + weight_decay * param, velocity = momentum * velocity + (1 - dampening) * d    (d itself on
 * the first step) param   -= lr * (nesterov ? d + momentum * velocity : velocity) */
#include "api/sgd.h"
#include "kernels/real.h"

static FL_INLINE int fl_sgd(int use_velocity, int nesterov, const fl_block *block)
{
    const real *param = block->in[0], *grad = block->in[1], *velocity = use_velocity ? block->in[2] : NULL;
    real *new_param = block->out[0], *new_velocity = use_velocity ? block->out[1] : NULL;
    const double *k = block->constants;
    const real lr = (real)k[0], decay = (real)k[1], momentum = (real)k[2], gain = (real)k[3];
    const ptrdiff_t n = block->n;

    for (ptrdiff_t i = 0; i < n; i += FL_LANES) {
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real w = param[i + l];
            const real d = decay == R(0) ? grad[i + l] : fl_fma(decay, w, grad[i + l]);
            real step = d;
            if (use_velocity) {
                const real v = fl_fma(momentum, velocity[i + l], gain * d);
                new_velocity[i + l] = v;
                step = nesterov ? fl_fma(momentum, v, d) : v;
            }
            new_param[i + l] = fl_fma(-lr, step, w);
        }
    }
    return 0;
}

static int FL_NAME(sgd_plain)(const fl_block *block) { return fl_sgd(0, 0, block); }
static int FL_NAME(sgd_momentum)(const fl_block *block) { return fl_sgd(1, 0, block); }
static int FL_NAME(sgd_nesterov)(const fl_block *block) { return fl_sgd(1, 1, block); }

const fl_sgd_table FL_NAME(fl_sgd_table) = {
    .rule = {
        [FL_SGD_PLAIN] = FL_NAME(sgd_plain),
        [FL_SGD_MOMENTUM] = FL_NAME(sgd_momentum),
        [FL_SGD_NESTEROV] = FL_NAME(sgd_nesterov),
    },
};
