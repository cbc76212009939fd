/* A call of a kernel on whole arrays: of any layout, in blocks, on one thread or several. */
#ifndef FL_API_CALL_H
#define FL_API_CALL_H

#include "api/array.h"
#include "api/kernel.h"
#include "api/status.h"

/* Only in[0] to in[inputs - 1], and as many outputs, are looked at: a caller need not clear the others. All
 * of these must be there, and the kernel must write all outputs. An output may be exactly one of the inputs,
 * but may not overlap one in part. */
typedef struct {
    fl_kernel *kernel;
    int real_bytes; /* of what the kernel computes in: 4 or 8 */
    fl_shape shape;
    ptrdiff_t size; /* the product of the shape's lengths */
    int inputs, outputs;
    fl_array in[FL_MAX_INPUTS], out[FL_MAX_OUTPUTS];
    fl_array weight;         /* data NULL: all ones */
    const double *constants; /* as in fl_block, and so are these */
    const void *context;
    double scale;
    int (*interrupted)(void); /* asked now and then by the calling thread: whether to stop. NULL: never */
} fl_call;

/* A constant for kernels of that size of real. A finite one stays finite and not 0: as 0 or inf it would make
 * a NaN where the loss has a number. */
double fl_constant(double k, int real_bytes);

/* Runs the kernel over all elements in C order. Returns FL_VIOLATED if any violates the domain,
 * FL_INTERRUPTED, or 0. The sum, where the kernel has one, depends on the elements alone: not on threads,
 * strides or the level (among those with FMA). */
int fl_run(const fl_call *call, double *sum);

/* The first element, in C order, for which call->kernel reports a violation; -1 for none, or if interrupted.
 */
ptrdiff_t fl_first_violation(const fl_call *call);

#endif
