/* Between arrays of any dtype, byte order, alignment and stride and contiguous blocks of float or double. */
#ifndef FL_PACK_H
#define FL_PACK_H

#include "api/array.h"

/* Elements [start, start + n) of `a`, in C order of the shape, as reals of that many bytes. */
void fl_pack(const fl_shape *shape, int real_bytes, const fl_array *a, ptrdiff_t start, ptrdiff_t n,
             void *block);
void fl_unpack(const fl_shape *shape, int real_bytes, const fl_array *a, ptrdiff_t start, ptrdiff_t n,
               const void *block);
ptrdiff_t fl_item_size(int type);

#endif
