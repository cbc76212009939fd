/* The kernels of an SGD update of arrays. */
#ifndef FL_API_SGD_H
#define FL_API_SGD_H

#include "api/kernel.h"

typedef enum { FL_SGD_PLAIN, FL_SGD_MOMENTUM, FL_SGD_NESTEROV, FL_N_SGD } fl_sgd_rule;

/* Of one SIMD level and one dtype. in: param, grad and, unless plain, velocity; out: the new param and
 * velocity. constants: learning rate, weight decay, momentum, 1 - dampening. There are no weights. */
typedef struct {
    fl_kernel *rule[FL_N_SGD];
} fl_sgd_table;

#endif
