/* What all need who read the rows of a linear model. */
#ifndef FL_LINEAR_ROWS_H
#define FL_LINEAR_ROWS_H

#include "api/linear.h"

/* Of a sparse matrix, whether these rows' elements are stored, and lie in columns that there are. */
int fl_rows_are_inside(const fl_linear_call *call, ptrdiff_t start, ptrdiff_t n);

#endif
