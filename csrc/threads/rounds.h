/* Rounds of tasks. Between two rounds the calling thread does something that needs all tasks of the one, and
 * that all tasks of the next need: as a step of SGD between two batches. */
#ifndef FL_ROUNDS_H
#define FL_ROUNDS_H

#include <stddef.h>

enum { FL_MOST_ROUND_TASKS = 0xffff };

typedef struct {
    void *job;
    int workers; /* at most */
    /* Returns a status. Once one is not 0, tasks that have not begun are left out. */
    int (*run)(void *job, ptrdiff_t task, int worker);
    /* Runs on the calling thread, before each round and after the last. `status` is that of the last round's
     * tasks, or-ed together; 0 before the first. Returns how many tasks the next round has; 0: there is none.
     */
    ptrdiff_t (*next)(void *job, int status);
} fl_rounds;

/* Worker 0 is the calling thread. It waits for others only while they are in a task, so that threads which
 * the system does not let run hold up nobody. */
void fl_run_rounds(const fl_rounds *rounds);

#endif
