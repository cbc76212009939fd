/* Stochastic gradient descent on a linear model: mini-batches one after the other. Parameters and their steps
 * are doubles, whatever the rows are. */
#include "batch.h"
#include "fastloss.h"
#include "rounds.h"
#include "team.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUM_LANES = 8,  /* of the norm: the same order of additions for every compiler */
    LONG = 1 << 23, /* bytes of an epoch's rows that are worth a team */
};

/* ---- one step ---------------------------------------------------------------------------------- */

typedef struct {
    double norm, largest;
    int finite;
} extent;

/* Of n numbers, which it multiplies by a factor; behind them there are zeros up to whole groups. */
static extent measure(double *x, ptrdiff_t n, double factor)
{
    double squares[SUM_LANES] = { 0 }, zeros[SUM_LANES] = { 0 }, largest[SUM_LANES] = { 0 }, square = 0,
           zero = 0, all = 0;
    for (ptrdiff_t j = 0; j < n; j += SUM_LANES)
#pragma omp simd
        for (int l = 0; l < SUM_LANES; l++) {
            const double g = x[j + l] * factor, size = fabs(g);
            x[j + l] = g;
            squares[l] += g * g;
            zeros[l] += g * 0;
            largest[l] = size > largest[l] ? size : largest[l];
        }
    for (int l = 0; l < SUM_LANES; l++) {
        square += squares[l];
        zero += zeros[l];
        all = largest[l] > all ? largest[l] : all;
    }
    return (extent){ sqrt(square), all, zero == 0 };
}

/* What moves the parameters. By value: the compiler need not fear that writing them changes it. */
typedef struct {
    double rate, clip, l2, cut, momentum, limit;
    int nesterov;
} rule;

/* Within `cut` of 0 a coefficient becomes 0. */
static inline double shrunk(double w, double cut) { return w - (w > cut ? cut : w < -cut ? -cut : w); }

static ptrdiff_t count_odd(const double *x, ptrdiff_t n)
{
    ptrdiff_t odd = 0;
    for (ptrdiff_t j = 0; j < n; j++)
        odd += !(fabs(x[j]) <= DBL_MAX);
    return odd;
}

/* Returns how many of the next parameters are beyond the limit. */
static ptrdiff_t move(rule r, ptrdiff_t n, const double *w, const double *g, double *velocity, double *next)
{
    ptrdiff_t odd = 0;
    if (!velocity)
#pragma omp simd reduction(+ : odd)
        for (ptrdiff_t j = 0; j < n; j++) {
            next[j] = shrunk(w[j] - r.rate * (r.clip * g[j] + r.l2 * w[j]), r.cut);
            odd += !(fabs(next[j]) <= r.limit);
        }
    else
#pragma omp simd reduction(+ : odd)
        for (ptrdiff_t j = 0; j < n; j++) {
            const double d = r.clip * g[j] + r.l2 * w[j], v = r.momentum * velocity[j] + d;
            velocity[j] = v;
            next[j] = shrunk(w[j] - r.rate * (r.nesterov ? d + r.momentum * v : v), r.cut);
            odd += !(fabs(next[j]) <= r.limit);
        }
    return odd;
}

static void keep(const fl_batches *batches, fl_steps_call *call, const double *next)
{
    const ptrdiff_t columns = call->model.columns, n = call->scores * (columns + 1);
    memcpy(call->coef, next, n * sizeof *next);
    for (ptrdiff_t s = 0; s < call->scores; s++, next += columns)
        if (call->model.real_bytes == 8)
            memcpy((double *)call->working + s * batches->apart, next, columns * sizeof *next);
        else
            for (ptrdiff_t j = 0; j < columns; j++)
                ((float *)call->working)[s * batches->apart + j] = (float)next[j];
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
    ptrdiff_t batch; /* that the round is about */
    double *next;    /* parameters */
    fl_total loss;
    int status;
} steps_job;

static ptrdiff_t rows_of(const fl_steps_call *call, ptrdiff_t batch)
{
    const ptrdiff_t left = call->rows - batch * call->batch;
    return left < call->batch ? left : call->batch;
}

/* From the sums of the batch's tasks. A step that is not finite is not taken. */
static int take_step(steps_job *job, fl_steps_call *call)
{
    const ptrdiff_t columns = call->model.columns, scores = call->scores, n = rows_of(call, job->batch);
    const double total = fl_add_up_batch(&job->batches, n), rate = call->rates[job->batch];
    double *sums = job->batches.sums, *velocity = call->velocity;
    for (ptrdiff_t s = 0; s < scores && !call->fit_intercept; s++)
        sums[s * (columns + 1) + columns] = 0;
    const extent g = measure(sums, scores * (columns + 1), 1 / (double)n);
    call->norm = g.norm;
    call->largest = g.largest > call->largest ? g.largest : call->largest;
    if (!g.finite || !(fabs(total) <= DBL_MAX)) {
        call->odd = count_odd(sums, scores * (columns + 1)) + count_odd(&total, 1);
        return FL_DIVERGED;
    }
    const double clip = g.norm > call->clip_norm ? call->clip_norm / g.norm : 1;
    const rule of_intercept = { rate, clip, 0, 0, call->momentum, call->limit, call->nesterov };
    rule r = of_intercept;
    r.l2 = call->l2;
    r.cut = rate * call->l1;
    for (ptrdiff_t s = 0; s < scores; s++, sums += columns + 1) {
        const ptrdiff_t coef = s * columns, b = scores * columns + s;
        call->odd +=
            move(r, columns, call->coef + coef, sums, velocity ? velocity + coef : NULL, job->next + coef);
        call->odd += move(of_intercept, 1, call->coef + b, sums + columns, velocity ? velocity + b : NULL,
                          job->next + b);
    }
    if (call->odd)
        return FL_DIVERGED;
    job->loss = fl_total_add(job->loss, (fl_total){ total, 0 });
    keep(&job->batches, call, job->next);
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

int fl_run_steps(fl_steps_call *call)
{
    steps_job job = { .call = call, .batch = -1 };
    const fl_linear_call *model = &call->model;
    const int is_long =
        !model->starts && call->rows * model->columns * model->real_bytes * call->scores >= LONG;
    if (!fl_open_batches(&job.batches, call, is_long ? fl_num_threads() : 1))
        return FL_NO_MEMORY;
    const fl_rounds rounds = { &job, job.batches.workers, run_task, next_batch };
    job.next = job.batches.spare;
    call->largest = call->norm = 0;
    call->odd = 0;
    fl_run_rounds(&rounds);
    call->loss = fl_total_rounded(job.loss);
    free(job.batches.memory);
    return job.status;
}
