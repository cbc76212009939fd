/* Pointwise calls: arrays of any layout, cut into the contiguous blocks that a kernel sees. */
#include "fastloss.h"
#include "pack.h"
#include "team.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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
    /* From this many bytes an array on, it comes from beyond the second level of cache. */
    PREFETCH = 1 << 20,
};

/* ---- one block --------------------------------------------------------------------------------- */

/* Room for what is packed, a slot per operand: a last group of less than FL_LANES elements always is; whole
 * blocks only of arrays that a kernel cannot read as they are. Blocks come from the heap, since threads may
 * have small stacks. */
enum { SLOTS = FL_INPUTS + FL_OUTPUTS };

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
#if defined(__unix__) || defined(__APPLE__)
static void after_fork(void) { atomic_flag_clear(&reserve_taken); } /* its holder is not in the child */
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork); }
#endif

static void enter(const void *job_call, int worker, fl_room *s)
{
    const fl_call *call = job_call;
    (void)worker;
    int direct = 1;
    for (int i = 0; i < FL_INPUTS; i++)
        direct &= !call->in[i].data || is_direct(call, &call->in[i]);
    for (int i = 0; i < FL_OUTPUTS; i++) /* no kernel writes an output that its call leaves out */
        direct &= !call->out[i].data || is_direct(call, &call->out[i]);
    s->length = call->size < FL_BLOCK ? (call->size + FL_LANES - 1) / FL_LANES * FL_LANES : FL_BLOCK;
    s->blocks = direct ? NULL : malloc((size_t)s->length * sizeof(double) * SLOTS);
    s->shared = 0;
    if (direct || s->blocks)
        return;
    while (atomic_flag_test_and_set(&reserve_taken))
        give_way();
    s->blocks = reserve;
    s->shared = 1;
}

static void leave(fl_room *s)
{
    if (s->shared)
        atomic_flag_clear(&reserve_taken);
    else
        free(s->blocks);
}

static char *slot(fl_room *s, int i, ptrdiff_t n)
{
    if (n < FL_LANES)
        return s->tail[i];
    return s->blocks ? s->blocks + (size_t)s->length * sizeof(double) * i : NULL;
}

/* Elements [start, start + n), n a multiple of FL_LANES or less than it. In the latter case the group is
 * filled up with copies of its last element, of weight 0. */
static int run_group(const fl_call *call, ptrdiff_t start, ptrdiff_t n, fl_room *s, double *sum)
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
            fl_pack(&call->shape, call->real_bytes, a, start, n, packed);
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
            fl_unpack(&call->shape, call->real_bytes, &call->out[i], start, n, out[i]);
    return violated ? FL_VIOLATED : 0;
}

/* A block is its whole groups of lanes, then the rest: the same cut for every layout. */
static int run_block(const void *job_call, ptrdiff_t block, fl_room *s, fl_total *sum)
{
    const fl_call *call = job_call;
    const ptrdiff_t start = block * FL_BLOCK, left = call->size - start;
    const ptrdiff_t n = left < FL_BLOCK ? left : FL_BLOCK, whole = n / FL_LANES * FL_LANES;
    double lanes = 0, rest = 0;
    int status = 0;

    if (whole)
        status |= run_group(call, start, whole, s, &lanes);
    if (whole < n)
        status |= run_group(call, start + whole, n - whole, s, &rest);
    *sum = fl_total_add((fl_total){ lanes, 0 }, (fl_total){ rest, 0 });
    return status;
}

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
    const ptrdiff_t blocks = count_blocks(call);
    const fl_job job = {
        call, blocks, FEW_BLOCKS, FL_MAX_WORKERS, enter, leave, run_block, call->interrupted
    };
    *sum = 0;
    if (blocks == 0)
        return 0;
    if (blocks > 1)
        return fl_run_job(&job, sum);
    fl_room s;
    fl_total total;
    enter(call, 0, &s);
    const int status = run_block(call, 0, &s, &total);
    leave(&s);
    *sum = fl_total_rounded(total);
    return status;
}

ptrdiff_t fl_first_violation(const fl_call *call)
{
    const ptrdiff_t blocks = count_blocks(call);
    ptrdiff_t found = -1;
    fl_watch w = fl_watch_start();
    fl_room s;
    fl_total x;
    double sum;

    enter(call, 0, &s);
    for (ptrdiff_t block = 0;
         block < blocks && found < 0 && (s.shared || !fl_watch_interrupted(&w, call->interrupted)); block++)
        if (run_block(call, block, &s, &x))
            for (ptrdiff_t i = block * FL_BLOCK; i < call->size && found < 0; i++)
                if (run_group(call, i, 1, &s, &sum))
                    found = i;
    leave(&s);
    return found;
}
