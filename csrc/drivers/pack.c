/* Packing: elements of any dtype and layout are copied to contiguous reals, and back. There is a case for
 * each dtype, so that the loop over a run of elements has no branch. */
#include "drivers/pack.h"

#include <stdint.h>
#include <string.h>

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* IEEE binary16. Shifted into a float's place a finite one is 2^112 too small; the product is exact. */
static float half_of(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t magnitude = (uint32_t)(bits & 0x7fff) << 13;
    if (magnitude >= (uint32_t)0x7c00 << 13)
        return float_of(sign | magnitude | 0x7f800000); /* inf, NaN */
    const float x = float_of(magnitude) * 0x1p112f;
    return sign ? -x : x;
}

/* Each source type: the unsigned type that holds its bits, how to reverse their bytes, their value. */
#define UNCHANGED(bits) (bits)
#define SOURCES(X)                                         \
    X(FL_BOOL, uint8_t, UNCHANGED, bits != 0)              \
    X(FL_I8, uint8_t, UNCHANGED, (int8_t)bits)             \
    X(FL_I16, uint16_t, __builtin_bswap16, (int16_t)bits)  \
    X(FL_I32, uint32_t, __builtin_bswap32, (int32_t)bits)  \
    X(FL_I64, uint64_t, __builtin_bswap64, (int64_t)bits)  \
    X(FL_U8, uint8_t, UNCHANGED, bits)                     \
    X(FL_U16, uint16_t, __builtin_bswap16, bits)           \
    X(FL_U32, uint32_t, __builtin_bswap32, bits)           \
    X(FL_U64, uint64_t, __builtin_bswap64, bits)           \
    X(FL_F16, uint16_t, __builtin_bswap16, half_of(bits))  \
    X(FL_F32, uint32_t, __builtin_bswap32, float_of(bits)) \
    X(FL_F64, uint64_t, __builtin_bswap64, double_of(bits))

#define READ(real, word, order, value)                 \
    for (ptrdiff_t i = 0; i < n; i++, src += stride) { \
        word bits;                                     \
        memcpy(&bits, src, sizeof bits);               \
        bits = (word)order(bits);                      \
        ((real *)dst)[i] = (real)(value);              \
    }                                                  \
    break;

#define READ_CASES(type, word, swap, value)  \
    case type * 2:                           \
        READ(float, word, UNCHANGED, value)  \
    case type * 2 + 1:                       \
        READ(double, word, UNCHANGED, value) \
    case (type | FL_SWAPPED) * 2:            \
        READ(float, word, swap, value)       \
    case (type | FL_SWAPPED) * 2 + 1:        \
        READ(double, word, swap, value)

static void read_run(int type, int is_double, const char *src, ptrdiff_t stride, ptrdiff_t n, void *dst)
{
    switch (type * 2 + is_double) {
        SOURCES(READ_CASES)
    }
}

#define WRITE(real, target, word, order)                 \
    for (ptrdiff_t i = 0; i < n; i++, dst += stride) {   \
        const target x = (target)((const real *)src)[i]; \
        word bits;                                       \
        memcpy(&bits, &x, sizeof bits);                  \
        bits = order(bits);                              \
        memcpy(dst, &bits, sizeof bits);                 \
    }                                                    \
    break;

#define WRITE_CASES(type, target, word, swap)  \
    case type * 2:                             \
        WRITE(float, target, word, UNCHANGED)  \
    case type * 2 + 1:                         \
        WRITE(double, target, word, UNCHANGED) \
    case (type | FL_SWAPPED) * 2:              \
        WRITE(float, target, word, swap)       \
    case (type | FL_SWAPPED) * 2 + 1:          \
        WRITE(double, target, word, swap)

static void write_run(int type, int is_double, const void *src, char *dst, ptrdiff_t stride, ptrdiff_t n)
{
    switch (type * 2 + is_double) {
        WRITE_CASES(FL_F32, float, uint32_t, __builtin_bswap32)
        WRITE_CASES(FL_F64, double, uint64_t, __builtin_bswap64)
    }
}

ptrdiff_t fl_item_size(int type)
{
#define SIZE(name, word, swap, value) \
    case name:                        \
        return sizeof(word);
    switch (type & ~FL_SWAPPED) {
        SOURCES(SIZE)
    }
#undef SIZE
    return 0;
}

/* Cuts [start, start + n) into runs along the last axis and hands each to read_run or write_run. */
static void transfer(const fl_shape *shape, int real_bytes, const fl_array *a, ptrdiff_t start, ptrdiff_t n,
                     char *block, int writing)
{
    const int is_double = real_bytes == 8, last = shape->ndim - 1;
    const ptrdiff_t item = fl_item_size(a->type);
    const int flat = !a->strides || shape->ndim == 0;
    ptrdiff_t index[FL_MAX_DIMS];
    ptrdiff_t offset = flat ? start * item : 0;

    for (ptrdiff_t d = last, rest = start; !flat && d >= 0; d--) {
        index[d] = rest % shape->length[d];
        rest /= shape->length[d];
        offset += index[d] * a->strides[d];
    }
    for (;;) {
        const ptrdiff_t left = flat ? n : shape->length[last] - index[last];
        const ptrdiff_t run = left < n ? left : n, stride = flat ? item : a->strides[last];
        if (writing)
            write_run(a->type, is_double, block, a->data + offset, stride, run);
        else
            read_run(a->type, is_double, a->data + offset, stride, run, block);
        n -= run;
        if (n == 0)
            return;
        block += run * real_bytes;
        offset -= index[last] * a->strides[last];
        index[last] = 0;
        for (int d = last - 1; d >= 0; d--) {
            offset += a->strides[d];
            if (++index[d] < shape->length[d])
                break;
            offset -= index[d] * a->strides[d];
            index[d] = 0;
        }
    }
}

void fl_pack(const fl_shape *shape, int real_bytes, const fl_array *a, ptrdiff_t start, ptrdiff_t n,
             void *block)
{
    transfer(shape, real_bytes, a, start, n, block, 0);
}

void fl_unpack(const fl_shape *shape, int real_bytes, const fl_array *a, ptrdiff_t start, ptrdiff_t n,
               const void *block)
{
    transfer(shape, real_bytes, a, start, n, (char *)block, 1);
}
