/* The functions of vecmath.h on arrays, compiled as the kernels are: for vecmath.c, which goes over every
 * float32, and for tests/project/test_vecmath.py, which compares float64 with mpmath. */
#include "kernels/vecmath.h"

#include <string.h>

#define EVALUATE(expression)             \
    for (size_t i = 0; i < n; i++) {     \
        const real x = xs[i], y = ys[i]; \
        (void)y;                         \
        out[i] = expression;             \
    }                                    \
    return 0

static FL_INLINE real exp_minus_of(real a)
{
    const pair lifted = fl_exp_minus_parts(a, R(0)).lifted;
    return fl_lowered(fl_rounded(lifted));
}

/* Evaluates the function of that name; returns -1 where there is none. */
int FL_NAME(elementary)(const char *name, const real *xs, const real *ys, real *out, size_t n);
int FL_NAME(elementary)(const char *name, const real *xs, const real *ys, real *out, size_t n)
{
#define FUNCTION(called, expression) \
    if (!strcmp(name, called)) {     \
        EVALUATE(expression);        \
    }
    FUNCTION("exp", fl_exp(x))
    FUNCTION("exp of a pair", fl_rounded(fl_exp_of(fl_exp_parts(fl_sum(x, y)))))
    FUNCTION("expm1", fl_expm1(x))
    FUNCTION("e^-a", exp_minus_of(x))
    FUNCTION("e^-a, high part", fl_lowered(fl_exp_minus_parts(x, R(0)).lifted.hi))
    FUNCTION("e^-a - 1", fl_rounded(fl_exp_minus_parts(x, R(0)).minus_one))
    FUNCTION("w e^x", fl_rounded(fl_times_exp(y, fl_pair(x, R(0)))))
    FUNCTION("log", fl_log(x))
    FUNCTION("log1p", fl_log1p(x))
    FUNCTION("log(a + b)", fl_rounded(fl_log_sum(x, y)))
    FUNCTION("log1p, unit", fl_rounded(fl_log1p_unit(x, R(0))))
    FUNCTION("log1p, pair", fl_rounded(fl_log1p_pair(fl_pair(x, R(0)))))
    FUNCTION("log1p, small", fl_rounded(fl_log1p_small(x, R(0))))
    FUNCTION("log cosh, unit", fl_log_cosh_unit(fl_product(x, x)))
    return -1;
}
