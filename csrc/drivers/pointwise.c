/* Pointwise calls: arrays of any layout, cut into the contiguous blocks that a kernel sees. */
#include "api/call.h"
#include "drivers/operands.h"
#include "drivers/pack.h"
#include "memory/reserve.h"
#include "threads/team.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A call of fewer blocks stays on its own thread. */
    FEW_BLOCKS = 8,
    /* An array of so many bytes or more comes from beyond the second level of cache. */
    PREFETCH = 1 << 20,
    /* The inputs, the outputs and the weights. */
    MOST_OPERANDS = FL_MAX_INPUTS + FL_MAX_OUTPUTS + 1,
};

/* ---- one block --------------------------------------------------------------------------------- */

/* Where operands are packed: a slot for each, in the order inputs, outputs, weights. */
typedef struct {
    char *memory; /* NULL: nothing is packed */
    size_t bytes; /* of a slot */
} slots;

static char *slot_of(slots s, int i) { return s.memory ? s.memory + s.bytes * (size_t)i : NULL; }

/* `n` elements from `start` on, filled up to `whole`. */
typedef struct {
    ptrdiff_t start, n, whole;
} piece;

static const void *read_operand(const fl_call *call, const fl_array *a, piece p, char *slot)
{
    if (p.n == p.whole && fl_is_direct(call->real_bytes, a))
        return a->data + p.start * call->real_bytes;
    fl_pack(&call->shape, call->real_bytes, a, p.start, p.n, slot);
    return slot;
}

/* Elements [start, start + n), n a multiple of FL_LANES or less than it. In the latter case the group is
 * filled up with copies of its last element, of weight 0. */
static int run_piece(const fl_call *call, ptrdiff_t start, ptrdiff_t n, slots s, double *sum)
{
    const int size = call->real_bytes, inputs = call->inputs, outputs = call->outputs;
    const piece p = { start, n, fl_whole_groups(n) };
    fl_block block;
    block.n = p.whole;
    block.inputs = inputs;
    block.outputs = outputs;
    for (int i = 0; i < inputs; i++) {
        block.in[i] = read_operand(call, &call->in[i], p, slot_of(s, i));
        if (p.n < p.whole)
            fl_fill_up(size, slot_of(s, i), n, p.whole);
    }
    for (int i = 0; i < outputs; i++) {
        const fl_array *a = &call->out[i];
        const int direct = p.n == p.whole && fl_is_direct(size, a);
        block.out[i] = direct ? a->data + start * size : slot_of(s, inputs + i);
    }
    if (call->weight.data) {
        char *slot = slot_of(s, inputs + outputs);
        block.weight = read_operand(call, &call->weight, p, slot);
        if (p.n < p.whole)
            memset(slot + n * size, 0, (size_t)((p.whole - n) * size));
        block.weight_step = FL_LANES;
    } else {
        block.weight = fl_ones(size, n < FL_LANES ? n : FL_LANES);
        block.weight_step = 0;
    }
    block.ahead = call->size >= PREFETCH / size ? 2048 : 0;
    block.constants = call->constants;
    block.context = call->context;
    block.scale = call->scale;
    block.sum = sum;
    *sum = 0;
    const int violated = call->kernel(&block);
    for (int i = 0; i < outputs; i++)
        if (block.out[i] == (void *)slot_of(s, inputs + i))
            fl_unpack(&call->shape, size, &call->out[i], start, n, block.out[i]);
    return violated ? FL_VIOLATED : 0;
}

/* A last group of less than FL_LANES elements, which is always packed: on the stack. */
static int run_tail(const fl_call *call, ptrdiff_t start, ptrdiff_t n, double *sum)
{
    enum { BYTES = FL_LANES * sizeof(double) };
    _Alignas(64) char memory[MOST_OPERANDS * BYTES]; /* not cleared, since most calls have few operands */
    return run_piece(call, start, n, (slots){ memory, BYTES }, sum);
}

/* ---- workspaces -------------------------------------------------------------------------------- */

/* Bytes of a slot for whole blocks. */
static size_t slot_bytes(const fl_call *call)
{
    return (size_t)(call->size < FL_BLOCK ? fl_whole_groups(call->size) : FL_BLOCK) * sizeof(double);
}

/* Whole blocks are packed only of arrays that a kernel cannot read as they are. On the heap, since threads
 * may have small stacks; or where there is none left, in the reserve. */
static void enter(const void *job_call, int worker, fl_workspace *workspace)
{
    const fl_call *call = job_call;
    int direct = !call->weight.data || fl_is_direct(call->real_bytes, &call->weight);
    (void)worker;
    for (int i = 0; i < call->inputs; i++)
        direct &= fl_is_direct(call->real_bytes, &call->in[i]);
    for (int i = 0; i < call->outputs; i++)
        direct &= fl_is_direct(call->real_bytes, &call->out[i]);
    workspace->memory = NULL;
    workspace->shared = 0;
    if (direct)
        return;
    workspace->memory = malloc(slot_bytes(call) * (size_t)(call->inputs + call->outputs + 1));
    if (workspace->memory)
        return;
    workspace->memory = fl_take_reserve();
    workspace->shared = 1;
}

static void leave(fl_workspace *workspace)
{
    if (workspace->shared)
        fl_give_reserve();
    else
        free(workspace->memory);
}

/* A block is its whole groups of lanes, then the rest: the same cut for every layout. */
static int run_block(const void *job_call, ptrdiff_t block, fl_workspace *workspace, fl_total *sum)
{
    const fl_call *call = job_call;
    const ptrdiff_t start = block * FL_BLOCK, left = call->size - start;
    const ptrdiff_t n = left < FL_BLOCK ? left : FL_BLOCK, whole = n / FL_LANES * FL_LANES;
    double lanes = 0, rest = 0;
    int status = 0;

    if (whole)
        status |= run_piece(call, start, whole, (slots){ workspace->memory, slot_bytes(call) }, &lanes);
    if (whole < n)
        status |= run_tail(call, start + whole, n - whole, &rest);
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
    *sum = 0;
    if (blocks == 0)
        return 0;
    if (blocks > 1) {
        const fl_job job = { .call = call,
                             .blocks = blocks,
                             .few = FEW_BLOCKS,
                             .workers = FL_MAX_WORKERS,
                             .enter = enter,
                             .leave = leave,
                             .run = run_block,
                             .interrupted = call->interrupted };
        return fl_run_job(&job, sum);
    }
    fl_workspace workspace;
    fl_total total;
    enter(call, 0, &workspace);
    const int status = run_block(call, 0, &workspace, &total);
    leave(&workspace);
    *sum = fl_total_rounded(total);
    return status;
}

ptrdiff_t fl_first_violation(const fl_call *call)
{
    const ptrdiff_t blocks = count_blocks(call);
    ptrdiff_t found = -1;
    fl_watch watch = fl_watch_start();
    fl_workspace workspace;
    fl_total total;
    double sum;

    enter(call, 0, &workspace);
    /* A call that holds the reserve does not ask whether to stop: a thread that waits for the reserve may
     * hold the GIL, for which the question would wait. */
    for (ptrdiff_t block = 0; block < blocks && found < 0 &&
                              (workspace.shared || !fl_watch_interrupted(&watch, call->interrupted));
         block++)
        if (run_block(call, block, &workspace, &total))
            for (ptrdiff_t i = block * FL_BLOCK; i < call->size && found < 0; i++)
                if (run_tail(call, i, 1, &sum))
                    found = i;
    leave(&workspace);
    return found;
}
