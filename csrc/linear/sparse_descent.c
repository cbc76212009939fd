/* Stochastic gradient descent on sparse rows: a step touches only the columns that its rows have. What the
 * penalties do to the other columns is applied later, when they are next read: lazily. The coefficients are
 * scale * v. An l2 penalty changes the scale alone; what an l1 penalty has cut since a column was last read
 * is subtracted from its v then. Shalev-Shwartz, Singer & Srebro (2007), Langford, Li & Zhang (2009); and Xu
 * (2011), who computes the average of the parameters in the same way.
 *
 * With hogwild all threads take steps at once, on the same parameters and without locks: what one writes may
 * be lost to another that writes at the same time. Niu, Recht, Re & Wright (2011). */
#include "linear/sparse_descent.h"
#include "api/threads.h"
#include "linear/importance.h"
#include "linear/measure.h"
#include "linear/sparse_batch.h"
#include "threads/team.h"

#include <stdatomic.h>

enum {
    TASK_ROWS = 256,   /* of a task, about, whose steps one thread takes */
    HOGWILD_ROWS = 32, /* the same with hogwild */
    /* The number of elements that a row is taken to have when it is decided whether steps are lazy. With the
     * actual number, a stream would decide anew for every block of rows. */
    ROW_ELEMENTS = 16,
};
#define SMALLEST_SCALE 0x1p-20 /* below it all columns are brought up to date, and the scale is 1 again */

/* The lazy state: what all steps so far have done to a column that none of them touched. */
typedef struct {
    double scale, cut; /* the coefficients are scale * v; v has been cut by so much */
    double mass;       /* the sum of the scales after the steps that are averaged */
} lazy_state;

typedef struct {
    fl_steps_call *call;
    ptrdiff_t first, end, per_task; /* batches, up to where the scale gets too small */
    lazy_state *states;             /* before each task */
    double *cuts;                   /* per column: by how much v has been cut so far */
    double *past;       /* per coefficient: the sum of the changes of v, each times the mass before it */
    double *intercepts; /* per score: the sum of the intercepts after the steps that are averaged */
    fl_arena arena;
    double limit; /* of what one worker may write: what all of them add up to has to stay finite */
    atomic_ptrdiff_t begun, done; /* tasks; steps */
    atomic_int failed;            /* the status of a step that was not taken */
} lazy_job;

/* One worker's memory. */
typedef struct {
    fl_sparse_batch rows;
    double *moved;  /* parameters */
    double reach;   /* a bound of the magnitude of all parameters, as far as this worker has moved them */
    double largest; /* component of a gradient */
    ptrdiff_t nonfinite; /* how many numbers are not finite */
} lazy_workspace;

/* ---- columns that are not touched -------------------------------------------------------------- */

static int is_averaged(const lazy_job *job, ptrdiff_t batch)
{
    return job->call->average && job->call->steps + (batch - job->first) >= job->call->average_from;
}

static lazy_state state_after(const lazy_job *job, lazy_state s, ptrdiff_t batch)
{
    const double rate = job->call->rates[batch];
    s.scale *= 1 - rate * job->call->l2;
    s.cut += rate * job->call->l1 / s.scale;
    s.mass += is_averaged(job, batch) ? s.scale : 0;
    return s;
}

static inline void catch_up(const lazy_job *job, const lazy_state *s, ptrdiff_t column)
{
    const fl_steps_call *call = job->call;
    const double cut = s->cut - job->cuts[column];
    for (ptrdiff_t k = 0, j = column; k < call->scores; k++, j += call->model.columns)
        call->coef[j] = fl_shrunk(call->coef[j], cut);
    job->cuts[column] = s->cut;
}

/* After the steps that have been done: brings all columns up to date. */
static void settle(lazy_job *job)
{
    fl_steps_call *call = job->call;
    const ptrdiff_t columns = call->model.columns, coefs = call->scores * columns, done = job->done;
    lazy_state s = { 1, 0, 0 };
    double averaged = 0;
    for (ptrdiff_t b = job->first; b < job->first + done; b++) {
        averaged += is_averaged(job, b);
        s = state_after(job, s, b);
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

/* The learning rate of v: the step against a derivative is a change of scale * v. */
static double rate_of(const fl_steps_call *call, const lazy_state *s, ptrdiff_t batch)
{
    return call->rates[batch] / (s->scale * (1 - call->rates[batch] * call->l2));
}

/* The size of the gradient, whose numbers in `rows` become those of the mean. */
static fl_extent measure(lazy_workspace *workspace, ptrdiff_t found)
{
    const fl_extent g = fl_measure(workspace->rows.grads, found, 1 / (double)workspace->rows.n);
    workspace->largest = fl_larger(g.largest, workspace->largest);
    return g;
}

static ptrdiff_t collect(const fl_steps_call *call, const fl_sparse_batch *rows)
{
    const ptrdiff_t found = fl_collect_batch(call, rows);
    for (ptrdiff_t k = 0; k < call->scores && call->fit_intercept; k++)
        rows->grads[found + k] = fl_batch_total(rows, k);
    return found + call->scores;
}

/* A step that cannot lead beyond the limit, as the bounds have shown. */
static void move(lazy_job *job, lazy_workspace *workspace, const lazy_state *s, ptrdiff_t batch)
{
    const fl_steps_call *call = job->call;
    const fl_sparse_batch *rows = &workspace->rows;
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

/* A step with all that it can have: clipping, importance weights, a look at each number. One that is not
 * finite is not taken. */
static int move_checked(lazy_job *job, lazy_workspace *workspace, const lazy_state *s, ptrdiff_t batch,
                        double loss)
{
    fl_steps_call *call = job->call;
    fl_sparse_batch *rows = &workspace->rows;
    const int size = call->model.real_bytes;
    const double rate = call->rates[batch], plain = call->slope ? rows->g[0] : 0;
    if (plain != 0)
        rows->g[0] = 1; /* so the gradient becomes the row itself */
    const ptrdiff_t found = collect(call, rows), coefs = call->scores * call->model.columns;
    double *v = call->coef, *moved = workspace->moved, *grads = rows->grads;
    if (plain != 0)
        fl_importance_step(call, rate, plain, fl_real_at(size, rows->vectors.labels, 0),
                           fl_real_at(size, rows->vectors.weights, 0),
                           fl_real_at(size, rows->vectors.scores, 0), found - 1, grads);
    const fl_extent g = measure(workspace, found);
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    const double of_coef = clip * rate_of(call, s, batch),
                 of_intercept = clip * (call->intercept_rate * rate);
    fl_set(rows->shared, &call->norm, g.norm);
    if (!g.finite || !(fabs(loss) <= DBL_MAX)) {
        workspace->nonfinite =
            fl_count_nonfinite(grads, found, DBL_MAX) + fl_count_nonfinite(&loss, 1, DBL_MAX);
        return FL_DIVERGED;
    }
    for (ptrdiff_t k = 0; k < call->scores; k++)
        rows->touched[found - call->scores + k] = coefs + k;
    for (ptrdiff_t i = 0; i < found; i++)
        moved[i] = fl_get(rows->shared, v + rows->touched[i]) -
                   (rows->touched[i] < coefs ? of_coef : of_intercept) * grads[i];
    workspace->nonfinite = fl_count_nonfinite(moved, found, job->limit);
    if (workspace->nonfinite)
        return FL_DIVERGED;
    for (ptrdiff_t i = 0; i < found - call->scores && job->past; i++)
        job->past[rows->touched[i]] += s->mass * (moved[i] - v[rows->touched[i]]);
    for (ptrdiff_t i = 0; i < found; i++)
        fl_set(rows->shared, v + rows->touched[i], moved[i]);
    for (ptrdiff_t k = 0; k < call->scores && is_averaged(job, batch); k++)
        job->intercepts[k] += moved[found - call->scores + k];
    return 0;
}

static int take_step(lazy_job *job, lazy_workspace *workspace, const lazy_state *s, ptrdiff_t batch,
                     double *loss)
{
    fl_steps_call *call = job->call;
    const ptrdiff_t first = batch * call->batch, left = call->rows - first;
    fl_sparse_batch *rows = &workspace->rows;
    if (!fl_open_batch(call, rows, first, left < call->batch ? left : call->batch))
        return FL_BAD_INDEX;
    for (ptrdiff_t k = 0; job->cuts && k < rows->ends[rows->n - 1]; k++)
        catch_up(job, s, rows->columns[k]);
    const int status = fl_score_batch(call, rows, s->scale, first, loss);
    if (status)
        return status;
    /* Bounds of the gradient and of what the parameters become, whatever rounding does. */
    double total = 0;
    for (ptrdiff_t k = 0; k < call->scores && call->fit_intercept; k++)
        total = fl_larger(fabs(fl_batch_total(rows, k)), total);
    const double bound = (1 + 0x1p-30) * fl_larger(total, fl_batch_bound(call, rows)) / (double)rows->n;
    workspace->reach +=
        bound * (fabs(rate_of(call, s, batch)) + fabs(call->intercept_rate * call->rates[batch]));
    const double safe = (1 - 0x1p-20) * job->limit; /* less what rounding may add */
    if (call->slope || call->clip_norm < INFINITY || !(workspace->reach <= safe) || !(fabs(*loss) <= DBL_MAX))
        return move_checked(job, workspace, s, batch, *loss);
    const int is_last = batch + 1 == job->end; /* whose norm is asked for */
    if (is_last || bound > workspace->largest) {
        const fl_extent g = measure(workspace, collect(call, rows));
        if (is_last)
            fl_set(rows->shared, &call->norm, g.norm);
    }
    move(job, workspace, s, batch);
    return 0;
}

/* ---- an epoch ---------------------------------------------------------------------------------- */

static lazy_workspace *workspace_of(const lazy_job *job, int worker)
{
    return (lazy_workspace *)fl_workspace_of(&job->arena, worker);
}

/* Runs the next task that nobody has begun, whichever it is asked for: the scales of v that the threads use
 * must be close to each other, also that of a thread which the system has not run for a while. */
static int run_task(const void *job_of_steps, ptrdiff_t any, fl_workspace *memory, fl_total *sum)
{
    lazy_job *job = (lazy_job *)job_of_steps;
    const ptrdiff_t task = atomic_fetch_add_explicit(&job->begun, 1, memory_order_relaxed);
    fl_steps_call *call = job->call;
    lazy_workspace *workspace = (lazy_workspace *)memory->memory;
    lazy_state s = job->states[task];
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
        status = take_step(job, workspace, &s, b, &loss);
        if (status)
            break;
        s = state_after(job, s, b);
        const ptrdiff_t now = atomic_load_explicit(&job->begun, memory_order_relaxed) - 1;
        if (now > latest)
            s = job->states[latest = now];
        *sum = fl_total_add(*sum, (fl_total){ loss, 0 });
    }
    atomic_fetch_add_explicit(&job->done, b - first, memory_order_relaxed);
    if (status && atomic_compare_exchange_strong(&job->failed, &none, status) && status == FL_DIVERGED)
        call->nonfinite = workspace->nonfinite;
    return b < end ? FL_INTERRUPTED : 0;
}

int fl_steps_are_lazy(const fl_steps_call *call)
{
    const fl_linear_call *model = &call->model;
    if (!model->starts || !call->rows || model->columns > FL_MOST_SPARSE_COLUMNS || call->velocity ||
        (call->average && call->l1 > 0))
        return 0;
    for (ptrdiff_t b = 0; b * call->batch < call->rows; b++)
        if (!(call->rates[b] * call->l2 < 1)) /* such a step would turn the sign of the scale */
            return 0;
    return call->hogwild || call->batch < model->columns / ROW_ELEMENTS;
}

/* Decides how many batches come before all columns are brought up to date, and sets the state before each
 * task. */
static void plan_batches(lazy_job *job, ptrdiff_t batches)
{
    lazy_state s = { 1, 0, 0 };
    ptrdiff_t b = job->first;
    for (; b < batches && s.scale > SMALLEST_SCALE; b++) {
        if ((b - job->first) % job->per_task == 0)
            job->states[(b - job->first) / job->per_task] = s;
        s = state_after(job, s, b);
    }
    job->end = b;
    double reach = 0;
    for (ptrdiff_t j = 0; j < job->call->scores * (job->call->model.columns + 1); j++)
        reach = fl_larger(fabs(job->call->coef[j]), reach);
    for (int w = 0; w < job->arena.workers; w++)
        workspace_of(job, w)->reach = reach;
}

/* Returns whether there was memory. */
static int open_job(lazy_job *job, fl_steps_call *call, ptrdiff_t batch, ptrdiff_t batches)
{
    const int threads = call->hogwild && !call->average && call->l1 == 0 ? fl_num_threads() : 1;
    const ptrdiff_t task_rows = threads > 1 ? HOGWILD_ROWS : TASK_ROWS, columns = call->model.columns;
    *job = (lazy_job){ .call = call, .per_task = batch < task_rows ? task_rows / batch : 1 };
    const ptrdiff_t tasks = (batches + job->per_task - 1) / job->per_task,
                    elements = fl_most_elements(call, batch);
    const size_t states = fl_whole_lines(tasks * sizeof(lazy_state)),
                 intercepts = fl_whole_lines(call->scores * sizeof(double)),
                 cuts = call->l1 > 0 ? fl_whole_lines(columns * sizeof(double)) : 0,
                 past = call->average ? fl_whole_lines(call->scores * columns * sizeof(double)) : 0;
    const size_t head = fl_whole_lines(sizeof(lazy_workspace)),
                 rows = fl_sparse_batch_bytes(call, batch, elements),
                 moved = (fl_most_touched(call, elements) + call->scores) * sizeof(double);
    if (!fl_open_arena(&job->arena, states + intercepts + cuts + past, head + rows + moved,
                       fl_clip(threads, 1, FL_MAX_WORKERS), 1))
        return 0;
    char *shared = job->arena.shared;
    job->states = (lazy_state *)shared;
    job->intercepts = (double *)(shared + states);
    job->cuts = cuts ? (double *)(shared + states + intercepts) : NULL;
    job->past = past ? (double *)(shared + states + intercepts + cuts) : NULL;
    for (int w = 0; w < job->arena.workers; w++) {
        lazy_workspace *workspace = workspace_of(job, w);
        fl_lay_out_batch(call, &workspace->rows, batch, elements, (char *)workspace + head);
        workspace->rows.shared = job->arena.workers > 1;
        workspace->moved = (double *)((char *)workspace + head + rows);
    }
    job->limit = call->limit / job->arena.workers;
    return 1;
}

/* The batches from job->first to where all columns have to be brought up to date. Returns a status. */
static int run_planned(lazy_job *job, ptrdiff_t batches, fl_total *loss)
{
    double sum = 0;
    plan_batches(job, batches);
    const fl_job work = {
        .call = job,
        .blocks = (job->end - job->first + job->per_task - 1) / job->per_task,
        .few = job->arena.workers > 1 ? 2 : PTRDIFF_MAX, /* else one thread takes all batches in order */
        .workers = job->arena.workers,
        .arena = &job->arena,
        .run = run_task,
        .interrupted = job->call->model.interrupted,
    };
    atomic_init(&job->begun, 0);
    atomic_init(&job->done, 0);
    const int status = fl_run_tasks(&work, 1, 0, &sum);
    settle(job);
    *loss = fl_total_add(*loss, (fl_total){ sum, 0 });
    job->first = job->end;
    return job->failed ? job->failed : status;
}

int fl_run_lazy_steps(fl_steps_call *call)
{
    const fl_linear_call *model = &call->model;
    const ptrdiff_t columns = model->columns, batch = call->batch < call->rows ? call->batch : call->rows;
    const ptrdiff_t batches = (call->rows + batch - 1) / batch;
    lazy_job job;
    fl_total loss = { 0, 0 };
    fl_watch watch = fl_watch_start();
    int status = 0;
    if (!open_job(&job, call, batch, batches))
        return FL_NO_MEMORY;
    watch.every = 1; /* the batches between two settlements may be too few for a look at the clock */
    call->largest = call->norm = 0;
    call->nonfinite = 0;
    while (job.first < batches && !status) {
        status = run_planned(&job, batches, &loss);
        if (!status && fl_watch_interrupted(&watch, model->interrupted))
            status = FL_INTERRUPTED;
    }
    for (int w = 0; w < job.arena.workers; w++)
        call->largest = fl_larger(workspace_of(&job, w)->largest, call->largest);
    for (ptrdiff_t k = 0; k < call->scores; k++)
        for (ptrdiff_t j = 0; j < columns; j++)
            fl_put_real(model->real_bytes, call->working, k * fl_working_stride(model) + j,
                        call->coef[k * columns + j]);
    call->loss = fl_total_rounded(loss);
    fl_close_arena(&job.arena);
    return status;
}
