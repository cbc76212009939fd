/* Stochastic gradient descent on sparse rows: a step touches the columns that its rows have. What the
 * penalties would do to the others is caught up on later. The coefficients are scale * v; the scale takes l2,
 * and v is short of what l1 has cut since its column was last read. Shalev-Shwartz, Singer & Srebro (2007),
 * Langford, Li & Zhang (2009); Xu (2011), in which the average is so, too.
 *
 * With hogwild all threads take steps at once, on the same parameters and without locks: one may lose what
 * another has just written. Niu, Recht, Re & Wright (2011). */
#include "linear/sparse_descent.h"
#include "api/threads.h"
#include "linear/importance.h"
#include "linear/measure.h"
#include "linear/sparse_batch.h"
#include "threads/team.h"

#include <stdatomic.h>

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
    double *cuts;                   /* per column, that v has had */
    double *past;                   /* per coefficient, the changes of v times the mass before */
    double *intercepts;             /* their sums, of the steps that count for the average */
    fl_arena arena;
    double limit;                 /* a worker's share: what they all add up to has to stay finite */
    atomic_ptrdiff_t begun, done; /* tasks; steps */
    atomic_int failed;            /* the status of a step that was not taken */
} lazy_job;

/* One worker's memory. */
typedef struct {
    fl_sparse_batch rows;
    double *moved;       /* parameters */
    double reach;        /* no parameter is larger, in magnitude, for all that this worker has done */
    double largest;      /* component of a gradient */
    ptrdiff_t nonfinite; /* numbers that are not finite */
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

static inline void catch_up(const lazy_job *job, const stand *s, ptrdiff_t column)
{
    const fl_steps_call *call = job->call;
    const double cut = s->cut - job->cuts[column];
    for (ptrdiff_t k = 0, j = column; k < call->scores; k++, j += call->model.columns)
        call->coef[j] = fl_shrunk(call->coef[j], cut);
    job->cuts[column] = s->cut;
}

/* Behind the steps that have been done: all columns as they are. */
static void settle(lazy_job *job)
{
    fl_steps_call *call = job->call;
    const ptrdiff_t columns = call->model.columns, coefs = call->scores * columns, done = job->done;
    stand s = { 1, 0, 0 };
    double averaged = 0;
    for (ptrdiff_t b = job->first; b < job->first + done; b++) {
        averaged += is_averaged(job, b);
        s = behind(job, s, b);
    }
    call->steps += done;
    const double share = averaged ? 1 / (double)(call->steps - call->average_from) : 0;
    for (ptrdiff_t j = 0; j < columns && job->cuts; j++) {
        catch_up(job, &s, j);
        job->cuts[j] = 0;
    }
    for (ptrdiff_t j = 0; j < coefs; j++) {
        if (averaged) {
            call->average[j] +=
                share * ((s.mass * call->coef[j] - job->past[j]) - averaged * call->average[j]);
            job->past[j] = 0;
        }
        call->coef[j] *= s.scale;
    }
    for (ptrdiff_t k = 0; k < call->scores && averaged; k++) {
        double *average = call->average + coefs + k;
        *average += share * (job->intercepts[k] - averaged * *average);
        job->intercepts[k] = 0;
    }
}

/* ---- one step ---------------------------------------------------------------------------------- */

/* What v moves by against a derivative of its parameter. */
static double rate_of(const fl_steps_call *call, const stand *s, ptrdiff_t batch)
{
    return call->rates[batch] / (s->scale * (1 - call->rates[batch] * call->l2));
}

/* Of the gradient, whose numbers lie in `rows` from then on. */
static fl_extent measure(lazy_room *room, ptrdiff_t found)
{
    const fl_extent g = fl_measure(room->rows.grads, found, 1 / (double)room->rows.n);
    room->largest = fl_larger(g.largest, room->largest);
    return g;
}

static ptrdiff_t collect(const fl_steps_call *call, const fl_sparse_batch *rows)
{
    const ptrdiff_t found = fl_collect_batch(call, rows);
    for (ptrdiff_t k = 0; k < call->scores && call->fit_intercept; k++)
        rows->grads[found + k] = fl_batch_total(rows, k);
    return found + call->scores;
}

/* Where nothing can get beyond the limit. */
static void move(lazy_job *job, lazy_room *room, const stand *s, ptrdiff_t batch)
{
    const fl_steps_call *call = job->call;
    const fl_sparse_batch *rows = &room->rows;
    double *intercepts = call->coef + call->scores * call->model.columns;
    for (ptrdiff_t k = 0; k < call->scores; k++) {
        const double g = call->fit_intercept ? fl_batch_total(rows, k) * (1 / (double)rows->n) : 0;
        const double is =
            fl_get(rows->shared, intercepts + k) - call->intercept_rate * call->rates[batch] * g;
        fl_set(rows->shared, intercepts + k, is);
        if (is_averaged(job, batch))
            job->intercepts[k] += is;
    }
    fl_move_batch(call, rows, (fl_motion){ call->coef, job->past, rate_of(call, s, batch), s->mass });
}

/* With all that a step can have. One that is not finite is not taken. */
static int move_with_care(lazy_job *job, lazy_room *room, const stand *s, ptrdiff_t batch, double loss)
{
    fl_steps_call *call = job->call;
    fl_sparse_batch *rows = &room->rows;
    const int size = call->model.real_bytes;
    const double rate = call->rates[batch], plain = call->slope ? rows->g[0] : 0;
    if (plain != 0)
        rows->g[0] = 1; /* then the gradient will be the row */
    const ptrdiff_t found = collect(call, rows), coefs = call->scores * call->model.columns;
    double *v = call->coef, *moved = room->moved, *grads = rows->grads;
    if (plain != 0)
        fl_scale_row(call, rate, plain, fl_real_at(size, rows->at.labels, 0),
                     fl_real_at(size, rows->at.weights, 0), fl_real_at(size, rows->at.scores, 0), found - 1,
                     grads);
    const fl_extent g = measure(room, found);
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    const double of_coef = clip * rate_of(call, s, batch),
                 of_intercept = clip * (call->intercept_rate * rate);
    fl_set(rows->shared, &call->norm, g.norm);
    if (!g.finite || !(fabs(loss) <= DBL_MAX)) {
        room->nonfinite = fl_count_nonfinite(grads, found, DBL_MAX) + fl_count_nonfinite(&loss, 1, DBL_MAX);
        return FL_DIVERGED;
    }
    for (ptrdiff_t k = 0; k < call->scores; k++)
        rows->touched[found - call->scores + k] = coefs + k;
    for (ptrdiff_t i = 0; i < found; i++)
        moved[i] = fl_get(rows->shared, v + rows->touched[i]) -
                   (rows->touched[i] < coefs ? of_coef : of_intercept) * grads[i];
    room->nonfinite = fl_count_nonfinite(moved, found, job->limit);
    if (room->nonfinite)
        return FL_DIVERGED;
    for (ptrdiff_t i = 0; i < found - call->scores && job->past; i++)
        job->past[rows->touched[i]] += s->mass * (moved[i] - v[rows->touched[i]]);
    for (ptrdiff_t i = 0; i < found; i++)
        fl_set(rows->shared, v + rows->touched[i], moved[i]);
    for (ptrdiff_t k = 0; k < call->scores && is_averaged(job, batch); k++)
        job->intercepts[k] += moved[found - call->scores + k];
    return 0;
}

static int take_step(lazy_job *job, lazy_room *room, const stand *s, ptrdiff_t batch, double *loss)
{
    fl_steps_call *call = job->call;
    const ptrdiff_t first = batch * call->batch, left = call->rows - first;
    fl_sparse_batch *rows = &room->rows;
    if (!fl_open_batch(call, rows, first, left < call->batch ? left : call->batch))
        return FL_BAD_INDEX;
    for (ptrdiff_t k = 0; job->cuts && k < rows->ends[rows->n - 1]; k++)
        catch_up(job, s, rows->columns[k]);
    const int status = fl_score_batch(call, rows, s->scale, first, loss);
    if (status)
        return status;
    /* Within these the gradient is, and the parameters will be, whatever is lost in rounding. */
    double total = 0;
    for (ptrdiff_t k = 0; k < call->scores && call->fit_intercept; k++)
        total = fl_larger(fabs(fl_batch_total(rows, k)), total);
    const double bound = (1 + 0x1p-30) * fl_larger(total, fl_batch_bound(call, rows)) / (double)rows->n;
    room->reach += bound * (fabs(rate_of(call, s, batch)) + fabs(call->intercept_rate * call->rates[batch]));
    const double safe = (1 - 0x1p-20) * job->limit; /* rounding, too, leads away */
    if (call->slope || call->clip_norm < INFINITY || !(room->reach <= safe) || !(fabs(*loss) <= DBL_MAX))
        return move_with_care(job, room, s, batch, *loss);
    const int is_last = batch + 1 == job->end; /* whose norm is asked for */
    if (is_last || bound > room->largest) {
        const fl_extent g = measure(room, collect(call, rows));
        if (is_last)
            fl_set(rows->shared, &call->norm, g.norm);
    }
    move(job, room, s, batch);
    return 0;
}

/* ---- an epoch ---------------------------------------------------------------------------------- */

static lazy_room *room_of(const lazy_job *job, int worker)
{
    return (lazy_room *)fl_workspace_of(&job->arena, worker);
}

/* The task that comes next, whichever it is asked for. All threads must scale v by nearly the same, also one
 * that the system has not let run for a while. */
static int run_task(const void *job_of_steps, ptrdiff_t any, fl_workspace *workspace, fl_total *sum)
{
    lazy_job *job = (lazy_job *)job_of_steps;
    const ptrdiff_t task = atomic_fetch_add_explicit(&job->begun, 1, memory_order_relaxed);
    fl_steps_call *call = job->call;
    lazy_room *room = (lazy_room *)workspace->memory;
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
        status = take_step(job, room, &s, b, &loss);
        if (status)
            break;
        s = behind(job, s, b);
        const ptrdiff_t now = atomic_load_explicit(&job->begun, memory_order_relaxed) - 1;
        if (now > latest)
            s = job->starts[latest = now];
        *sum = fl_total_add(*sum, (fl_total){ loss, 0 });
    }
    atomic_fetch_add_explicit(&job->done, b - first, memory_order_relaxed);
    if (status && atomic_compare_exchange_strong(&job->failed, &none, status) && status == FL_DIVERGED)
        call->nonfinite = room->nonfinite;
    return b < end ? FL_INTERRUPTED : 0;
}

int fl_steps_are_lazy(const fl_steps_call *call)
{
    const fl_linear_call *model = &call->model;
    if (!model->starts || !call->rows || model->columns > FL_MOST_SPARSE_COLUMNS || call->velocity ||
        (call->average && call->l1 > 0))
        return 0;
    for (ptrdiff_t b = 0; b * call->batch < call->rows; b++)
        if (!(call->rates[b] * call->l2 < 1)) /* a step that turns the sign */
            return 0;
    return call->hogwild || call->batch < model->columns / ROW_ELEMENTS;
}

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
    double reach = 0;
    for (ptrdiff_t j = 0; j < job->call->scores * (job->call->model.columns + 1); j++)
        reach = fl_larger(fabs(job->call->coef[j]), reach);
    for (int w = 0; w < job->arena.workers; w++)
        room_of(job, w)->reach = reach;
}

int fl_run_lazy_steps(fl_steps_call *call)
{
    const fl_linear_call *model = &call->model;
    const ptrdiff_t columns = model->columns, batch = call->batch < call->rows ? call->batch : call->rows;
    const ptrdiff_t batches = (call->rows + batch - 1) / batch;
    const int workers = call->hogwild && !call->average && call->l1 == 0 ? fl_num_threads() : 1;
    const ptrdiff_t task_rows = workers > 1 ? HOGWILD_ROWS : TASK_ROWS;
    lazy_job job = { .call = call, .per_task = batch < task_rows ? task_rows / batch : 1 };
    const ptrdiff_t tasks = (batches + job.per_task - 1) / job.per_task,
                    elements = fl_most_elements(call, batch);
    const ptrdiff_t coefs = call->scores * columns;
    const size_t head = fl_whole_lines(sizeof(lazy_room)),
                 rows = fl_sparse_batch_bytes(call, batch, elements);
    const size_t starts = fl_whole_lines(tasks * sizeof(stand)),
                 intercepts = fl_whole_lines(call->scores * sizeof(double)),
                 cuts = call->l1 > 0 ? fl_whole_lines(columns * sizeof(double)) : 0,
                 past = call->average ? fl_whole_lines(coefs * sizeof(double)) : 0,
                 shared = starts + intercepts + cuts + past;
    const size_t moved = (fl_most_touched(call, elements) + call->scores) * sizeof(double);
    if (!fl_open_arena(&job.arena, shared, head + rows + moved, fl_clip(workers, 1, FL_MAX_WORKERS), 1))
        return FL_NO_MEMORY;
    char *lines = job.arena.shared;
    job.starts = (stand *)lines;
    job.intercepts = (double *)(lines + starts);
    job.cuts = cuts ? (double *)(lines + starts + intercepts) : NULL;
    job.past = past ? (double *)(lines + starts + intercepts + cuts) : NULL;
    for (int w = 0; w < job.arena.workers; w++) {
        char *room = fl_workspace_of(&job.arena, w);
        fl_lay_out_batch(call, &room_of(&job, w)->rows, batch, elements, room + head);
        room_of(&job, w)->rows.shared = job.arena.workers > 1;
        room_of(&job, w)->moved = (double *)(room + head + rows);
    }
    job.limit = call->limit / job.arena.workers;

    fl_total loss = { 0, 0 };
    fl_watch watch = fl_watch_start();
    int status = 0;
    watch.every = 1; /* the batches up to where all columns are settled may not take long enough for a look */
    call->largest = call->norm = 0;
    call->nonfinite = 0;
    while (job.first < batches && !status) {
        double sum = 0;
        plan(&job, batches);
        const fl_job work = {
            .call = &job,
            .blocks = (job.end - job.first + job.per_task - 1) / job.per_task,
            .few = job.arena.workers > 1 ? 2 : PTRDIFF_MAX, /* else one thread takes them in their order */
            .workers = job.arena.workers,
            .arena = &job.arena,
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
    for (int w = 0; w < job.arena.workers; w++)
        call->largest = fl_larger(room_of(&job, w)->largest, call->largest);
    for (ptrdiff_t k = 0; k < call->scores; k++)
        for (ptrdiff_t j = 0; j < columns; j++)
            fl_put_real(model->real_bytes, call->working, k * fl_apart(model) + j,
                        call->coef[k * columns + j]);
    call->loss = fl_total_rounded(loss);
    fl_close_arena(&job.arena);
    return status;
}
