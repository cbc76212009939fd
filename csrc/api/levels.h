/* The choice of the SIMD level, once for the process, and the kernels of the chosen one. */
#ifndef FL_API_LEVELS_H
#define FL_API_LEVELS_H

#include "api/matrix.h"
#include "api/pointwise.h"
#include "api/sgd.h"
#include "api/tile.h"

/* The kernels of one SIMD level and one dtype: a table for each form, from a unit of its own. */
typedef struct {
    const fl_pointwise_table *pointwise;
    const fl_row_table *rows;
    const fl_linear_table *linear;
    const fl_sgd_table *sgd;
} fl_table;

/* Chooses the best level that the CPU and the operating system support, or `wanted`. Returns NULL, or
 * why it cannot be (a static text). Levels: "v4", "v3", "v2" on x86-64, "native" elsewhere. */
const char *fl_select_level(const char *wanted);
const char *fl_level(void);
const char *fl_supported_level(int i);      /* best first; NULL behind the last */
const fl_table *fl_kernels(int real_bytes); /* 4 or 8 */

#endif
