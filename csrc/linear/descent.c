/* Stochastic gradient descent on a linear model: mini-batches one after the other, a step after each.
 * Parameters and their steps are doubles, whatever the dtype of the rows. */
#include "api/descent.h"
#include "api/threads.h"
#include "linear/batch.h"
#include "linear/measure.h"
#include "linear/sparse_descent.h"
#include "threads/rounds.h"
#include "threads/team.h"

#include <math.h>
#include <string.h>

enum {
    LONG = 1 << 23, /* bytes of the rows from which on a team of threads is worth waking */
};

/* ---- one step ---------------------------------------------------------------------------------- */

/* How a step moves the parameters. Passed by value, so that the compiler knows that writing parameters does
 * not change it. */
typedef struct {
    double rate, clip, l2, cut, momentum, limit;
    int nesterov;
} step_rule;

/* Sets the next parameters, and returns how many of them are beyond the limit. Where there is a velocity, the
 * next one replaces g. */
static ptrdiff_t move(step_rule r, ptrdiff_t n, const double *w, double *g, const double *velocity,
                      double *next)
{
    ptrdiff_t nonfinite = 0;
    if (!velocity)
#pragma omp simd reduction(+ : nonfinite)
        for (ptrdiff_t j = 0; j < n; j++) {
            next[j] = fl_shrunk(w[j] - r.rate * (r.clip * g[j] + r.l2 * w[j]), r.cut);
            nonfinite += !(fabs(next[j]) <= r.limit);
        }
    else
#pragma omp simd reduction(+ : nonfinite)
        for (ptrdiff_t j = 0; j < n; j++) {
            const double d = r.clip * g[j] + r.l2 * w[j], v = r.momentum * velocity[j] + d;
            g[j] = v;
            next[j] = fl_shrunk(w[j] - r.rate * (r.nesterov ? d + r.momentum * v : v), r.cut);
            nonfinite += !(fabs(next[j]) <= r.limit);
        }
    return nonfinite;
}

static void store_parameters(const fl_batches *batches, fl_steps_call *call, const double *next)
{
    const ptrdiff_t columns = call->model.columns, n = call->scores * (columns + 1);
    const double *velocity = batches->sums;
    for (ptrdiff_t s = 0; s < call->scores && call->velocity; s++, velocity += columns + 1) {
        memcpy(call->velocity + s * columns, velocity, columns * sizeof *velocity);
        call->velocity[call->scores * columns + s] = velocity[columns];
    }
    memcpy(call->coef, next, n * sizeof *next);
    for (ptrdiff_t s = 0; s < call->scores; s++, next += columns)
        if (call->model.real_bytes == 8)
            memcpy((double *)call->working + s * fl_working_stride(&call->model), next,
                   columns * sizeof *next);
        else
            for (ptrdiff_t j = 0; j < columns; j++)
                ((float *)call->working)[s * fl_working_stride(&call->model) + j] = (float)next[j];
    call->steps++;
    if (call->average && call->steps > call->average_from) {
        const double share = 1 / (double)(call->steps - call->average_from);
        for (ptrdiff_t j = 0; j < n; j++)
            call->average[j] += share * (call->coef[j] - call->average[j]);
    }
}

typedef struct {
    fl_batches batches;
    fl_steps_call *call;
    ptrdiff_t batch; /* of this round */
    double *next;    /* parameters */
    fl_total loss;
    int status;
} steps_job;

static ptrdiff_t rows_of(const fl_steps_call *call, ptrdiff_t batch)
{
    const ptrdiff_t left = call->rows - batch * call->batch;
    return left < call->batch ? left : call->batch;
}

/* A step from the sums of the batch. One that is not finite is not taken. */
static int take_step(steps_job *job, fl_steps_call *call)
{
    const ptrdiff_t columns = call->model.columns, scores = call->scores, n = rows_of(call, job->batch);
    double *sums = job->batches.sums, total = sums[job->batches.stride - 1], rate = call->rates[job->batch];
    double *velocity = call->velocity;
    for (ptrdiff_t s = 0; s < scores && !call->fit_intercept; s++)
        sums[s * (columns + 1) + columns] = 0;
    const fl_extent g = fl_measure(sums, scores * (columns + 1), 1 / (double)n);
    call->norm = g.norm;
    call->largest = g.largest > call->largest ? g.largest : call->largest;
    if (!g.finite || !(fabs(total) <= DBL_MAX)) {
        call->nonfinite = fl_count_nonfinite(sums, scores * (columns + 1), DBL_MAX) +
                          fl_count_nonfinite(&total, 1, DBL_MAX);
        return FL_DIVERGED;
    }
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    const step_rule r = {
        rate, clip, call->l2, rate * call->l1, call->momentum, call->limit, call->nesterov
    };
    step_rule of_intercept = r;
    of_intercept.rate *= call->intercept_rate;
    of_intercept.l2 = of_intercept.cut = 0;
    for (ptrdiff_t s = 0; s < scores; s++, sums += columns + 1) {
        const ptrdiff_t coef = s * columns, b = scores * columns + s;
        call->nonfinite +=
            move(r, columns, call->coef + coef, sums, velocity ? velocity + coef : NULL, job->next + coef);
        call->nonfinite += move(of_intercept, 1, call->coef + b, sums + columns,
                                velocity ? velocity + b : NULL, job->next + b);
    }
    if (call->nonfinite)
        return FL_DIVERGED;
    job->loss = fl_total_add(job->loss, (fl_total){ total, 0 });
    store_parameters(&job->batches, call, job->next);
    return 0;
}

/* ---- an epoch ---------------------------------------------------------------------------------- */

static int run_task(void *data, ptrdiff_t task, int worker)
{
    steps_job *job = data;
    return fl_run_batch_task(&job->batches, job->batch * job->call->batch, rows_of(job->call, job->batch),
                             task, worker);
}

static ptrdiff_t next_batch(void *data, int status)
{
    steps_job *job = data;
    job->status = status;
    if (job->batch >= 0 && !status)
        job->status = take_step(job, job->call);
    const int over = ++job->batch * job->call->batch >= job->call->rows;
    return job->status || over ? 0 : fl_batch_tasks(&job->batches, rows_of(job->call, job->batch));
}

/* Returns a status. */
static int run_batches(steps_job *job, fl_steps_call *call, ptrdiff_t (*next)(void *job, int status))
{
    const fl_linear_call *model = &call->model;
    const int is_long =
        !model->starts && call->rows * model->columns * model->real_bytes * call->scores >= LONG;
    *job = (steps_job){ .call = call, .batch = -1 };
    if (!fl_open_batches(&job->batches, call, is_long ? fl_num_threads() : 1))
        return FL_NO_MEMORY;
    const fl_rounds rounds = { job, job->batches.arena.workers, run_task, next };
    job->next = job->batches.spare;
    call->largest = call->norm = 0;
    call->nonfinite = 0;
    fl_run_rounds(&rounds);
    return job->status;
}

int fl_run_steps(fl_steps_call *call)
{
    steps_job job;
    if (fl_steps_are_lazy(call))
        return fl_run_lazy_steps(call);
    const int status = run_batches(&job, call, next_batch);
    if (status != FL_NO_MEMORY) {
        call->loss = fl_total_rounded(job.loss);
        fl_close_batches(&job.batches);
    }
    return status;
}

/* ---- a gradient alone -------------------------------------------------------------------------- */

static ptrdiff_t only_batch(void *data, int status)
{
    steps_job *job = data;
    job->status = status;
    return ++job->batch ? 0 : fl_batch_tasks(&job->batches, job->call->rows);
}

int fl_run_gradient(fl_steps_call *call, double *sums)
{
    steps_job job;
    const int status = run_batches(&job, call, only_batch);
    if (status == FL_NO_MEMORY)
        return status;
    memcpy(sums, job.batches.sums, call->scores * (call->model.columns + 1) * sizeof *sums);
    call->loss = job.batches.sums[job.batches.stride - 1];
    fl_close_batches(&job.batches);
    return status;
}
