/* Rounds of tasks with a step between them that needs all of the last and that all of the next need. */
#ifndef FL_ROUNDS_H
#define FL_ROUNDS_H

#include <stddef.h>

enum { FL_MOST_ROUND_TASKS = 0xffff };

typedef struct {
    void *job;
    int workers; /* at most */
    /* Returns a status: tasks that have not begun when one is not 0 are left out. */
    int (*run)(void *job, ptrdiff_t task, int worker);
    /* On the calling thread: given the statuses of a round's tasks, or-ed together, and 0 before the first,
     * how many tasks the next one has; 0: no other follows. */
    ptrdiff_t (*next)(void *job, int status);
} fl_rounds;

/* Worker 0 is the calling thread. It waits for others in no task but those that they are in, so that threads
 * which the system does not let run cost nothing. */
void fl_run_rounds(const fl_rounds *rounds);

#endif
