/* Lazy steps on sparse rows: their cost grows with the elements of the rows, not with the columns. */
#ifndef FL_SPARSE_STEPS_H
#define FL_SPARSE_STEPS_H

#include "api/descent.h"

/* Whether lazy steps can do what this call asks for, and are faster. */
int fl_steps_are_lazy(const fl_steps_call *call);
/* As fl_run_steps. */
int fl_run_lazy_steps(fl_steps_call *call);

#endif
