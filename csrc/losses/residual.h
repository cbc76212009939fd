/* Functions of the residual r = y_pred - y_true that losses of several families are made of. */
#ifndef FL_RESIDUAL_H
#define FL_RESIDUAL_H

#include "kernels/real.h"

static FL_INLINE vgh fl_squared_residual(real r)
{
    return (vgh){ .value = r * r, .grad = R(2) * r, .hess = R(2) };
}

static FL_INLINE vgh fl_absolute_residual(real r)
{
    return (vgh){ .value = fl_fabs(r), .grad = fl_sign(r), .hess = R(0) };
}

#endif
