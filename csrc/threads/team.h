/* Work in blocks, on one thread or on a team of them. The number of blocks alone fixes the order in which
 * their sums are added. */
#ifndef FL_TEAM_H
#define FL_TEAM_H

#include "api/status.h"
#include "memory/arena.h"
#include "threads/sum.h"

#include <stddef.h>
#include <stdint.h>

enum { FL_MAX_WORKERS = 256 };

/* The memory of one worker. `shared`: it is the reserve, for which other threads may wait; so its holder must
 * not wait for anything that they may hold. */
typedef struct {
    char *memory;
    int shared;
} fl_workspace;

typedef struct {
    const void *call;
    ptrdiff_t blocks;
    ptrdiff_t few;         /* fewer blocks than that stay on the calling thread */
    int workers;           /* at most */
    const fl_arena *arena; /* has the workers' memory; NULL: each of them calls enter and leave */
    void (*enter)(const void *call, int worker, fl_workspace *workspace);
    void (*leave)(fl_workspace *workspace);
    int (*run)(const void *call, ptrdiff_t block, fl_workspace *workspace,
               fl_total *sum); /* returns a status */
    int (*interrupted)(void);
} fl_job;

/* Runs all blocks, each once. Returns their statuses, or-ed together; FL_INTERRUPTED and those above it end
 * the work. */
int fl_run_job(const fl_job *job, double *sum);
/* The same, for large blocks: the calling thread looks at the clock before each. A task, which one worker
 * runs in order, has per_task blocks or more. `is_long`: the job is known to be worth a team, so that no task
 * is timed first. */
int fl_run_tasks(const fl_job *job, ptrdiff_t per_task, int is_long, double *sum);

/* Calls work(data, me) on that many threads, or on fewer; me is 0 on the calling one. Returns 0, and has done
 * nothing, where the team is at work for another call. */
int fl_on_team(int workers, void (*work)(void *data, int me), void *data);

/* What a thread in a long call remembers between two questions whether to stop. */
typedef struct {
    int64_t last;
    int blocks, every; /* it looks at the clock once in so many blocks */
} fl_watch;

fl_watch fl_watch_start(void);
int fl_watch_interrupted(fl_watch *w, int (*interrupted)(void));

#endif
