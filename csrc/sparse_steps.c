/* Stochastic gradient descent on sparse rows: a step touches the columns that its rows have. What the
 * penalties would do to the others is caught up on later. The coefficients are scale * v; the scale takes l2,
 * and v is short of what l1 has cut since its column was last read. Shalev-Shwartz, Singer & Srebro (2007),
 * Langford, Li & Zhang (2009); Xu (2011), in which the average is so, too.
 *
 * With hogwild all threads take steps at once, on the same parameters and without locks: one may lose what
 * another has just written. Niu, Recht, Re & Wright (2011). */
#include "sparse_steps.h"

#include "flow.h"
#include "measure.h"
#include "sparse_batch.h"
#include "team.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    TASK_ROWS = 256,   /* about: the steps of a task go on on one thread */
    HOGWILD_ROWS = 32, /* of a task then */
    ROW_ELEMENTS = 16, /* that a row is taken to have, where this decides: however a stream is cut */
};
#define SMALLEST_SCALE 0x1p-20 /* then all columns are brought up to date, and it is 1 again */

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
    sparse_room rows;
    double *moved;        /* parameters */
    double norm, largest; /* of the last gradient; the largest component of any */
    ptrdiff_t odd;        /* numbers that are not finite */
} lazy_room;

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

/* From the gradient at `found` columns and, last, of the intercept. A step that is not finite is not taken.
 */
static int move(lazy_job *job, lazy_room *room, const stand *s, ptrdiff_t found, ptrdiff_t batch, ptrdiff_t n,
                double loss)
{
    fl_steps_call *call = job->call;
    const ptrdiff_t *columns = room->rows.columns;
    double *v = call->coef, *intercept = v + call->model.columns, *moved = room->moved,
           *grads = room->rows.grads;
    const fl_extent g = fl_measure(grads, found + 1, 1 / (double)n);
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    const double rate = clip * call->rates[batch],
                 scaled = rate / (s->scale * (1 - call->rates[batch] * call->l2));
    room->norm = g.norm;
    room->largest = g.largest > room->largest ? g.largest : room->largest;
    if (!g.finite || !(fabs(loss) <= DBL_MAX)) {
        room->odd = fl_count_odd(grads, found + 1, DBL_MAX) + fl_count_odd(&loss, 1, DBL_MAX);
        return FL_DIVERGED;
    }
    for (ptrdiff_t i = 0; i < found; i++)
        moved[i] = get(v + columns[i]) - scaled * grads[i];
    moved[found] = get(intercept) - call->intercept_rate * rate * grads[found];
    room->odd = fl_count_odd(moved, found + 1, call->limit);
    if (room->odd)
        return FL_DIVERGED;
    for (ptrdiff_t i = 0; i < found && job->past; i++)
        job->past[columns[i]] += s->mass * (moved[i] - v[columns[i]]);
    for (ptrdiff_t i = 0; i < found; i++)
        set(v + columns[i], moved[i]);
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
    char *const *margins = room->rows.margins;
    if (!open_rows(call, &room->rows, real, index, first, n))
        return FL_BAD_INDEX;
    for (ptrdiff_t i = first; i < first + n && job->cuts; i++) {
        const span at = span_of(&call->model, index, row_at(call, i));
        for (ptrdiff_t k = at.start; k < at.end; k++)
            catch_up(job, s, index_at(index, call->model.indices, k));
    }
    if (score_rows(call, &room->rows, s->scale, real, index, first, n, loss))
        return FL_VIOLATED;
    const double plain = call->slope ? real_at(real, margins[GRADS], 0) : 0;
    if (plain != 0)
        put_real(real, margins[GRADS], 0, 1); /* then the sums will be the row */
    const ptrdiff_t found = add_rows(call, &room->rows, real, index, first, n);
    if (plain != 0)
        fl_scale_row(call, call->rates[batch], plain, real_at(real, margins[LABELS], 0),
                     real_at(real, margins[WEIGHTS], 0), real_at(real, margins[SCORES], 0), found,
                     room->rows.grads);
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
        room.rows.margins[i] = memory + i * job->margin;
    room.rows.grads = (double *)(memory + MARGINS * job->margin);
    room.moved = room.rows.grads + job->most + FL_LANES;
    room.rows.columns = (ptrdiff_t *)(room.moved + job->most);
    room.rows.sums = (double *)(room.rows.columns + job->most);
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
