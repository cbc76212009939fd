/* The memory of a call: some that its workers share and a workspace for each, from one malloc. */
#ifndef FL_ARENA_H
#define FL_ARENA_H

#include <stddef.h>

enum { FL_LINE = 64 }; /* bytes of a line of cache: no two workers write to one */

typedef struct {
    void *block;      /* what malloc gave */
    char *shared;     /* at the beginning of a line, as every workspace is */
    char *workspaces; /* of worker 0, and then of the others */
    size_t bytes;     /* of a workspace */
    int workers;      /* that there are workspaces for */
} fl_arena;

/* Returns whether there was memory: for so many workers, or where the system has not so much, for one.
 * `zeroed`: it is all zeros. */
int fl_open_arena(fl_arena *a, size_t shared, size_t per_worker, ptrdiff_t workers, int zeroed);
void fl_close_arena(fl_arena *a);

static inline char *fl_workspace_of(const fl_arena *a, int worker)
{
    return a->workspaces + (size_t)worker * a->bytes;
}

static inline size_t fl_whole_lines(size_t bytes) { return (bytes + FL_LINE - 1) / FL_LINE * FL_LINE; }

#endif
