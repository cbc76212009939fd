/* The SGD update, as torch.optim.SGD defines it: with d = grad + weight_decay * param,
 *   velocity = momentum * velocity + (1 - dampening) * d    (d itself on the first step)
 *   param   -= lr * (nesterov ? d + momentum * velocity : velocity)                             */
#ifndef FL_SGD_H
#define FL_SGD_H

#include "../fastloss.h"
#include "real.h"

/* in: param, grad, velocity; out: param, velocity. k: lr, weight_decay, momentum, 1 - dampening. */
static FL_INLINE int fl_sgd(int use_velocity, int nesterov, ptrdiff_t n, const void *const *in,
                            void *const *out, const double *k)
{
    const real *param = in[0], *grad = in[1], *velocity = in[2];
    real *new_param = out[0], *new_velocity = out[1];
    const real lr = (real)(k[0]), decay = (real)(k[1]);
    const real momentum = (real)(k[2]), gain = (real)(k[3]);

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

#endif
