/* Steps on sparse rows that cost their elements, not the columns. */
#ifndef FL_SPARSE_STEPS_H
#define FL_SPARSE_STEPS_H

#include "api/descent.h"

/* Whether these rows, rates and options have such steps, and these are worth it. */
int fl_steps_are_lazy(const fl_steps_call *call);
/* As fl_run_steps. */
int fl_run_lazy_steps(fl_steps_call *call);

#endif
