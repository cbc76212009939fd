/* Jobs on a team of threads: tasks, who takes which, and the order of the sum. The only file that knows
 * OpenMP. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#endif
#include "threads/team.h"
#include "api/threads.h"
#include "threads/placement.h"

#include <stdatomic.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

enum {
    /* The first PROBE tasks of a job are timed. Where the rest will take no longer than so many microseconds,
     * the job stays on its own thread. To wake a sleeping thread costs up to some 200 on a virtual machine;
     * `logistic` in float64 took, on one and on two threads, 200 and 210 for 65536 elements, 390 and 260 for
     * 131072. */
    GRAIN_US = 200,
    PROBE = 2,
    /* A job has at most so many tasks. */
    MAX_TASKS = 1024,
    /* A call asks every so many microseconds whether to stop, and looks at the clock every so many blocks
     * unless these are large. */
    POLL_US = 50000,
    POLL_BLOCKS = 16,
};

/* ---- interruption ------------------------------------------------------------------------------ */

static int64_t microseconds(void)
{
    struct timespec t;
#if defined(__unix__) || defined(__APPLE__)
    clock_gettime(CLOCK_MONOTONIC, &t);
#else
    timespec_get(&t, TIME_UTC);
#endif
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

fl_watch fl_watch_start(void) { return (fl_watch){ microseconds(), 0, POLL_BLOCKS }; }

int fl_watch_interrupted(fl_watch *w, int (*interrupted)(void))
{
    if (!interrupted || ++w->blocks % w->every)
        return 0;
    const int64_t now = microseconds();
    if (now - w->last < POLL_US)
        return 0;
    w->last = now;
    return interrupted();
}

/* ---- tasks ------------------------------------------------------------------------------------- */

/* The tasks of one worker that are not begun. Others take from them when they have done their own: so a
 * thread that the system does not let run holds up no more than the one task that it is in. */
typedef struct {
    _Alignas(64) atomic_ptrdiff_t next;
    ptrdiff_t end;
} task_queue;

/* The tasks of a job, of as many blocks each; the number of blocks alone decides on them. */
typedef struct {
    ptrdiff_t per_task, tasks, probe; /* probe: tasks that are timed first; 0: the team is woken at once */
    atomic_int stop;
    fl_total partial[MAX_TASKS];
    task_queue queues[FL_MAX_WORKERS];
} schedule;

static int run_task(const fl_job *job, schedule *p, ptrdiff_t task, fl_workspace *workspace, fl_watch *w)
{
    const ptrdiff_t first = task * p->per_task, end = first + p->per_task,
                    last = end < job->blocks ? end : job->blocks;
    fl_sum_tree t;
    int status = 0;
    t.count = 0;
    for (ptrdiff_t block = first; block < last; block++) {
        fl_total x;
        if (w && fl_watch_interrupted(w, job->interrupted))
            atomic_store_explicit(&p->stop, 1, memory_order_relaxed);
        if (atomic_load_explicit(&p->stop, memory_order_relaxed))
            return FL_INTERRUPTED;
        status |= job->run(job->call, block, workspace, &x);
        fl_tree_add(&t, x);
    }
    p->partial[task] = fl_tree_sum(&t);
    return status;
}

static void open_workspace(const fl_job *job, int worker, fl_workspace *workspace)
{
    if (job->arena)
        *workspace = (fl_workspace){ fl_workspace_of(job->arena, worker), 0 };
    else
        job->enter(job->call, worker, workspace);
}

/* Worker `me` of `workers` takes its own tasks from the front, so that the same thread meets the same data
 * from call to call, and then what is left of the others'. */
static int run_tasks(const fl_job *job, schedule *p, int me, int workers, fl_watch *w)
{
    fl_workspace workspace;
    int status = 0;
    open_workspace(job, me, &workspace);
    if (workspace.shared)
        w = NULL; /* a thread that waits for the reserve may hold the GIL, which the question would wait for
                   */
    for (int i = 0; i < workers && status < FL_INTERRUPTED; i++) {
        task_queue *from = &p->queues[(me + i) % workers];
        ptrdiff_t task;
        while (status < FL_INTERRUPTED &&
               (task = atomic_fetch_add_explicit(&from->next, 1, memory_order_relaxed)) < from->end)
            status |= run_task(job, p, task, &workspace, w);
    }
    if (!job->arena)
        job->leave(&workspace);
    return status;
}

/* Divides tasks [first, end) among the workers. */
static void divide_tasks(schedule *p, ptrdiff_t first, ptrdiff_t end, int workers)
{
    for (int i = 0; i < workers; i++) {
        atomic_init(&p->queues[i].next, first + (end - first) * i / workers);
        p->queues[i].end = first + (end - first) * (i + 1) / workers;
    }
}

static int run_alone(const fl_job *job, schedule *p, ptrdiff_t first, ptrdiff_t end, fl_watch *w)
{
    divide_tasks(p, first, end, 1);
    return run_tasks(job, p, 0, 1, w);
}

/* ---- threads ----------------------------------------------------------------------------------- */

static atomic_int num_threads;         /* of fl_set_num_threads; 0: OpenMP's own number */
static atomic_int cpu_limit;           /* of fl_set_cpu_limit; 0: none */
static atomic_int grain = GRAIN_US;    /* of fl_set_grain */
static _Thread_local int thread_limit; /* of fl_set_thread_limit; 0: none */

/* A forked child has none of the threads of its parent's OpenMP, whichever library started them, and libgomp
 * would wait for them. */
static atomic_int forked;
#if defined(__unix__) || defined(__APPLE__)
static void after_fork(void) { forked = 1; }
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork); }
#endif

void fl_set_num_threads(int n) { num_threads = n; }
void fl_set_cpu_limit(int n) { cpu_limit = n; }
void fl_set_grain(int n) { grain = n < 0 ? GRAIN_US : n; }
int fl_thread_limit(void) { return thread_limit; }
void fl_set_thread_limit(int n) { thread_limit = n; }

#ifdef _OPENMP
static atomic_flag team_taken = ATOMIC_FLAG_INIT;
static atomic_int crowded; /* in the last call a thread of the team was on the CPU of its caller */
static int smaller(int a, int b) { return a < b ? a : b; }

static int process_threads(void)
{
    const int wanted = num_threads, limit = cpu_limit;
    if (wanted > 0)
        return wanted;
    const int offered = omp_get_max_threads();
    return limit > 0 ? smaller(offered, smaller(limit, omp_get_num_procs())) : offered;
}

int fl_num_threads(void) { return forked ? 1 : thread_limit > 0 ? thread_limit : process_threads(); }

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
const char *fl_openmp(void) { return "OpenMP " TEXT(_OPENMP); }

/* The team has the process's number of threads also for a call that wants fewer, because libgomp rebuilds a
 * team whose size changes; only a call that wants more pays for that. */
int fl_on_team(int workers, void (*work)(void *data, int me), void *data)
{
    if (omp_in_parallel() || atomic_flag_test_and_set(&team_taken))
        return 0;
    const int usual = smaller(process_threads(), FL_MAX_WORKERS), team = workers > usual ? workers : usual;
    const int here = fl_cpu(), was_crowded = atomic_exchange(&crowded, 0);
#pragma omp parallel num_threads(team)
    {
        const int me = omp_get_thread_num();
        if (me && fl_leave_cpu(here))
            atomic_store(&crowded, 1);
        if (!me && was_crowded)
            fl_give_way(); /* to one that is about to leave */
        if (me < workers)
            work(data, me);
    }
    atomic_flag_clear(&team_taken);
    return 1;
}

typedef struct {
    const fl_job *job;
    schedule *p;
    int workers;
    fl_watch *w;
    atomic_int status;
} shared_work;

static void work_on(void *data, int me)
{
    shared_work *s = data;
    atomic_fetch_or(&s->status, run_tasks(s->job, s->p, me, s->workers, me == 0 ? s->w : NULL));
}

/* Runs the tasks from `first` to the last on the team; returns 0 where that is at work for another call. */
static int run_on_team(const fl_job *job, schedule *p, ptrdiff_t first, int threads, fl_watch *w, int *status)
{
    const ptrdiff_t left = p->tasks - first;
    const int workers = smaller(smaller(threads, job->workers), left < MAX_TASKS ? (int)left : MAX_TASKS);
    shared_work s = { job, p, workers, w, 0 };
    divide_tasks(p, first, p->tasks, workers);
    if (!fl_on_team(workers, work_on, &s))
        return 0;
    *status |= atomic_load(&s.status);
    return 1;
}

static int run_all(const fl_job *job, schedule *p, fl_watch *w)
{
    const int threads = job->blocks < job->few ? 1 : fl_num_threads();
    if (threads == 1)
        return run_alone(job, p, 0, p->tasks, w);
    const int64_t start = microseconds();
    int status = run_alone(job, p, 0, p->probe, w);
    const int64_t left =
        p->probe ? (microseconds() - start) * (p->tasks - p->probe) / p->probe : (int64_t)grain;
    if (status >= FL_INTERRUPTED || (left >= grain && run_on_team(job, p, p->probe, threads, w, &status)))
        return status;
    return status | run_alone(job, p, p->probe, p->tasks, w);
}
#else
int fl_num_threads(void) { return 1; }
int fl_on_team(int workers, void (*work)(void *data, int me), void *data)
{
    (void)workers, (void)work, (void)data;
    return 0;
}
const char *fl_openmp(void) { return "none"; }
static int run_all(const fl_job *job, schedule *p, fl_watch *w) { return run_alone(job, p, 0, p->tasks, w); }
#endif

/* ---- a job ------------------------------------------------------------------------------------- */

static int run_watched(const fl_job *job, ptrdiff_t per_task, int is_long, fl_watch w, double *sum)
{
    schedule p; /* not initialised as a whole: 32 KiB that a small job never touches */
    fl_sum_tree all;
    p.per_task = per_task;
    p.probe = is_long ? 0 : PROBE;
    while ((job->blocks + p.per_task - 1) / p.per_task > MAX_TASKS)
        p.per_task *= 2;
    p.tasks = (job->blocks + p.per_task - 1) / p.per_task;
    atomic_init(&p.stop, 0);
    const int status = run_all(job, &p, &w);
    if (status >= FL_INTERRUPTED)
        return status & ~FL_VIOLATED;
    all.count = 0;
    for (ptrdiff_t t = 0; t < p.tasks; t++)
        fl_tree_add(&all, p.partial[t]);
    *sum = fl_total_rounded(fl_tree_sum(&all));
    return status;
}

int fl_run_job(const fl_job *job, double *sum) { return run_watched(job, 1, 0, fl_watch_start(), sum); }

int fl_run_tasks(const fl_job *job, ptrdiff_t per_task, int is_long, double *sum)
{
    fl_watch w = fl_watch_start();
    w.every = 1;
    return run_watched(job, per_task, is_long, w, sum);
}
