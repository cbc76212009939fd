/* The kernels of losses of rows, and what brings rows into lanes: compiled once per SIMD level and dtype;
 * exports one table. */
#include "api/tile.h"
#include "kernels/rows/collision.h"
#include "kernels/domains.h"
#include "kernels/rows/labels.h"
#include "kernels/rows/rowsum.h"
#include "kernels/rows/transpose.h"
#include "losses/multiclass.h"

/* The kinds of the registry. */
#define KIND_log_softmax(name, domain, labels) fl_softmax_rows(name, 0, tile)
#define KIND_softmax(name, domain, labels) fl_softmax_rows(name, 1, tile)
#define KIND_collision(name, domain, labels) fl_collision_rows(name, tile)
#define KIND_all_classes(name, domain, labels) \
    fl_sum_rows(name, domain_##domain, FL_ALL_CLASSES, FL_LABELS_##labels, tile)
#define KIND_other_classes(name, domain, labels) \
    fl_sum_rows(name, domain_##domain, FL_OTHER_CLASSES, FL_LABELS_##labels, tile)
#define KIND_distributions(name, domain, labels) \
    fl_sum_rows(name, domain_##domain, FL_DISTRIBUTIONS, FL_LABELS_##labels, tile)
#define KIND_rivals(name, domain, labels) fl_rival_rows(tile)
#define ROW_LOSS(name, kind, domain, labels) \
    static int FL_NAME(name)(const fl_tile *tile) { return KIND_##kind(name, domain, labels); }
#include "registry/row_losses.def"
#undef ROW_LOSS

#define EXCHANGE(name, scattering)                                                                          \
    static void FL_NAME(name)(char *rows, ptrdiff_t step, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t classes, \
                              char *strips)                                                                 \
    {                                                                                                       \
        fl_exchange_all(scattering, rows, step, stride, n, classes, strips);                                \
    }
EXCHANGE(gather, 0)
EXCHANGE(scatter, 1)

const fl_row_table FL_NAME(fl_row_table) = {
    .loss = {
#define ROW_LOSS(name, kind, domain, labels) FL_NAME(name),
#include "registry/row_losses.def"
#undef ROW_LOSS
    },
    .label_cross_entropy = FL_NAME(label_cross_entropy),
    .gather = FL_NAME(gather),
    .scatter = FL_NAME(scatter),
};
