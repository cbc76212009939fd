/* What the tests share: the outputs of a pass, comparing bits, and numbers that are the same everywhere. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include "fastloss.h"

#include <stdint.h>
#include <string.h>

static inline double load_real(const void *x, int real_bytes)
{
    float f;
    double d;
    if (real_bytes == 8)
        return memcpy(&d, x, sizeof d), d;
    return memcpy(&f, x, sizeof f), f;
}

static inline void store_real(void *to, int real_bytes, double x)
{
    const float f = (float)x;
    memcpy(to, real_bytes == 8 ? (const void *)&x : (const void *)&f, (size_t)real_bytes);
}

static inline int outputs_of(int pass)
{
    static const int outputs[] = {
#define PASS(table, name, outputs) outputs,
        FL_PASSES(PASS, outputs)
#undef PASS
    };
    return outputs[pass];
}

/* The arrays that a pass writes. A call has no other outputs: if one is packed, elements that a kernel does
 * not write become undefined. */
static inline int arrays_of(int pass)
{
    const int outputs = outputs_of(pass);
    return !!(outputs & FL_VALUE) + !!(outputs & FL_GRAD) + !!(outputs & FL_HESS);
}

/* Any NaN is like any other, and +0 like -0: the build promises neither payloads nor the sign of 0. */
static inline int same_real(double a, double b) { return a == b || (a != a && b != b); }

/* 24 bits, exact in both dtypes. The same generator as in tests/support/recorded.py. */
static inline uint32_t next_number(uint32_t *state) { return (*state = 1664525 * *state + 1013904223) >> 8; }

#endif
