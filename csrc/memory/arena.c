/* One malloc for all workers of a call: they need not take turns at the allocator, and there is either enough
 * memory for the whole call or it fails before anything is written. */
#include "memory/arena.h"

#include <stdint.h>
#include <stdlib.h>

static void *allocate(size_t bytes, int zeroed) { return zeroed ? calloc(1, bytes) : malloc(bytes); }

int fl_open_arena(fl_arena *a, size_t shared, size_t per_worker, ptrdiff_t workers, int zeroed)
{
    const size_t first = fl_whole_lines(shared) + FL_LINE, each = fl_whole_lines(per_worker);
    a->block = allocate(first + each * (size_t)workers, zeroed);
    if (!a->block && workers > 1)
        a->block = allocate(first + each * (size_t)(workers = 1), zeroed);
    if (!a->block)
        return 0;
    a->shared = (char *)a->block + (FL_LINE - (uintptr_t)a->block % FL_LINE);
    a->workspaces = a->shared + fl_whole_lines(shared);
    a->bytes = each;
    a->workers = (int)workers;
    return 1;
}

void fl_close_arena(fl_arena *a) { free(a->block); }
