/* What takes the place of weights that a call does not have, and of the lanes that fill up a last group. */
#include "drivers/operands.h"

#include <string.h>

#define SIXTEEN(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
#define SIXTY_FOUR(x) SIXTEEN(x), SIXTEEN(x), SIXTEEN(x), SIXTEEN(x)
static const _Alignas(64) float ones_f32[FL_MOST_ONES + FL_LANES] = { SIXTY_FOUR(1) };
static const _Alignas(64) double ones_f64[FL_MOST_ONES + FL_LANES] = { SIXTY_FOUR(1) };

const void *fl_ones(int real_bytes, ptrdiff_t n)
{
    return real_bytes == 8 ? (const void *)(ones_f64 + FL_MOST_ONES - n)
                           : (const void *)(ones_f32 + FL_MOST_ONES - n);
}

void fl_fill_up(int real_bytes, void *reals, ptrdiff_t n, ptrdiff_t whole)
{
    char *last = (char *)reals + (n - 1) * real_bytes;
    for (ptrdiff_t k = 1; k <= whole - n; k++) /* of a size that the compiler knows: else memcpy is a call */
        if (real_bytes == 8)
            memcpy(last + k * 8, last, 8);
        else
            memcpy(last + k * 4, last, 4);
}
