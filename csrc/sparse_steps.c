/* Stochastic gradient descent on sparse rows: a step touches the columns that its rows have. What the
 * penalties would do to the others is caught up on later. The coefficients are scale * v; the scale takes l2,
 * and v is short of what l1 has cut since its column was last read. Shalev-Shwartz, Singer & Srebro (2007),
 * Langford, Li & Zhang (2009); Xu (2011), in which the average is so, too.
 *
 * With hogwild all threads take steps at once, on the same parameters and without locks: one may lose what
 * another has just written. Niu, Recht, Re & Wright (2011). */
#include "sparse_steps.h"

#include "flow.h"
#include "linear.h"
#include "measure.h"
#include "team.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum {
    TASK_ROWS = 256,   /* about: the steps of a task go on on one thread */
    HOGWILD_ROWS = 32, /* of a task then */
    DOT_LANES = 4,
    ROW_ELEMENTS = 16, /* that a row is taken to have, where this decides: however a stream is cut */
    AHEAD = 4,         /* rows, that are fetched before they are read */
};
#define SMALLEST_SCALE 0x1p-20 /* then all columns are brought up to date, and it is 1 again */

/* What there is one of per row of a batch: padded to whole groups of lanes. */
typedef enum { LABELS, WEIGHTS, SCORES, GRADS, MARGINS } margin;

/* Where the columns stand that no step touches. */
typedef struct {
    double scale, cut;
    double mass; /* the sum of the scales behind the steps that count for the average */
} stand;

typedef struct {
    fl_steps_call *call;
    ptrdiff_t first, end, per_task; /* batches, as far as the scale does not get too small */
    stand *starts;                  /* of each task */
    double *cuts, *past; /* per column: the cut that v has had; its changes times the mass before */
    double intercepts;   /* their sum, of the steps that count for the average */
    ptrdiff_t most;      /* columns of a batch, and one */
    size_t margin, room;
    char *rooms;
    atomic_ptrdiff_t begun, done; /* tasks; steps */
    atomic_int failed;            /* the status of a step that was not taken */
} lazy_job;

/* One worker's memory. */
typedef struct {
    double *sums, *grads, *moved;
    ptrdiff_t *columns;
    char *margins[MARGINS];
    int rises;            /* the last row's columns */
    double norm, largest; /* of the last gradient; the largest component of any */
    ptrdiff_t odd;        /* numbers that are not finite */
} lazy_room;

/* Threads may read and write the same number at once. Where there is one thread, these are plain. */
static ALWAYS_INLINE double get(const double *x)
{
    double value;
    __atomic_load(x, &value, __ATOMIC_RELAXED);
    return value;
}

static ALWAYS_INLINE void set(double *x, double value) { __atomic_store(x, &value, __ATOMIC_RELAXED); }

/* ---- columns that are not touched -------------------------------------------------------------- */

static int is_averaged(const lazy_job *job, ptrdiff_t batch)
{
    return job->call->average && job->call->steps + (batch - job->first) >= job->call->average_from;
}

static stand behind(const lazy_job *job, stand s, ptrdiff_t batch)
{
    const double rate = job->call->rates[batch];
    s.scale *= 1 - rate * job->call->l2;
    s.cut += rate * job->call->l1 / s.scale;
    s.mass += is_averaged(job, batch) ? s.scale : 0;
    return s;
}

static ALWAYS_INLINE void catch_up(const lazy_job *job, const stand *s, ptrdiff_t j)
{
    job->call->coef[j] = fl_shrunk(job->call->coef[j], s->cut - job->cuts[j]);
    job->cuts[j] = s->cut;
}

/* Behind the steps that have been done: all columns as they are. */
static void settle(lazy_job *job)
{
    fl_steps_call *call = job->call;
    const ptrdiff_t columns = call->model.columns, done = job->done;
    stand s = { 1, 0, 0 };
    double averaged = 0;
    for (ptrdiff_t b = job->first; b < job->first + done; b++) {
        averaged += is_averaged(job, b);
        s = behind(job, s, b);
    }
    call->steps += done;
    const double share = averaged ? 1 / (double)(call->steps - call->average_from) : 0;
    for (ptrdiff_t j = 0; j < columns; j++) {
        if (job->cuts) {
            catch_up(job, &s, j);
            job->cuts[j] = 0;
        }
        if (averaged) {
            call->average[j] +=
                share * ((s.mass * call->coef[j] - job->past[j]) - averaged * call->average[j]);
            job->past[j] = 0;
        }
        call->coef[j] *= s.scale;
    }
    if (averaged)
        call->average[columns] += share * (job->intercepts - averaged * call->average[columns]);
    job->intercepts = 0;
}

/* ---- one step ---------------------------------------------------------------------------------- */

/* Arrays of float or double, int32 or int64, by the size of an element. */
static ALWAYS_INLINE double real_at(int size, const void *x, ptrdiff_t i)
{
    return size == 4 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static ALWAYS_INLINE void put_real(int size, void *x, ptrdiff_t i, double value)
{
    if (size == 4)
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

static ALWAYS_INLINE ptrdiff_t index_at(int size, const void *x, ptrdiff_t i)
{
    return size == 4 ? (ptrdiff_t)((const int32_t *)x)[i] : (ptrdiff_t)((const int64_t *)x)[i];
}

static ptrdiff_t row_at(const fl_steps_call *call, ptrdiff_t i) { return call->order ? call->order[i] : i; }

/* Where a row's elements are; none where its starts are wrong. */
typedef struct {
    ptrdiff_t start, end;
} span;

static ALWAYS_INLINE span span_of(const fl_linear_call *model, int index, ptrdiff_t row)
{
    const span s = { index_at(index, model->starts, row), index_at(index, model->starts, row + 1) };
    return s.start < 0 || s.start > s.end || s.end > model->stored ? (span){ 0, 0 } : s;
}

/* Rows lie anywhere: what is about one that comes later, and what it holds, where it comes soon. */
static ALWAYS_INLINE void fetch(const fl_steps_call *call, int real, int index, ptrdiff_t i)
{
    const fl_linear_call *model = &call->model;
    if (i + 2 * AHEAD >= call->rows)
        return;
    const ptrdiff_t later = row_at(call, i + 2 * AHEAD);
    const span soon = span_of(model, index, row_at(call, i + AHEAD));
    __builtin_prefetch((const char *)model->starts + later * index, 0, 2);
    __builtin_prefetch(model->y.data + later * real, 0, 2);
    for (ptrdiff_t k = soon.start; k < soon.end; k += 64 / index)
        __builtin_prefetch((const char *)model->indices + k * index, 0, 2);
    for (ptrdiff_t k = soon.start; k < soon.end; k += 64 / real)
        __builtin_prefetch(model->X.data + k * real, 0, 2);
}

/* Whether the row names columns that there are, in rising order: none twice. */
static ALWAYS_INLINE int rises(const fl_linear_call *model, int index, ptrdiff_t row)
{
    const span s = span_of(model, index, row);
    int falls = 0;
    if (s.start == s.end || index_at(index, model->indices, s.start) < 0 ||
        index_at(index, model->indices, s.end - 1) >= model->columns)
        return 0;
    for (ptrdiff_t k = s.start + 1; k < s.end; k++)
        falls |= index_at(index, model->indices, k - 1) >= index_at(index, model->indices, k);
    return !falls;
}

static ALWAYS_INLINE double score(const fl_linear_call *model, int real, int index, span s, const double *v)
{
    ptrdiff_t k = s.start;
    double lanes[DOT_LANES] = { 0 };
    for (; k + DOT_LANES <= s.end; k += DOT_LANES)
#pragma GCC unroll 4 /* or the sums go through memory */
        for (int l = 0; l < DOT_LANES; l++)
            lanes[l] += real_at(real, model->X.data, k + l) * get(v + index_at(index, model->indices, k + l));
    for (; k < s.end; k++)
        lanes[0] += real_at(real, model->X.data, k) * get(v + index_at(index, model->indices, k));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* The losses and their derivatives, of n rows from `first` on. Returns a status. */
static ALWAYS_INLINE int score_rows(lazy_job *job, lazy_room *room, const stand *s, int real, int index,
                                    ptrdiff_t first, ptrdiff_t n, double *loss)
{
    const fl_steps_call *call = job->call;
    const fl_linear_call *model = &call->model;
    const ptrdiff_t padded = (n + FL_LANES - 1) / FL_LANES * FL_LANES;
    const double intercept = get(call->coef + model->columns);
    char *const *margins = room->margins;
    for (ptrdiff_t i = 0; i < n; i++) {
        const ptrdiff_t row = row_at(call, first + i);
        room->rises = rises(model, index, row);
        if (!room->rises && !fl_rows_are_inside(model, row, 1))
            return FL_BAD_INDEX;
        fetch(call, real, index, first + i);
        const span at = span_of(model, index, row);
        for (ptrdiff_t k = at.start; k < at.end && job->cuts; k++)
            catch_up(job, s, index_at(index, model->indices, k));
        put_real(real, margins[SCORES], i, s->scale * score(model, real, index, at, call->coef) + intercept);
        put_real(real, margins[LABELS], i, real_at(real, model->y.data, row));
        put_real(real, margins[WEIGHTS], i, model->weight.data ? real_at(real, model->weight.data, row) : 1);
    }
    for (ptrdiff_t i = n; i < padded; i++) {
        put_real(real, margins[SCORES], i, 0);
        put_real(real, margins[LABELS], i, real_at(real, margins[LABELS], n - 1));
        put_real(real, margins[WEIGHTS], i, 0);
    }
    for (ptrdiff_t i = 0; i < padded; i += FL_BLOCK) {
        const void *in[FL_INPUTS] = { margins[LABELS] + i * real, margins[SCORES] + i * real,
                                      margins[WEIGHTS] + i * real };
        void *out[FL_OUTPUTS] = { margins[GRADS] + i * real, NULL };
        double sum;
        if (model->kernel(padded - i < FL_BLOCK ? padded - i : FL_BLOCK, in, FL_LANES, 0, out,
                          model->constants, 1, &sum))
            return FL_VIOLATED;
        *loss += sum;
    }
    return 0;
}

/* The columns where X'g is not 0, and what it is there. Returns their number; behind them there is the sum
 * of g. */
static ALWAYS_INLINE ptrdiff_t add_rows(const lazy_job *job, const lazy_room *room, int real, int index,
                                        ptrdiff_t first, ptrdiff_t n)
{
    const fl_linear_call *model = &job->call->model;
    const int alone = n == 1 && room->rises; /* no sums are needed */
    double all = 0;
    ptrdiff_t found = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const span at = span_of(model, index, row_at(job->call, first + i));
        const double g = real_at(real, room->margins[GRADS], i);
        all += g;
        if (alone)
            for (; found < at.end - at.start && g != 0; found++) {
                room->columns[found] = index_at(index, model->indices, at.start + found);
                room->grads[found] = g * real_at(real, model->X.data, at.start + found);
            }
        else
            for (ptrdiff_t k = at.start; k < at.end && g != 0; k++)
                room->sums[index_at(index, model->indices, k)] += g * real_at(real, model->X.data, k);
    }
    for (ptrdiff_t i = 0; i < n && !alone; i++) {
        const span at = span_of(model, index, row_at(job->call, first + i));
        for (ptrdiff_t k = at.start; k < at.end; k++) {
            const ptrdiff_t j = index_at(index, model->indices, k);
            room->columns[found] = j;
            room->grads[found] = room->sums[j];
            found += room->sums[j] != 0;
            room->sums[j] = 0;
        }
    }
    memset(room->grads + found, 0, FL_LANES * sizeof(double));
    room->grads[found] = job->call->fit_intercept ? all : 0;
    return found;
}

/* From the gradient at `found` columns and, last, of the intercept. A step that is not finite is not taken.
 */
static int move(lazy_job *job, lazy_room *room, const stand *s, ptrdiff_t found, ptrdiff_t batch, ptrdiff_t n,
                double loss)
{
    fl_steps_call *call = job->call;
    double *v = call->coef, *intercept = v + call->model.columns, *moved = room->moved;
    const fl_extent g = fl_measure(room->grads, found + 1, 1 / (double)n);
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    const double rate = clip * call->rates[batch],
                 scaled = rate / (s->scale * (1 - call->rates[batch] * call->l2));
    room->norm = g.norm;
    room->largest = g.largest > room->largest ? g.largest : room->largest;
    if (!g.finite || !(fabs(loss) <= DBL_MAX)) {
        room->odd = fl_count_odd(room->grads, found + 1, DBL_MAX) + fl_count_odd(&loss, 1, DBL_MAX);
        return FL_DIVERGED;
    }
    for (ptrdiff_t i = 0; i < found; i++)
        moved[i] = get(v + room->columns[i]) - scaled * room->grads[i];
    moved[found] = get(intercept) - call->intercept_rate * rate * room->grads[found];
    room->odd = fl_count_odd(moved, found + 1, call->limit);
    if (room->odd)
        return FL_DIVERGED;
    for (ptrdiff_t i = 0; i < found && job->past; i++)
        job->past[room->columns[i]] += s->mass * (moved[i] - v[room->columns[i]]);
    for (ptrdiff_t i = 0; i < found; i++)
        set(v + room->columns[i], moved[i]);
    set(intercept, moved[found]);
    if (is_averaged(job, batch))
        job->intercepts += moved[found];
    return 0;
}

static ALWAYS_INLINE int take_step(lazy_job *job, lazy_room *room, const stand *s, ptrdiff_t batch, int real,
                                   int index, double *loss)
{
    const fl_steps_call *call = job->call;
    const ptrdiff_t first = batch * call->batch, left = call->rows - first;
    const ptrdiff_t n = left < call->batch ? left : call->batch;
    const int status = score_rows(job, room, s, real, index, first, n, loss);
    if (status)
        return status;
    char *const *margins = room->margins;
    const double plain = call->slope ? real_at(real, margins[GRADS], 0) : 0;
    if (plain != 0)
        put_real(real, margins[GRADS], 0, 1); /* then the sums will be the row */
    const ptrdiff_t found = add_rows(job, room, real, index, first, n);
    if (plain != 0)
        fl_scale_row(call, call->rates[batch], plain, real_at(real, margins[LABELS], 0),
                     real_at(real, margins[WEIGHTS], 0), real_at(real, margins[SCORES], 0), found,
                     room->grads);
    return move(job, room, s, found, batch, n, *loss);
}

/* ---- an epoch ---------------------------------------------------------------------------------- */

static void enter(const void *job_of_steps, int worker, fl_room *room)
{
    const lazy_job *job = job_of_steps;
    room->shared = 0;
    room->blocks = job->rooms + worker * job->room;
}

static void leave(fl_room *room) { (void)room; }

static lazy_room room_at(const lazy_job *job, char *memory)
{
    lazy_room room = { .largest = 0 };
    for (int i = 0; i < MARGINS; i++)
        room.margins[i] = memory + i * job->margin;
    room.grads = (double *)(memory + MARGINS * job->margin);
    room.moved = room.grads + job->most + FL_LANES;
    room.columns = (ptrdiff_t *)(room.moved + job->most);
    room.sums = (double *)(room.columns + job->most);
    return room;
}

/* The task that comes next, whichever it is asked for. All threads must scale v by nearly the same, also one
 * that the system has not let run for a while. */
static int run_task(const void *job_of_steps, ptrdiff_t any, fl_room *memory, fl_total *sum)
{
    lazy_job *job = (lazy_job *)job_of_steps;
    const ptrdiff_t task = atomic_fetch_add_explicit(&job->begun, 1, memory_order_relaxed);
    fl_steps_call *call = job->call;
    const fl_linear_call *model = &call->model;
    lazy_room room = room_at(job, memory->blocks);
    stand s = job->starts[task];
    int status = 0, none = 0;
    const ptrdiff_t first = job->first + task * job->per_task;
    const ptrdiff_t end = job->end - first < job->per_task ? job->end : first + job->per_task;
    ptrdiff_t b = first, latest = task;
    (void)any;
    *sum = (fl_total){ 0, 0 };
    for (; b < end; b++) {
        double loss = 0;
        if (atomic_load_explicit(&job->failed, memory_order_relaxed))
            break;
        if (model->real_bytes == 4)
            status = model->index_bytes == 4 ? take_step(job, &room, &s, b, 4, 4, &loss)
                                             : take_step(job, &room, &s, b, 4, 8, &loss);
        else
            status = model->index_bytes == 4 ? take_step(job, &room, &s, b, 8, 4, &loss)
                                             : take_step(job, &room, &s, b, 8, 8, &loss);
        if (status)
            break;
        s = behind(job, s, b);
        const ptrdiff_t now = atomic_load_explicit(&job->begun, memory_order_relaxed) - 1;
        if (now > latest)
            s = job->starts[latest = now];
        *sum = fl_total_add(*sum, (fl_total){ loss, 0 });
    }
    atomic_fetch_add_explicit(&job->done, b - first, memory_order_relaxed);
    set(&call->norm, room.norm);
    if (room.largest > get(&call->largest))
        set(&call->largest, room.largest);
    if (status && atomic_compare_exchange_strong(&job->failed, &none, status) && status == FL_DIVERGED)
        call->odd = room.odd;
    return b < end ? FL_INTERRUPTED : 0;
}

static ptrdiff_t longest_row(const fl_linear_call *model)
{
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < model->rows; i++) {
        const span s = span_of(model, model->index_bytes, i);
        most = s.end - s.start > most ? s.end - s.start : most;
    }
    return most;
}

int fl_steps_are_lazy(const fl_steps_call *call)
{
    const fl_linear_call *model = &call->model;
    if (!model->starts || !call->rows || call->row_kernel || call->velocity ||
        (call->average && call->l1 > 0))
        return 0;
    for (ptrdiff_t b = 0; b * call->batch < call->rows; b++)
        if (!(call->rates[b] * call->l2 < 1)) /* a step that turns the sign */
            return 0;
    return call->hogwild || call->batch < model->columns / ROW_ELEMENTS;
}

static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Sets the end of the next batches to be done before all columns are settled, and where their tasks start. */
static void plan(lazy_job *job, ptrdiff_t batches)
{
    stand s = { 1, 0, 0 };
    ptrdiff_t b = job->first;
    for (; b < batches && s.scale > SMALLEST_SCALE; b++) {
        if ((b - job->first) % job->per_task == 0)
            job->starts[(b - job->first) / job->per_task] = s;
        s = behind(job, s, b);
    }
    job->end = b;
}

int fl_run_lazy_steps(fl_steps_call *call)
{
    const fl_linear_call *model = &call->model;
    const ptrdiff_t columns = model->columns, batch = call->batch < call->rows ? call->batch : call->rows;
    const ptrdiff_t batches = (call->rows + batch - 1) / batch;
    int workers = call->hogwild && !call->average && call->l1 == 0 ? fl_num_threads() : 1;
    const ptrdiff_t task_rows = workers > 1 ? HOGWILD_ROWS : TASK_ROWS;
    lazy_job job = { .call = call, .per_task = batch < task_rows ? task_rows / batch : 1 };
    const ptrdiff_t tasks = (batches + job.per_task - 1) / job.per_task, row = longest_row(model);
    job.most = (row < columns / batch ? row * batch : columns) + 1;
    job.margin = whole_lines((size_t)(batch + FL_LANES) * model->real_bytes);
    job.room = MARGINS * job.margin + whole_lines((3 * job.most + FL_LANES + columns) * sizeof(double));
    const size_t starts = whole_lines(tasks * sizeof(stand)),
                 per_column = whole_lines(columns * sizeof(double));
    workers = workers < FL_MAX_WORKERS ? workers : FL_MAX_WORKERS;
    char *memory = calloc(1, starts + 2 * per_column + workers * job.room + 64);
    if (!memory && workers > 1)
        memory = calloc(1, starts + 2 * per_column + (workers = 1) * job.room + 64);
    if (!memory)
        return FL_NO_MEMORY;
    job.starts = (stand *)(memory + (64 - (uintptr_t)memory % 64));
    job.cuts = call->l1 > 0 ? (double *)((char *)job.starts + starts) : NULL;
    job.past = call->average ? (double *)((char *)job.starts + starts + per_column) : NULL;
    job.rooms = (char *)job.starts + starts + 2 * per_column;

    fl_total loss = { 0, 0 };
    fl_watch watch = fl_watch_start();
    int status = 0;
    watch.every = 1; /* the batches up to where all columns are settled may not take long enough for a look */
    call->largest = call->norm = 0;
    call->odd = 0;
    while (job.first < batches && !status) {
        double sum = 0;
        plan(&job, batches);
        const fl_job work = {
            .call = &job,
            .blocks = (job.end - job.first + job.per_task - 1) / job.per_task,
            .few = workers > 1 ? 2 : PTRDIFF_MAX, /* else one thread takes them in their order */
            .workers = workers,
            .enter = enter,
            .leave = leave,
            .run = run_task,
            .interrupted = model->interrupted,
        };
        atomic_init(&job.begun, 0);
        atomic_init(&job.done, 0);
        status = fl_run_tasks(&work, 1, 0, &sum);
        status = job.failed ? job.failed : status;
        settle(&job);
        loss = fl_total_add(loss, (fl_total){ sum, 0 });
        job.first = job.end;
        if (!status && fl_watch_interrupted(&watch, model->interrupted))
            status = FL_INTERRUPTED;
    }
    for (ptrdiff_t j = 0; j < columns; j++)
        put_real(model->real_bytes, call->working, j, call->coef[j]);
    call->loss = fl_total_rounded(loss);
    free(memory);
    return status;
}
