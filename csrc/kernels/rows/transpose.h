/* From rows of a matrix to strips across rows, and back: [rows][classes], and strips of [classes][FL_LANES],
 * one behind the other. */
#ifndef FL_TRANSPOSE_H
#define FL_TRANSPOSE_H

#include "api/tile.h"
#include "kernels/real.h"

/* Transposes a square of elements: column i of `from` becomes line i of `to`. With vectors of 16 bytes, which
 * every CPU that the library runs on has, 10 classes take half the time that single elements do. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FL_SIDE (16 / (int)sizeof(real))
typedef real fl_line __attribute__((vector_size(16)));

static FL_INLINE void fl_square(const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step)
{
    fl_line line[FL_SIDE], out[FL_SIDE];
    for (int i = 0; i < FL_SIDE; i++)
        __builtin_memcpy(&line[i], from + i * from_step, sizeof line[i]);
#if FL_BITS == 32
    const fl_line low = __builtin_shufflevector(line[0], line[1], 0, 4, 1, 5),
                  high = __builtin_shufflevector(line[0], line[1], 2, 6, 3, 7),
                  low2 = __builtin_shufflevector(line[2], line[3], 0, 4, 1, 5),
                  high2 = __builtin_shufflevector(line[2], line[3], 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(low, low2, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(low, low2, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(high, high2, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(high, high2, 2, 3, 6, 7);
#else
    out[0] = __builtin_shufflevector(line[0], line[1], 0, 2);
    out[1] = __builtin_shufflevector(line[0], line[1], 1, 3);
#endif
    for (int i = 0; i < FL_SIDE; i++)
        __builtin_memcpy(to + i * to_step, &out[i], sizeof out[i]);
}
#endif
#endif

static FL_INLINE void fl_exchange_cell(int scattering, char *cell, char *lane)
{
    __builtin_memcpy(scattering ? cell : lane, scattering ? lane : cell, sizeof(real));
}

/* FL_LANES rows without gaps, of a number of classes that the compiler knows: it finds the best shuffles of
 * the level. */
static FL_INLINE void fl_exchange_few(int scattering, int classes, real *restrict rows, real *restrict lanes)
{
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++)
        for (int k = 0; k < classes; k++)
            if (scattering)
                rows[l * classes + k] = lanes[k * FL_LANES + l];
            else
                lanes[k * FL_LANES + l] = rows[l * classes + k];
}

/* n <= FL_LANES rows. Where this is inlined the compiler knows `scattering`, and n where it is FL_LANES. */
static FL_INLINE void fl_exchange(int scattering, char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n,
                                  ptrdiff_t classes, char *lanes)
{
    const ptrdiff_t size = sizeof(real), line = FL_LANES * size;
    const int whole = n == FL_LANES && stride == size;
    for (ptrdiff_t k = 0; n == FL_LANES && step == size && k < classes; k++)
        __builtin_memcpy(scattering ? rows + k * stride : lanes + k * line,
                         scattering ? lanes + k * line : rows + k * stride, FL_LANES * sizeof(real));
    if (n == FL_LANES && step == size)
        return;
    if (whole && step == classes * size && classes == 2) {
        fl_exchange_few(scattering, 2, (real *)rows, (real *)lanes);
        return;
    }
    if (whole && step == classes * size && classes == 3) {
        fl_exchange_few(scattering, 3, (real *)rows, (real *)lanes);
        return;
    }
    ptrdiff_t k = 0;
#ifdef FL_SIDE
    /* the last squares overlap those before them where the classes do not fill squares */
    while (whole && k < classes && classes >= FL_SIDE) {
        k = k + FL_SIDE <= classes ? k : classes - FL_SIDE;
        for (ptrdiff_t l = 0; l < FL_LANES; l += FL_SIDE) {
            char *row = rows + l * step + k * size, *lane = lanes + k * line + l * size;
            if (scattering)
                fl_square(lane, line, row, step);
            else
                fl_square(row, step, lane, line);
        }
        k += FL_SIDE;
    }
#endif
    for (; k < classes; k++)
        for (ptrdiff_t l = 0; l < n; l++)
            fl_exchange_cell(scattering, rows + l * step + k * stride, lanes + k * line + l * size);
}

static FL_INLINE void fl_exchange_all(int scattering, char *rows, ptrdiff_t step, ptrdiff_t stride,
                                      ptrdiff_t n, ptrdiff_t classes, char *tiles)
{
    const ptrdiff_t tile = FL_LANES * classes * (ptrdiff_t)sizeof(real);
    for (; n >= FL_LANES; n -= FL_LANES, rows += FL_LANES * step, tiles += tile) {
        for (ptrdiff_t line = 0; !scattering && step == classes * stride && line < FL_LANES * step;
             line += 64)
            __builtin_prefetch(rows + FL_TILE_ROWS * step +
                               line); /* 64 rows ahead, also over the end of a page */
        fl_exchange(scattering, rows, step, stride, FL_LANES, classes, tiles);
    }
    if (n > 0)
        fl_exchange(scattering, rows, step, stride, n, classes, tiles);
}

#endif
