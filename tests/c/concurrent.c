/* Threads call fl_run and fl_run_rows at once, on shared inputs of every kind, while the number of threads
 * changes: each gets the bits of a call alone. The process also forks, after parallel calls and during them.
 */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 12, SMALL = 1003, LARGE = 40007, WATCHDOG = 120 };
enum { INPUTS = 3, OUTPUTS = 2 }; /* labels, scores and weights; what a pass writes at most */

typedef enum { DIRECT, STRIDED, REVERSED_F16, SWAPPED_I32, N_LAYOUTS } layout;
typedef struct {
    fl_call call; /* without outputs; in calls on rows, the inputs are labels, scores and weights */
    fl_row_kernel *rows;
    ptrdiff_t classes; /* 0 where the call is not on rows */
    int outputs;
    ptrdiff_t size, strides[INPUTS];
    char *out[OUTPUTS]; /* the results of a call on one thread */
    double sum;
} job;

static const struct {
    fl_loss loss;
    fl_pass pass;
} kinds[] = {
    { FL_LOSS_squared_error, FL_PASS_sum },
    { FL_LOSS_huber, FL_PASS_sum_grad },
    { FL_LOSS_logistic, FL_PASS_grad_hess },
    { FL_LOSS_log_cosh, FL_PASS_value_grad },
};
static const struct {
    fl_row_loss loss;
    ptrdiff_t classes;
} row_kinds[] = {
    { FL_ROW_LOSS_softmax_cross_entropy, 7 },
    { FL_ROW_LOSS_softmax_focal, 130 },
    { FL_ROW_LOSS_multi_margin, 3 },
};
enum {
    KINDS = sizeof kinds / sizeof *kinds,
    ROW_KINDS = sizeof row_kinds / sizeof *row_kinds,
    JOBS = (KINDS + ROW_KINDS) * N_LAYOUTS * 2 * 2,
};

static job jobs[JOBS];
static const double constants[FL_CONSTANTS] = { 1 };
static int failed; /* of this process; written before its threads start or after they have ended */

static void *room_for(ptrdiff_t bytes)
{
    void *room = malloc((size_t)bytes);
    if (!room)
        abort();
    return room;
}

/* ---- jobs -------------------------------------------------------------------------------------- */

/* Elements that float16, int32 and real all hold: 0 or 1 for labels and weights, -8 to 7 for scores. */
static void fill(fl_array *a, int input, ptrdiff_t n, ptrdiff_t *stride, layout how, int real_bytes)
{
    const int item = how == REVERSED_F16 ? 2 : how == SWAPPED_I32 ? 4 : real_bytes;
    const int apart = how == STRIDED ? 3 : how == REVERSED_F16 ? -1 : 1;
    uint32_t state = (uint32_t)input + 1;
    char *room = room_for(3 * n * item);

    *stride = apart * item;
    *a = (fl_array){ .data = how == REVERSED_F16 ? room + (n - 1) * item : room,
                     .strides = how == DIRECT ? NULL : stride,
                     .type = how == REVERSED_F16  ? FL_F16
                             : how == SWAPPED_I32 ? FL_I32 | FL_SWAPPED
                             : real_bytes == 8    ? FL_F64
                                                  : FL_F32 };
    for (ptrdiff_t k = 0; k < n; k++) {
        static const uint16_t halves[] = {
            0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700, 0x4800
        };
        const uint32_t number = next_number(&state);
        const int x = input == 1 ? (int)(number >> 20) - 8 : (int)(number >> 23);
        const uint16_t half = (uint16_t)(halves[abs(x)] | (x < 0) << 15);
        const uint32_t swapped = __builtin_bswap32((uint32_t)x);
        char *to = a->data + k * *stride;
        if (how == REVERSED_F16)
            memcpy(to, &half, sizeof half);
        else if (how == SWAPPED_I32)
            memcpy(to, &swapped, sizeof swapped);
        else
            store_real(to, real_bytes, x);
    }
}

static fl_array *input_of(job *j, int i) { return i < 2 ? &j->call.in[i] : &j->call.weight; }

static int run_rows(const job *j, char *const *out, double *sum)
{
    const int real = j->call.real_bytes == 8 ? FL_F64 : FL_F32;
    const ptrdiff_t shape[] = { j->size / j->classes, j->classes };
    const ptrdiff_t strides[] = { j->classes * j->strides[1], j->strides[1] };
    fl_row_call call = { .kernel = j->rows,
                         .real_bytes = j->call.real_bytes,
                         .shape = { 2, shape },
                         .rows = shape[0],
                         .classes = j->classes,
                         .labels = j->call.in[0],
                         .scores = j->call.in[1],
                         .weight = j->call.weight,
                         .grad = { out[0], NULL, real },
                         .hess = { out[1], NULL, real },
                         .constants = constants,
                         .scale = 1 };
    ptrdiff_t correct;
    if (call.scores.strides)
        call.scores.strides = strides;
    return fl_run_rows(&call, sum, &correct);
}

static int run(const job *j, char *const *out, double *sum)
{
    fl_call call = j->call;
    if (j->classes)
        return run_rows(j, out, sum);
    call.outputs = j->outputs;
    for (int i = 0; i < j->outputs; i++)
        call.out[i] = (fl_array){ .data = out[i], .type = call.real_bytes == 8 ? FL_F64 : FL_F32 };
    return fl_run(&call, sum);
}

static void make_jobs(void)
{
    job *j = jobs;
    fl_set_num_threads(1);
    for (int kind = 0; kind < KINDS + ROW_KINDS; kind++)
        for (layout how = 0; how < N_LAYOUTS; how++)
            for (int real_bytes = 4; real_bytes <= 8; real_bytes += 4)
                for (int large = 0; large < 2; large++, j++) {
                    const fl_table *kernels = fl_kernels(real_bytes);
                    j->size = large ? LARGE : SMALL;
                    if (kind < KINDS) {
                        j->outputs = arrays_of(kinds[kind].pass);
                    } else {
                        j->classes = row_kinds[kind - KINDS].classes;
                        j->rows = kernels->rows->loss[row_kinds[kind - KINDS].loss];
                        j->size = j->size / j->classes * j->classes;
                    }
                    j->call =
                        (fl_call){ .kernel =
                                       j->rows ? NULL
                                               : kernels->pointwise->loss[kinds[kind].loss][kinds[kind].pass],
                                   .real_bytes = real_bytes,
                                   .shape = { 1, &j->size },
                                   .size = j->size,
                                   .inputs = 2,
                                   .constants = constants,
                                   .scale = 1 };
                    for (int i = 0; i < INPUTS - kind % 2; i++) /* every second kind without weights */
                        fill(input_of(j, i), i, j->size, &j->strides[i], how, real_bytes);
                    for (int i = 0; i < OUTPUTS; i++)
                        j->out[i] = calloc((size_t)j->size, (size_t)real_bytes);
                    failed |= run(j, j->out, &j->sum);
                }
}

static void free_jobs(void)
{
    for (job *j = jobs; j < jobs + JOBS; j++) {
        for (int i = 0; i < INPUTS; i++)
            if (input_of(j, i)->data)
                free(input_of(j, i)->data + (j->strides[i] < 0 ? (j->size - 1) * j->strides[i] : 0));
        for (int i = 0; i < OUTPUTS; i++)
            free(j->out[i]);
    }
}

/* Whether a job, run again, gives the bits of the first time. */
static int holds(const job *j)
{
    const size_t bytes = (size_t)(j->size * j->call.real_bytes);
    char *out[OUTPUTS];
    double sum = 0;
    for (int i = 0; i < OUTPUTS; i++)
        out[i] = memset(room_for((ptrdiff_t)bytes), 0, bytes);
    int same = run(j, out, &sum) == 0 && memcmp(&sum, &j->sum, sizeof sum) == 0;
    for (int i = 0; i < OUTPUTS; i++) {
        same &= memcmp(out[i], j->out[i], bytes) == 0;
        free(out[i]);
    }
    if (!same)
        printf("job %d: other bits\n", (int)(j - jobs));
    return same;
}

/* ---- threads and forks ------------------------------------------------------------------------- */

static void *caller(void *argument)
{
    const int me = *(const int *)argument;
    int same = 1;
    for (int round = 0; round < ROUNDS; round++) {
        fl_set_num_threads(1 + (me + round) % 5);
        fl_set_thread_limit(round % 4 == 3 ? 2 : 0);
        same &= holds(&jobs[(me * 11 + round * 7) % JOBS]);
    }
    return same ? NULL : argument;
}

static void start_callers(pthread_t *threads, int *numbers)
{
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, caller, &numbers[i]))
            abort();
    }
}

static void join_callers(const pthread_t *threads)
{
    for (int i = 0; i < THREADS; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        failed |= bad != NULL;
    }
}

/* A child that computes, and is killed if it waits for threads that the fork has not taken along. */
static void check_fork(const char *when)
{
    int status = -1;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(WATCHDOG);
        _exit(!(holds(&jobs[JOBS - 1]) && holds(&jobs[1])));
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        printf("a child forked %s ended with status %d\n", when, status);
        failed = 1;
    }
}

int main(void)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];

    alarm(10 * WATCHDOG);
    fl_select_level(NULL);
    make_jobs();
    fl_set_grain(0); /* the jobs are small, and would be over before they woke a team */
    fl_set_num_threads(4);
    check_fork("before any parallel call");
    for (int i = 0; i < JOBS; i++)
        failed |= !holds(&jobs[i]);
    start_callers(threads, numbers);
    check_fork("amid the calls of others");
    join_callers(threads);
    check_fork("after parallel calls");
    fl_set_num_threads(4);
    failed |= !holds(&jobs[JOBS - 1]); /* the parent's team is still there */
    free_jobs();
    printf("level %s, %s: %s\n", fl_level(), fl_openmp(), failed ? "FAILED" : "the same bits everywhere");
    return failed;
}
