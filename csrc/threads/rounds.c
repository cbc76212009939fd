/* Rounds without a lock: a worker takes a task by one atomic operation, and waits by looking. A system call
 * to wake a thread would take longer than the round of a small batch. */
#include "threads/rounds.h"
#include "threads/placement.h"
#include "threads/team.h"

#include <stdatomic.h>
#include <stdint.h>

#define OVER UINT32_MAX
enum {
    SPINS = 1000
}; /* looks, some 20 microseconds, before it yields: a longer round can bear a system call */

/* The tasks of one worker that are not begun: round << 32 | end << 16 | next. After the last round that is
 * OVER. */
typedef struct {
    _Alignas(64) _Atomic uint64_t tasks;
} task_queue;

typedef struct {
    const fl_rounds *rounds;
    _Alignas(64) atomic_ptrdiff_t left;
    atomic_int status;
    int workers;
    task_queue queues[FL_MAX_WORKERS];
} round_state;

static void wait_a_little(int *spins)
{
    if (++*spins > SPINS)
        fl_give_way();
#if defined(__x86_64__) || defined(__i386__)
    else
        __builtin_ia32_pause();
#endif
}

static uint32_t round_of(task_queue *s)
{
    return atomic_load_explicit(&s->tasks, memory_order_acquire) >> 32;
}

static int take_one(task_queue *s)
{
    uint64_t v = atomic_load_explicit(&s->tasks, memory_order_acquire);
    while ((v & 0xffff) < (v >> 16 & 0xffff))
        if (atomic_compare_exchange_weak_explicit(&s->tasks, &v, v + 1, memory_order_acquire,
                                                  memory_order_acquire))
            return (int)(v & 0xffff);
    return -1;
}

/* A worker takes its own tasks first, so that it meets the same ones round after round, and then those of
 * others. */
static void take_tasks(round_state *r, int me)
{
    const fl_rounds *rounds = r->rounds;
    ptrdiff_t done = 0;
    for (int i = 0; i < r->workers; i++)
        for (int task; (task = take_one(&r->queues[(me + i) % r->workers])) >= 0;) {
            if (!atomic_load_explicit(&r->status, memory_order_relaxed)) {
                const int status = rounds->run(rounds->job, task, me);
                if (status)
                    atomic_fetch_or_explicit(&r->status, status, memory_order_relaxed);
            }
            done++;
        }
    if (done)
        atomic_fetch_sub_explicit(&r->left, done, memory_order_release);
}

static void lead_rounds(round_state *r)
{
    const fl_rounds *rounds = r->rounds;
    uint32_t round = 0;
    for (ptrdiff_t tasks; (tasks = rounds->next(rounds->job, atomic_load(&r->status)));) {
        round++;
        atomic_store_explicit(&r->left, tasks, memory_order_relaxed);
        for (int i = 0; i < r->workers; i++) {
            const uint64_t first = tasks * i / r->workers, end = tasks * (i + 1) / r->workers;
            atomic_store_explicit(&r->queues[i].tasks, (uint64_t)round << 32 | end << 16 | first,
                                  memory_order_release);
        }
        take_tasks(r, 0);
        for (int spins = 0; atomic_load_explicit(&r->left, memory_order_acquire);)
            wait_a_little(&spins);
    }
    for (int i = 1; i < r->workers; i++)
        atomic_store_explicit(&r->queues[i].tasks, (uint64_t)OVER << 32, memory_order_release);
}

static void work(void *data, int me)
{
    round_state *r = data;
    if (me == 0) {
        lead_rounds(r);
        return;
    }
    for (uint32_t seen = 0, now; seen != OVER; seen = now) {
        for (int spins = 0; (now = round_of(&r->queues[me])) == seen;)
            wait_a_little(&spins);
        take_tasks(r, me);
    }
}

void fl_run_rounds(const fl_rounds *rounds)
{
    if (rounds->workers > 1) {
        round_state r; /* not initialised as a whole: most queues are never touched */
        r.rounds = rounds;
        r.workers = rounds->workers < FL_MAX_WORKERS ? rounds->workers : FL_MAX_WORKERS;
        atomic_init(&r.left, 0);
        atomic_init(&r.status, 0);
        for (int i = 0; i < r.workers; i++)
            atomic_init(&r.queues[i].tasks, 0);
        if (fl_on_team(r.workers, work, &r))
            return;
    }
    int status = 0;
    for (ptrdiff_t tasks; (tasks = rounds->next(rounds->job, status));)
        for (ptrdiff_t t = 0; t < tasks && !status; t++)
            status = rounds->run(rounds->job, t, 0);
}
