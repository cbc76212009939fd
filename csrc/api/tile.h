/* The kernels of losses of rows: which losses there are, and the tile of rows that a kernel sees. */
#ifndef FL_API_TILE_H
#define FL_API_TILE_H

#include "api/kernel.h"

#include <stdint.h>

typedef enum {
#define ROW_LOSS(name, kind, domain, labels) FL_ROW_LOSS_##name,
#include "registry/row_losses.def"
#undef ROW_LOSS
    FL_N_ROW_LOSSES
} fl_row_loss;

/* What y_true may be: class indices, rows of numbers by class, or either. */
enum { FL_LABELS_indices = 1, FL_LABELS_rows = 2, FL_LABELS_either = 3 };

enum { FL_TILE_ROWS = 64, FL_MAX_CLASSES = 1 << 28 };

/* A matrix of a tile, in elements from one group of FL_LANES to the next, and from one strip to the next. */
typedef struct {
    void *data; /* NULL: absent */
    ptrdiff_t group, strip;
} fl_rows;

/* Up to FL_TILE_ROWS rows. `across`: FL_LANES rows make a strip, of which group k is class k; the matrices
 * and the vectors with one number per row are filled up to whole strips. Otherwise a row is a strip, its
 * classes in groups. */
typedef struct {
    int across, valued; /* valued: value and the sum are wanted */
    ptrdiff_t rows, classes;
    /* kernels write over scores across rows; grad may be scores; hess needs grad */
    fl_rows scores, grad, hess;
    fl_rows labels, class_weight; /* probabilities, and by what they are multiplied, in one strip */
    const int32_t *label;         /* of each row the true class, -1 for none */
    const void *weight;           /* of each row; one of weight 0 is absent */
    void *value, *lse;            /* of each row; lse NULL: absent */
    int *correct;                 /* set to the rows whose first largest score is the true class's */
    const double *constants;      /* as in fl_block, and so are these */
    const void *context;
    double scale;
    double *sum; /* set to the sum of the rows' values */
} fl_tile;

/* Returns whether a label or a score lies outside of the loss's domain. */
typedef int fl_row_kernel(const fl_tile *tile);

/* n rows, `step` bytes from one to the next, of `classes` elements, `stride` bytes from one to the next; and
 * strips across them, one behind the other, which are read or written. Lanes that have no row are not
 * touched. */
typedef void fl_exchange_kernel(char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes,
                                char *strips);

/* Of one SIMD level and one dtype. */
typedef struct {
    fl_row_kernel *loss[FL_N_ROW_LOSSES];
    fl_row_kernel *label_cross_entropy;   /* softmax_cross_entropy with labels other than one class */
    fl_exchange_kernel *gather, *scatter; /* from rows to strips, and back */
} fl_row_table;

#endif
