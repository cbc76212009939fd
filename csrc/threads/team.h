/* Work in blocks, on one thread or on a team, with a sum whose order the number of blocks alone fixes. */
#ifndef FL_TEAM_H
#define FL_TEAM_H

#include "api/status.h"
#include "memory/arena.h"
#include "threads/sum.h"

#include <stddef.h>
#include <stdint.h>

enum { FL_MAX_WORKERS = 256 };

/* The memory of one worker. `shared`: other threads wait for it, so that its holder must not wait for what
 * they may hold. */
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

/* Runs all blocks, each once. Returns the statuses or-ed together; FL_INTERRUPTED and what is above it ends
 * the work. */
int fl_run_job(const fl_job *job, double *sum);
/* So many consecutive blocks at least run one after the other on one worker; they are large, and before each
 * it looks at the clock. `is_long`: it is worth a team, which need not be found out. */
int fl_run_tasks(const fl_job *job, ptrdiff_t per_task, int is_long, double *sum);

/* Calls work(data, me) on as many threads, me = 0 on the calling one, or on fewer; or returns 0, having done
 * nothing, where the team is at work for another call. */
int fl_on_team(int workers, void (*work)(void *data, int me), void *data);

/* What a thread that makes a long call remembers between two looks for an interruption. */
typedef struct {
    int64_t last;
    int blocks, every; /* so many blocks it looks at the clock */
} fl_watch;

fl_watch fl_watch_start(void);
int fl_watch_interrupted(fl_watch *w, int (*interrupted)(void));

#endif
