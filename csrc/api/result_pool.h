/* The result pool: memory of large results that have been freed, for the next ones of the same size. */
#ifndef FL_API_RESULT_POOL_H
#define FL_API_RESULT_POOL_H

#include <stddef.h>

enum {
    FL_POOL_LEAST = 1 << 18, /* bytes of a result; shorter ones stay with the allocator as it is */
    FL_POOL_MOST = 1 << 28,  /* bytes of all that the pool holds, at first */
};

/* A block of just these bytes, or NULL. */
void *fl_pool_take(size_t bytes);
/* Puts the block into the pool, or frees it, and if there are too many others the oldest of them. */
void fl_pool_give(void *block, size_t bytes, void (*release)(void *block, size_t bytes));
/* Frees what the pool holds beyond so many bytes, now and from now on. Returns the limit before. */
size_t fl_pool_limit(size_t bytes, void (*release)(void *block, size_t bytes));

#endif
