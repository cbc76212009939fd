/* Arrays of the caller: any dtype, byte order, alignment and strides. What all calls describe their operands
 * with, and what drivers/pack.c reads and writes. */
#ifndef FL_API_ARRAY_H
#define FL_API_ARRAY_H

#include <stddef.h>

enum { FL_MAX_DIMS = 64 };

typedef enum {
    FL_BOOL,
    FL_I8,
    FL_I16,
    FL_I32,
    FL_I64,
    FL_U8,
    FL_U16,
    FL_U32,
    FL_U64,
    FL_F16,
    FL_F32,
    FL_F64,
    FL_SWAPPED = 32, /* or-ed in: the other byte order */
} fl_type;

/* An array with the shape of its call. data NULL: there is none. strides, in bytes, NULL: C-contiguous. A
 * stride of 0 broadcasts. */
typedef struct {
    char *data;
    const ptrdiff_t *strides;
    int type;
} fl_array;

typedef struct {
    int ndim;
    const ptrdiff_t *length;
} fl_shape;

#endif
