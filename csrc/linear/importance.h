/* Importance-aware steps (Karampatziakis & Langford 2011): gradient descent on one row, in steps as short as
 * you like. Along a row the parameters are a multiple of it, so that all that moves is its score. */
#ifndef FL_FLOW_H
#define FL_FLOW_H

#include "api/descent.h"

/* Where ds/dt = -slope(s) leads from `score` in that time, to about 1e-9 of the way; never beyond a minimum
 * of the loss. `slope` is a gradient in doubles. */
double fl_flow(fl_kernel *slope, const double *constants, double y, double score, double time);

/* Of an importance-aware step on one row: its n numbers and, behind them, 1 for the intercept, or 0, become
 * what the step multiplies by the rate. `plain` is the derivative of its loss, times the weight. */
void fl_scale_row(const fl_steps_call *call, double rate, double plain, double y, double weight, double score,
                  ptrdiff_t n, double *row);

#endif
