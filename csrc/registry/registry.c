/* What is known of the losses: the lines of losses.def, row_losses.def and domains.def as tables. */
#include "api/registry.h"
#include "api/tile.h"

enum {
#define DOMAIN(name, violation, requirement) DOMAIN_##name,
#include "registry/domains.def"
#undef DOMAIN
};

static const char *const requirements[] = {
#define DOMAIN(name, violation, requirement) requirement,
#include "registry/domains.def"
#undef DOMAIN
};

static const struct {
    const char *name;
    int domain;
} losses[] = {
#define LOSS(name, domain) { #name, DOMAIN_##domain },
#include "registry/losses.def"
#undef LOSS
};

/* Whether rows of that kind have a softmax. */
enum {
    KIND_log_softmax = 1,
    KIND_softmax = 1,
    KIND_collision = 1,
    KIND_rivals = 0,
    KIND_all_classes = 0,
    KIND_other_classes = 0,
    KIND_distributions = 0
};

static const struct {
    const char *name;
    int domain, labels, is_softmax;
} row_losses[] = {
#define ROW_LOSS(name, kind, domain, labels) { #name, DOMAIN_##domain, FL_LABELS_##labels, KIND_##kind },
#include "registry/row_losses.def"
#undef ROW_LOSS
};

const char *fl_loss_name(int loss) { return losses[loss].name; }
const char *fl_loss_requirement(int loss) { return requirements[losses[loss].domain]; }

const char *fl_row_loss_name(int row_loss) { return row_losses[row_loss].name; }
const char *fl_row_loss_requirement(int row_loss) { return requirements[row_losses[row_loss].domain]; }
int fl_row_loss_labels(int row_loss) { return row_losses[row_loss].labels; }
int fl_row_loss_is_softmax(int row_loss) { return row_losses[row_loss].is_softmax; }
