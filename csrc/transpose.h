/* Rows of a matrix <-> lanes: [rows][classes] and [classes][FL_LANES]. */
#ifndef FL_TRANSPOSE_H
#define FL_TRANSPOSE_H

#include <stddef.h>

/* n rows, `step` bytes from one to the next, of `classes` elements of `size` (4 or 8) bytes, `stride` bytes
 * from one to the next; and tiles of FL_LANES rows each, one behind the other. `gather` reads the rows and
 * writes the tiles, `scatter` the reverse; neither touches lanes that have no row. */
void fl_gather(int size, const char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
               char *tiles);
void fl_scatter(int size, char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
                const char *tiles);

#endif
