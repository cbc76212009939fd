/* Blocks, threads and the order of the sum. The only file that knows threads. */
#if defined(__unix__) || defined(__APPLE__)
#define _POSIX_C_SOURCE 200809L
#endif
#include "fastloss.h"
#include "pack.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#define give_way() sched_yield()
#else
#define give_way() ((void)0)
#endif

enum {
    /* A call of fewer blocks stays on its own thread. */
    FEW_BLOCKS = 8,
    /* One that its first PROBE tasks let expect to take no longer than so many microseconds stays there, too.
     * To wake a sleeping thread costs up to some 200 on a virtual machine; `logistic` in float64 took, on one
     * and on two threads, 200 and 210 for 65536 elements, 390 and 260 for 131072. */
    GRAIN_US = 200,
    PROBE = 2,
    /* From this many bytes an array on, it comes from beyond the second level of cache. */
    PREFETCH = 1 << 20,
    /* A sum adds at most this many partial sums of its tasks; the rest is added within the tasks. */
    MAX_TASKS = 1024,
    MAX_WORKERS = 256,
    /* A call looks for an interruption every so many microseconds, and at the clock every so many blocks. */
    POLL_US = 50000,
    POLL_BLOCKS = 16,
};

/* ---- one block --------------------------------------------------------------------------------- */

/* Room for what is packed, a slot per operand: a last group of less than FL_LANES elements always is; whole
 * blocks only of arrays that a kernel cannot read as they are. Blocks come from the heap, since threads may
 * have small stacks. */
enum { SLOTS = FL_INPUTS + FL_OUTPUTS };
typedef struct {
    _Alignas(64) char tail[SLOTS][FL_LANES * sizeof(double)];
    char *blocks;
    ptrdiff_t length; /* of a block, in elements */
} scratch;

/* The weights of an unweighted call: ones for one group of lanes, which the kernel reads again and again, and
 * zeros for what fills up a last group. So no kernel has an unweighted twin. */
#define SIXTEEN(x) x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x
static const _Alignas(64) float ones_f32[2 * FL_LANES] = { SIXTEEN(1) };
static const _Alignas(64) double ones_f64[2 * FL_LANES] = { SIXTEEN(1) };

static const void *ones_for(ptrdiff_t n, size_t size)
{
    const ptrdiff_t skip = n < FL_LANES ? FL_LANES - n : 0;
    return size == sizeof(double) ? (const void *)(ones_f64 + skip) : (const void *)(ones_f32 + skip);
}

static int is_direct(const fl_call *call, const fl_array *a)
{
    return !a->strides && a->type == (call->real_bytes == 8 ? FL_F64 : FL_F32) &&
           (uintptr_t)a->data % call->real_bytes == 0;
}

/* For the call that finds no room on the heap; another one waits for it. So no call ever fails half-way. */
static _Alignas(64) char reserve[(size_t)SLOTS * FL_BLOCK * sizeof(double)];
static atomic_flag reserve_taken = ATOMIC_FLAG_INIT;

static void scratch_init(scratch *s, const fl_call *call)
{
    int direct = 1;
    for (int i = 0; i < FL_INPUTS; i++)
        direct &= !call->in[i].data || is_direct(call, &call->in[i]);
    for (int i = 0; i < FL_OUTPUTS; i++) /* no kernel writes an output that its call leaves out */
        direct &= !call->out[i].data || is_direct(call, &call->out[i]);
    s->length = call->size < FL_BLOCK ? (call->size + FL_LANES - 1) / FL_LANES * FL_LANES : FL_BLOCK;
    s->blocks = direct ? NULL : malloc((size_t)s->length * sizeof(double) * SLOTS);
    if (direct || s->blocks)
        return;
    while (atomic_flag_test_and_set(&reserve_taken))
        give_way();
    s->blocks = reserve;
}

static void scratch_free(scratch *s)
{
    if (s->blocks == reserve)
        atomic_flag_clear(&reserve_taken);
    else
        free(s->blocks);
}

static char *slot(scratch *s, int i, ptrdiff_t n)
{
    if (n < FL_LANES)
        return s->tail[i];
    return s->blocks ? s->blocks + (size_t)s->length * sizeof(double) * i : NULL;
}

/* Elements [start, start + n), n a multiple of FL_LANES or less than it. In the latter case the group is
 * filled up with copies of its last element, of weight 0. */
static int run_group(const fl_call *call, ptrdiff_t start, ptrdiff_t n, scratch *s, double *sum)
{
    const size_t size = call->real_bytes;
    const ptrdiff_t padded = (n + FL_LANES - 1) / FL_LANES * FL_LANES;
    const void *in[FL_INPUTS];
    void *out[FL_OUTPUTS];

    for (int i = 0; i < FL_INPUTS; i++) {
        const fl_array *a = &call->in[i];
        if (!a->data) {
            in[i] = ones_for(n, size);
        } else if (padded == n && is_direct(call, a)) {
            in[i] = a->data + start * size;
        } else {
            char *packed = slot(s, i, n);
            in[i] = packed;
            fl_pack(call, a, start, n, packed);
            for (ptrdiff_t k = n; k < padded; k++)
                if (i == 2)
                    memset(packed + k * size, 0, size);
                else
                    memcpy(packed + k * size, packed + (n - 1) * size, size);
        }
    }
    for (int i = 0; i < FL_OUTPUTS; i++) {
        const fl_array *a = &call->out[i];
        const int direct = a->data && padded == n && is_direct(call, a);
        out[i] = direct ? a->data + start * size : slot(s, FL_INPUTS + i, n);
    }
    *sum = 0;
    const ptrdiff_t third_step = call->in[2].data ? FL_LANES : 0;
    const ptrdiff_t ahead = call->size >= PREFETCH / call->real_bytes ? 2048 : 0;
    const int violated = call->kernel(padded, in, third_step, ahead, out, call->constants, call->scale, sum);
    for (int i = 0; i < FL_OUTPUTS; i++)
        if (call->out[i].data && out[i] == (void *)slot(s, FL_INPUTS + i, n))
            fl_unpack(call, &call->out[i], start, n, out[i]);
    return violated ? FL_VIOLATED : 0;
}

/* ---- the sum ----------------------------------------------------------------------------------- */

/* An unevaluated sum hi + lo: adding blocks this way rounds once, at the end. */
typedef struct {
    double hi, lo;
} total;

static total add(total a, total b)
{
    const double hi = a.hi + b.hi, v = hi - a.hi;
    return (total){ hi, ((a.hi - (hi - v)) + (b.hi - v)) + (a.lo + b.lo) };
}

static double rounded(total a)
{
    const double sum = a.hi + a.lo;
    return sum == sum ? sum : a.hi; /* lo is NaN where hi is infinite */
}

/* Adds numbers as a binary tree whose shape depends on their count alone: level i holds the sum of 2^i
 * of them. */
typedef struct {
    total level[64];
    uint64_t count;
} tree;

static void tree_add(tree *t, total x)
{
    int i = 0;
    for (uint64_t full = t->count++; full & 1; full >>= 1)
        x = add(t->level[i++], x);
    t->level[i] = x;
}

static total tree_sum(const tree *t)
{
    total sum = { 0, 0 };
    for (int i = 0; i < 64; i++)
        if (t->count >> i & 1)
            sum = add(t->level[i], sum);
    return sum;
}

/* A block is its whole groups of lanes, then the rest: the same cut for every layout. */
static int run_block(const fl_call *call, ptrdiff_t block, scratch *s, total *sum)
{
    const ptrdiff_t start = block * FL_BLOCK, left = call->size - start;
    const ptrdiff_t n = left < FL_BLOCK ? left : FL_BLOCK, whole = n / FL_LANES * FL_LANES;
    double lanes = 0, rest = 0;
    int status = 0;

    if (whole)
        status |= run_group(call, start, whole, s, &lanes);
    if (whole < n)
        status |= run_group(call, start + whole, n - whole, s, &rest);
    *sum = add((total){ lanes, 0 }, (total){ rest, 0 });
    return status;
}

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

/* What the thread that made the call remembers between two looks; the others have none. */
typedef struct {
    int64_t last;
    int blocks;
} watch;

static watch watch_start(void) { return (watch){ microseconds(), 0 }; }

static int watch_interrupted(watch *w, const fl_call *call)
{
    if (!call->interrupted || ++w->blocks % POLL_BLOCKS)
        return 0;
    const int64_t now = microseconds();
    if (now - w->last < POLL_US)
        return 0;
    w->last = now;
    return call->interrupted();
}

/* ---- tasks ------------------------------------------------------------------------------------- */

/* The tasks of one worker, which others help to finish: a thread that the system does not let run leaves all
 * but the one task that it is in to the rest of the team. */
typedef struct {
    _Alignas(64) atomic_ptrdiff_t next;
    ptrdiff_t end;
} share;

/* The cut of a call into tasks: a power of two of blocks each, fixed by the size alone. */
typedef struct {
    ptrdiff_t blocks, per_task, tasks;
    atomic_int stop;
    total partial[MAX_TASKS];
    share shares[MAX_WORKERS];
} plan;

static int run_task(const fl_call *call, plan *p, ptrdiff_t task, scratch *s, watch *w)
{
    const ptrdiff_t first = task * p->per_task, end = first + p->per_task,
                    last = end < p->blocks ? end : p->blocks;
    tree t;
    int status = 0;
    t.count = 0;
    for (ptrdiff_t block = first; block < last; block++) {
        total x;
        if (w && watch_interrupted(w, call))
            atomic_store_explicit(&p->stop, 1, memory_order_relaxed);
        if (atomic_load_explicit(&p->stop, memory_order_relaxed))
            return FL_INTERRUPTED;
        status |= run_block(call, block, s, &x);
        tree_add(&t, x);
    }
    p->partial[task] = tree_sum(&t);
    return status;
}

/* Worker `me` of `workers`: its own share from the front, so that the same thread meets the same data from
 * call to call, then what is left of the others'. */
static int run_tasks(const fl_call *call, plan *p, int me, int workers, watch *w)
{
    scratch s;
    int status = 0;
    scratch_init(&s, call);
    if (s.blocks == reserve)
        w = NULL; /* who waits for the reserve may hold what a look waits for: the GIL */
    for (int i = 0; i < workers && status < FL_INTERRUPTED; i++) {
        share *from = &p->shares[(me + i) % workers];
        ptrdiff_t task;
        while (status < FL_INTERRUPTED &&
               (task = atomic_fetch_add_explicit(&from->next, 1, memory_order_relaxed)) < from->end)
            status |= run_task(call, p, task, &s, w);
    }
    scratch_free(&s);
    return status;
}

/* Tasks [first, end) */
static void share_out(plan *p, ptrdiff_t first, ptrdiff_t end, int workers)
{
    for (int i = 0; i < workers; i++) {
        atomic_init(&p->shares[i].next, first + (end - first) * i / workers);
        p->shares[i].end = first + (end - first) * (i + 1) / workers;
    }
}

static int run_alone(const fl_call *call, plan *p, ptrdiff_t first, ptrdiff_t end, watch *w)
{
    share_out(p, first, end, 1);
    return run_tasks(call, p, 0, 1, w);
}

/* ---- threads ----------------------------------------------------------------------------------- */

static atomic_int num_threads;         /* of fl_set_num_threads; 0: OpenMP's own number */
static atomic_int cpu_limit;           /* of fl_set_cpu_limit; 0: none */
static atomic_int grain = GRAIN_US;    /* of fl_set_grain */
static _Thread_local int thread_limit; /* of fl_set_thread_limit; 0: none */

/* A forked child has none of the threads that its parent's OpenMP (of whatever library: it may be the same
 * one) had, and libgomp would wait for them; nor the one that may have held the reserve. */
static atomic_int forked;
#if defined(__unix__) || defined(__APPLE__)
static void after_fork(void)
{
    forked = 1;
    atomic_flag_clear(&reserve_taken);
}
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork); }
#endif

void fl_set_num_threads(int n) { num_threads = n; }
void fl_set_cpu_limit(int n) { cpu_limit = n; }
void fl_set_grain(int n) { grain = n < 0 ? GRAIN_US : n; }
int fl_thread_limit(void) { return thread_limit; }
void fl_set_thread_limit(int n) { thread_limit = n; }

#ifdef _OPENMP
static atomic_flag team_taken = ATOMIC_FLAG_INIT;
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

/* Runs the tasks from `first` on on the team, unless it is at work for another call. The team has the
 * process's number of threads, also for a call that wants fewer, because libgomp rebuilds a team that
 * changes; only a call that wants more pays for that. */
static int run_on_team(const fl_call *call, plan *p, ptrdiff_t first, int threads, watch *w, int *status)
{
    if (omp_in_parallel() || atomic_flag_test_and_set(&team_taken))
        return 0;
    const ptrdiff_t left = p->tasks - first;
    const int workers = smaller(smaller(threads, MAX_WORKERS), left < MAX_TASKS ? (int)left : MAX_TASKS);
    const int usual = smaller(process_threads(), MAX_WORKERS), team = workers > usual ? workers : usual;
    int any = 0;
    share_out(p, first, p->tasks, workers);
#pragma omp parallel num_threads(team) reduction(| : any)
    {
        const int me = omp_get_thread_num();
        if (me < workers)
            any |= run_tasks(call, p, me, workers, me == 0 ? w : NULL);
    }
    atomic_flag_clear(&team_taken);
    *status |= any;
    return 1;
}

static int run_all(const fl_call *call, plan *p, watch *w)
{
    const int threads = p->blocks < FEW_BLOCKS ? 1 : fl_num_threads();
    if (threads == 1)
        return run_alone(call, p, 0, p->tasks, w);
    const int64_t start = microseconds();
    int status = run_alone(call, p, 0, PROBE, w);
    const int64_t left = (microseconds() - start) * (p->tasks - PROBE) / PROBE;
    if (status & FL_INTERRUPTED || (left >= grain && run_on_team(call, p, PROBE, threads, w, &status)))
        return status;
    return status | run_alone(call, p, PROBE, p->tasks, w);
}
#else
int fl_num_threads(void) { return 1; }
const char *fl_openmp(void) { return "none"; }
static int run_all(const fl_call *call, plan *p, watch *w) { return run_alone(call, p, 0, p->tasks, w); }
#endif

/* ---- constants --------------------------------------------------------------------------------- */

double fl_constant(double k, int real_bytes)
{
    const double low = real_bytes == 8 ? DBL_TRUE_MIN : FLT_TRUE_MIN,
                 high = real_bytes == 8 ? DBL_MAX : FLT_MAX;
    const double size = fabs(k);
    if (k == 0 || !isfinite(k))
        return k;
    return copysign(size < low ? low : size > high ? high : size, k);
}

/* ---- a call ------------------------------------------------------------------------------------ */

static ptrdiff_t count_blocks(const fl_call *call)
{
    return call->size / FL_BLOCK + (call->size % FL_BLOCK != 0);
}

int fl_run(const fl_call *call, double *sum)
{
    plan p; /* not initialised as a whole: 32 KiB that a small call never touches */
    total result;
    int status = 0;

    *sum = 0;
    p.blocks = count_blocks(call);
    p.per_task = 1;
    if (p.blocks == 0)
        return 0;
    if (p.blocks == 1) {
        scratch s;
        scratch_init(&s, call);
        status = run_block(call, 0, &s, &result);
        scratch_free(&s);
        *sum = rounded(result);
        return status;
    }
    while ((p.blocks + p.per_task - 1) / p.per_task > MAX_TASKS)
        p.per_task *= 2;
    p.tasks = (p.blocks + p.per_task - 1) / p.per_task;
    atomic_init(&p.stop, 0);
    watch w = watch_start();
    status = run_all(call, &p, &w);
    if (status & FL_INTERRUPTED)
        return FL_INTERRUPTED;
    tree all;
    all.count = 0;
    for (ptrdiff_t t = 0; t < p.tasks; t++)
        tree_add(&all, p.partial[t]);
    *sum = rounded(tree_sum(&all));
    return status;
}

ptrdiff_t fl_first_violation(const fl_call *call)
{
    const ptrdiff_t blocks = count_blocks(call);
    ptrdiff_t found = -1;
    watch w = watch_start();
    scratch s;
    double sum;
    total x;

    scratch_init(&s, call);
    for (ptrdiff_t block = 0;
         block < blocks && found < 0 && (s.blocks == reserve || !watch_interrupted(&w, call)); block++)
        if (run_block(call, block, &s, &x))
            for (ptrdiff_t i = block * FL_BLOCK; i < call->size && found < 0; i++)
                if (run_group(call, i, 1, &s, &sum))
                    found = i;
    scratch_free(&s);
    return found;
}
