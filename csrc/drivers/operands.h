/* What every driver asks about its operands, and how it fills up groups of lanes for the kernels. */
#ifndef FL_OPERANDS_H
#define FL_OPERANDS_H

#include "api/array.h"
#include "api/kernel.h"

#include <stdint.h>

/* Whether the array holds aligned reals of that many bytes in the machine's byte order. */
static inline int fl_is_real(int real_bytes, const fl_array *a)
{
    return a->type == (real_bytes == 8 ? FL_F64 : FL_F32) && (uintptr_t)a->data % (unsigned)real_bytes == 0;
}

/* Whether kernels can read and write the whole array where it lies. */
static inline int fl_is_direct(int real_bytes, const fl_array *a)
{
    return !a->strides && fl_is_real(real_bytes, a);
}

static inline ptrdiff_t fl_clip(ptrdiff_t x, ptrdiff_t lo, ptrdiff_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* n, filled up to whole groups of lanes. */
static inline ptrdiff_t fl_whole_groups(ptrdiff_t n) { return (n + FL_LANES - 1) / FL_LANES * FL_LANES; }

/* The weights of n elements, n <= FL_MOST_ONES, for a call that has none: n ones, and behind them FL_LANES
 * zeros for the lanes that fill up a last group. So no kernel needs a second version without weights. */
enum { FL_MOST_ONES = 64 };
const void *fl_ones(int real_bytes, ptrdiff_t n);

/* Copies of the last of n reals up to `whole`. */
void fl_fill_up(int real_bytes, void *reals, ptrdiff_t n, ptrdiff_t whole);

#endif
