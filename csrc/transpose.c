#include "transpose.h"

#include "fastloss.h"

#include <stdint.h>
#include <string.h>

/* SIDE x SIDE elements: column i of `from` becomes line i of `to`. By vectors of 16 bytes, which every CPU of
 * the library has, 10 classes take half the time of single elements. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SQUARES
typedef uint32_t quad __attribute__((vector_size(16)));
typedef uint64_t couple __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) void square4(const char *from, ptrdiff_t from_step, char *to,
                                                          ptrdiff_t to_step)
{
    quad line[4], out[4];
    for (int i = 0; i < 4; i++)
        memcpy(&line[i], from + i * from_step, sizeof line[i]);
    const quad low = __builtin_shufflevector(line[0], line[1], 0, 4, 1, 5),
               high = __builtin_shufflevector(line[0], line[1], 2, 6, 3, 7),
               low2 = __builtin_shufflevector(line[2], line[3], 0, 4, 1, 5),
               high2 = __builtin_shufflevector(line[2], line[3], 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(low, low2, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(low, low2, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(high, high2, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(high, high2, 2, 3, 6, 7);
    for (int i = 0; i < 4; i++)
        memcpy(to + i * to_step, &out[i], sizeof out[i]);
}

static inline __attribute__((always_inline)) void square8(const char *from, ptrdiff_t from_step, char *to,
                                                          ptrdiff_t to_step)
{
    couple a, b;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + from_step, sizeof b);
    const couple first = __builtin_shufflevector(a, b, 0, 2), second = __builtin_shufflevector(a, b, 1, 3);
    memcpy(to, &first, sizeof first);
    memcpy(to + to_step, &second, sizeof second);
}
#endif
#endif

/* One tile. `scattering` and `size` are known where this is inlined. */
static inline __attribute__((always_inline)) void exchange(int scattering, int size, char *rows,
                                                           ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n,
                                                           ptrdiff_t classes, char *tile)
{
    const ptrdiff_t line = (ptrdiff_t)FL_LANES * size;
    ptrdiff_t k = 0;
#ifdef SQUARES
    const int side = 16 / size;
    for (; n == FL_LANES && stride == size && k + side <= classes; k += side)
        for (ptrdiff_t l = 0; l < FL_LANES; l += side) {
            char *row = rows + l * step + k * size, *lanes = tile + k * line + l * size;
            char *from = scattering ? lanes : row, *to = scattering ? row : lanes;
            const ptrdiff_t from_step = scattering ? line : step, to_step = scattering ? step : line;
            if (size == 4)
                square4(from, from_step, to, to_step);
            else
                square8(from, from_step, to, to_step);
        }
#endif
    for (rows += k * stride, tile += k * line; k < classes; k++, rows += stride, tile += line) {
        char *cell = rows;
        for (ptrdiff_t l = 0; l < n; l++, cell += step)
            memcpy(scattering ? cell : tile + l * size, scattering ? tile + l * size : cell, size);
    }
}

/* A whole tile, whose count of rows the compiler knows, and one that is not. */
static inline void exchange_all(int scattering, int size, char *rows, ptrdiff_t step, ptrdiff_t stride,
                                ptrdiff_t n, ptrdiff_t classes, char *tile)
{
    for (; n >= FL_LANES; n -= FL_LANES, rows += FL_LANES * step, tile += FL_LANES * classes * size)
        exchange(scattering, size, rows, step, stride, FL_LANES, classes, tile);
    if (n > 0)
        exchange(scattering, size, rows, step, stride, n, classes, tile);
}

void fl_gather(int size, const char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
               char *tiles)
{
    if (size == 8)
        exchange_all(0, 8, (char *)rows, step, stride, n, classes, tiles);
    else
        exchange_all(0, 4, (char *)rows, step, stride, n, classes, tiles);
}

void fl_scatter(int size, char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
                const char *tiles)
{
    if (size == 8)
        exchange_all(1, 8, rows, step, stride, n, classes, (char *)tiles);
    else
        exchange_all(1, 4, rows, step, stride, n, classes, (char *)tiles);
}
