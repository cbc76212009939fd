/* Importance-aware steps (Karampatziakis & Langford 2011). A row of weight h counts as h times as many steps
 * on that row, each as short as you like: gradient descent becomes a differential equation in time. All these
 * steps move the parameters along the row, so that the row's score alone has to be followed. */
#ifndef FL_FLOW_H
#define FL_FLOW_H

#include "api/descent.h"

/* The score after that time, where it begins at `score` and ds/dt = -slope(s): to about 1e-9 of its change,
 * and never beyond a minimum of the loss. `slope` is a kernel of the gradient in doubles. */
double fl_score_after(fl_kernel *slope, const double *constants, double y, double score, double time);

/* An importance-aware step on one row: its n numbers and, behind them, 1 for the intercept, or 0, become the
 * gradient that a step with that rate multiplies. `plain` is the derivative of its loss, times the weight. */
void fl_importance_step(const fl_steps_call *call, double rate, double plain, double y, double weight,
                        double score, ptrdiff_t n, double *row);

#endif
