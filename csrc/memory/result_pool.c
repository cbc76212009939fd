/* The result pool. The system hands out a new large array page by page: each that is first written to costs a
 * page fault and is zeroed, which took 5.6 of 13 ms for the gradient of 128 rows of 128256 float32 scores. A
 * loop that frees its last result, as training does, gets the same memory back instead. */
#include "api/result_pool.h"

#include <stdatomic.h>
#include <string.h>

enum { ENTRIES = 8 };

static struct {
    struct {
        void *block;
        size_t bytes;
    } entries[ENTRIES]; /* the oldest first */
    int count;
    size_t bytes;
} pool;
static atomic_size_t pool_limit = FL_POOL_MOST;
static atomic_flag pool_taken = ATOMIC_FLAG_INIT;

/* Nobody waits: a thread that comes second does without the pool. */
static int lock(void) { return !atomic_flag_test_and_set_explicit(&pool_taken, memory_order_acquire); }
static void unlock(void) { atomic_flag_clear_explicit(&pool_taken, memory_order_release); }

static void *remove_entry(int i)
{
    void *block = pool.entries[i].block;
    pool.bytes -= pool.entries[i].bytes;
    pool.count--;
    memmove(pool.entries + i, pool.entries + i + 1, (pool.count - i) * sizeof pool.entries[0]);
    return block;
}

static void drop_oldest(size_t bytes, int entries, void (*release)(void *, size_t))
{
    while (pool.count && (pool.count > entries || pool.bytes + bytes > pool_limit)) {
        const size_t size = pool.entries[0].bytes;
        release(remove_entry(0), size);
    }
}

void *fl_pool_take(size_t bytes)
{
    void *block = NULL;
    if (!lock())
        return NULL;
    for (int i = pool.count - 1; i >= 0 && !block; i--) /* the last one may still be in cache */
        if (pool.entries[i].bytes == bytes)
            block = remove_entry(i);
    unlock();
    return block;
}

void fl_pool_give(void *block, size_t bytes, void (*release)(void *, size_t))
{
    if (bytes < FL_POOL_LEAST || !lock()) {
        release(block, bytes);
        return;
    }
    if (bytes > pool_limit) {
        release(block, bytes);
    } else {
        drop_oldest(bytes, ENTRIES - 1, release);
        pool.entries[pool.count].block = block;
        pool.entries[pool.count++].bytes = bytes;
        pool.bytes += bytes;
    }
    unlock();
}

size_t fl_pool_limit(size_t bytes, void (*release)(void *, size_t))
{
    const size_t before = atomic_exchange(&pool_limit, bytes);
    if (lock()) {
        drop_oldest(0, ENTRIES, release);
        unlock();
    }
    return before;
}
