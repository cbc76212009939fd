/* What is known of the losses, by their number in the registry: `loss` is a fl_loss, `row_loss` a
 * fl_row_loss. */
#ifndef FL_API_REGISTRY_H
#define FL_API_REGISTRY_H

const char *fl_loss_name(int loss);        /* "huber" */
const char *fl_loss_requirement(int loss); /* of its domain: "y_true must be >= 0", "" for none */

const char *fl_row_loss_name(int row_loss);
const char *fl_row_loss_requirement(int row_loss);
int fl_row_loss_labels(int row_loss);     /* what y_true may be: FL_LABELS_... */
int fl_row_loss_is_softmax(int row_loss); /* whether lse and correct are set */

#endif
