/* Work in blocks, on one thread or on a team, with a sum whose order the number of blocks alone fixes. */
#ifndef FL_TEAM_H
#define FL_TEAM_H

#include "fastloss.h"

#include <stdint.h>

enum { FL_MAX_WORKERS = 256 };

/* An unevaluated sum hi + lo: adding blocks this way rounds once, at the end. */
typedef struct {
    double hi, lo;
} fl_total;

static inline fl_total fl_total_add(fl_total a, fl_total b)
{
    const double hi = a.hi + b.hi, v = hi - a.hi;
    return (fl_total){ hi, ((a.hi - (hi - v)) + (b.hi - v)) + (a.lo + b.lo) };
}

static inline double fl_total_rounded(fl_total a)
{
    const double sum = a.hi + a.lo;
    return sum == sum ? sum : a.hi; /* lo is NaN where hi is infinite */
}

/* The memory of one worker. `shared`: other threads wait for it, so that its holder must not wait for what
 * they may hold. */
typedef struct {
    _Alignas(64) char tail[FL_INPUTS + FL_OUTPUTS][FL_LANES * sizeof(double)];
    char *blocks;
    ptrdiff_t length;
    int shared;
} fl_room;

typedef struct {
    const void *call;
    ptrdiff_t blocks;
    ptrdiff_t few; /* fewer blocks than that stay on the calling thread */
    int workers;   /* at most */
    void (*enter)(const void *call, int worker, fl_room *room);
    void (*leave)(fl_room *room);
    int (*run)(const void *call, ptrdiff_t block, fl_room *room, fl_total *sum); /* returns a status */
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
