/* How the rows of a linear model lie: what every unit asks that reads them. */
#ifndef FL_LINEAR_ROWS_H
#define FL_LINEAR_ROWS_H

#include "api/linear.h"
#include "drivers/operands.h"

/* Whether kernels can read dense rows where they lie: reals one behind the other, and rows a whole number of
 * them apart. */
static inline int fl_rows_are_direct(const fl_linear_call *call)
{
    const ptrdiff_t size = call->real_bytes, *strides = call->X.strides;
    return fl_is_real(call->real_bytes, &call->X) &&
           (!strides || (strides[1] == size && strides[0] % size == 0));
}

/* Whether the elements of these rows of a sparse matrix are stored, and in columns that exist. */
int fl_rows_are_inside(const fl_linear_call *call, ptrdiff_t start, ptrdiff_t n);

#endif
