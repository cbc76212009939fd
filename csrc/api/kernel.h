/* What a kernel sees: one block, contiguous, of one dtype. The header that drivers and compiled kernels
 * share; it knows nothing of calls, so that a new field of a call compiles no kernel again. */
#ifndef FL_API_KERNEL_H
#define FL_API_KERNEL_H

#include <stddef.h>

enum {
    FL_LANES = 16,     /* a kernel's length is a multiple of this, and sums run in as many lanes */
    FL_BLOCK = 2048,   /* elements between two additions to the pairwise sum */
    FL_CONSTANTS = 4,  /* a loss of `params` has up to so many, and its caller gives so many */
    FL_MAX_INPUTS = 8, /* targets, then predictions; or param, grad, velocity */
    FL_MAX_OUTPUTS = 9 /* a value, and first and second derivatives by up to 4 predictions */
};

typedef struct {
    ptrdiff_t n;         /* elements: a multiple of FL_LANES */
    int inputs, outputs; /* how many there are; the other pointers are undefined */
    const void *in[FL_MAX_INPUTS];
    void *out[FL_MAX_OUTPUTS];
    const void *weight;
    ptrdiff_t weight_step; /* for each FL_LANES elements: FL_LANES, or 0 to read the same lanes every time */
    ptrdiff_t ahead;       /* inputs are prefetched so many bytes ahead, if that is not 0 */
    const double *constants; /* FL_CONSTANTS, or as many as the kernel has; NULL where it has none */
    const void *context;     /* of a kernel that needs more than constants; else NULL */
    double scale;            /* multiplies the derivatives */
    double *sum;             /* set by the kernels that have one */
} fl_block;

/* Returns whether an element violates the loss's domain. */
typedef int fl_kernel(const fl_block *block);

#endif
