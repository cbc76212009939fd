/* Memory of large results that have been freed, kept for the next ones. */
#ifndef FL_KEPT_H
#define FL_KEPT_H

#include <stddef.h>

enum {
    FL_KEPT_LEAST = 1 << 18, /* bytes of a result; shorter ones stay with the allocator as it is */
    FL_KEPT_MOST = 1 << 28,  /* bytes of all that are kept, at first */
};

/* A kept block of just these bytes, or NULL. */
void *fl_take_kept(size_t bytes);
/* Keeps the block, or frees it, and if there are too many others the oldest of them. */
void fl_keep(void *block, size_t bytes, void (*release)(void *block, size_t bytes));
/* Frees what is kept beyond so many bytes, now and from now on. Returns the limit before. */
size_t fl_limit_kept(size_t bytes, void (*release)(void *block, size_t bytes));

#endif
