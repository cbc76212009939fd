/* From rows of a matrix to strips across rows, and back: [rows][classes], and strips of [classes][FL_LANES],
 * one behind the other. */
#ifndef FL_TRANSPOSE_H
#define FL_TRANSPOSE_H

#include "api/tile.h"
#include "kernels/real.h"

/* Squares of elements are transposed, some at once: a vector has FL_PARTS lines of 16 bytes, each of another
 * square. Shuffles within these are the cheapest at every level, and a load joins them: for float32 and
 * AVX-512 20 operations bring 64 elements into lanes, where vectors of 16 bytes take 32. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FL_SIDE (16 / (int)sizeof(real))
#if defined(__AVX512F__)
#define FL_PARTS 4
#elif defined(__AVX__)
#define FL_PARTS 2
#else
#define FL_PARTS 1
#endif
typedef real fl_line __attribute__((vector_size(16)));
typedef real fl_lines __attribute__((vector_size(16 * FL_PARTS)));

/* Element i of part p of two vectors, whose parts have FL_SIDE elements each. */
#define FL_OF(i, p) ((i) < FL_SIDE ? (i) + FL_SIDE * (p) : (i) + FL_SIDE * (FL_PARTS - 1 + (p)))
#if FL_BITS == 32
#define FL_IN_PART(p, a, b, c, d) FL_OF(a, p), FL_OF(b, p), FL_OF(c, p), FL_OF(d, p)
#define FL_PART(x, p) __builtin_shufflevector(x, x, 4 * (p), 4 * (p) + 1, 4 * (p) + 2, 4 * (p) + 3)
#else
#define FL_IN_PART(p, a, b) FL_OF(a, p), FL_OF(b, p)
#define FL_PART(x, p) __builtin_shufflevector(x, x, 2 * (p), 2 * (p) + 1)
#endif
#if FL_PARTS == 4
#define FL_SHUFFLE(x, y, ...)                                                             \
    __builtin_shufflevector(x, y, FL_IN_PART(0, __VA_ARGS__), FL_IN_PART(1, __VA_ARGS__), \
                            FL_IN_PART(2, __VA_ARGS__), FL_IN_PART(3, __VA_ARGS__))
#elif FL_PARTS == 2
#define FL_SHUFFLE(x, y, ...) \
    __builtin_shufflevector(x, y, FL_IN_PART(0, __VA_ARGS__), FL_IN_PART(1, __VA_ARGS__))
#else
#define FL_SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, FL_IN_PART(0, __VA_ARGS__))
#endif

/* The parts lie `step` bytes apart. */
static FL_INLINE fl_lines fl_read_parts(const char *from, ptrdiff_t step)
{
    fl_line part[FL_PARTS];
    for (int p = 0; p < FL_PARTS; p++)
        __builtin_memcpy(&part[p], from + p * step, sizeof part[p]);
#if FL_PARTS == 1
    return part[0];
#elif FL_BITS == 32 && FL_PARTS == 2
    return __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3, 4, 5, 6, 7);
#elif FL_BITS == 64 && FL_PARTS == 2
    return __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3);
#elif FL_BITS == 32
    typedef real half __attribute__((vector_size(32)));
    const half low = __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3, 4, 5, 6, 7),
               high = __builtin_shufflevector(part[2], part[3], 0, 1, 2, 3, 4, 5, 6, 7);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    typedef real half __attribute__((vector_size(32)));
    const half low = __builtin_shufflevector(part[0], part[1], 0, 1, 2, 3),
               high = __builtin_shufflevector(part[2], part[3], 0, 1, 2, 3);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
#endif
}

static FL_INLINE void fl_write_parts(fl_lines x, char *to, ptrdiff_t step)
{
    fl_line part[FL_PARTS];
    part[0] = FL_PART(x, 0);
#if FL_PARTS > 1
    part[1] = FL_PART(x, 1);
#endif
#if FL_PARTS > 2
    part[2] = FL_PART(x, 2);
    part[3] = FL_PART(x, 3);
#endif
    for (int p = 0; p < FL_PARTS; p++)
        __builtin_memcpy(to + p * step, &part[p], sizeof part[p]);
}

/* FL_SIDE classes of FL_SIDE * FL_PARTS rows, `step` bytes from one to the next; in the lanes `line` bytes
 * from one class to the next. */
static FL_INLINE void fl_squares(int scattering, char *rows, ptrdiff_t step, char *lanes, ptrdiff_t line)
{
    fl_lines x[FL_SIDE], out[FL_SIDE];
    for (int i = 0; i < FL_SIDE; i++)
        if (scattering)
            __builtin_memcpy(&x[i], lanes + i * line, sizeof x[i]);
        else
            x[i] = fl_read_parts(rows + i * step, FL_SIDE * step);
#if FL_BITS == 32
    const fl_lines low = FL_SHUFFLE(x[0], x[1], 0, 4, 1, 5), high = FL_SHUFFLE(x[0], x[1], 2, 6, 3, 7),
                   low2 = FL_SHUFFLE(x[2], x[3], 0, 4, 1, 5), high2 = FL_SHUFFLE(x[2], x[3], 2, 6, 3, 7);
    out[0] = FL_SHUFFLE(low, low2, 0, 1, 4, 5);
    out[1] = FL_SHUFFLE(low, low2, 2, 3, 6, 7);
    out[2] = FL_SHUFFLE(high, high2, 0, 1, 4, 5);
    out[3] = FL_SHUFFLE(high, high2, 2, 3, 6, 7);
#else
    out[0] = FL_SHUFFLE(x[0], x[1], 0, 2);
    out[1] = FL_SHUFFLE(x[0], x[1], 1, 3);
#endif
    for (int i = 0; i < FL_SIDE; i++)
        if (scattering)
            fl_write_parts(out[i], rows + i * step, FL_SIDE * step);
        else
            __builtin_memcpy(lanes + i * line, &out[i], sizeof out[i]);
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
        for (ptrdiff_t l = 0; l < FL_LANES; l += FL_SIDE * FL_PARTS)
            fl_squares(scattering, rows + l * step + k * size, step, lanes + k * line + l * size, line);
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
            __builtin_prefetch(rows + FL_TILE_ROWS * step + line, 0,
                               2); /* 64 rows ahead, also over the end of a page */
        fl_exchange(scattering, rows, step, stride, FL_LANES, classes, tiles);
    }
    if (n > 0)
        fl_exchange(scattering, rows, step, stride, n, classes, tiles);
}

#endif
