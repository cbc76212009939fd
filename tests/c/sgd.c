/* Steps on batches that a team shares: the bits of one thread, also where several callers want the team. */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 9001, COLUMNS = 150, BATCH = 250, BATCHES = (ROWS + BATCH - 1) / BATCH, CALLERS = 4 };

static double X[ROWS * COLUMNS], y[ROWS], rates[BATCHES];
static int64_t order[ROWS];
static const double constants[FL_CONSTANTS] = { 0 };

typedef struct {
    double coef[COLUMNS + 1], working[COLUMNS + FL_LANES], loss;
} fit;

static void *run(void *to)
{
    fit *f = to;
    fl_steps_call call = { .scores = 1, .order = order, .rows = ROWS, .batch = BATCH, .rates = rates };
    *f = (fit){ .loss = 0 };
    call.model =
        (fl_linear_call){ .kernel = fl_kernels(8)->pointwise->loss[FL_LOSS_logistic][FL_PASS_sum_grad],
                          .real_bytes = 8,
                          .constants = constants,
                          .rows = ROWS,
                          .columns = COLUMNS,
                          .X = { (char *)X, NULL, FL_F64 },
                          .y = { (char *)y, NULL, FL_F64 } };
    call.clip_norm = call.limit = 1e100;
    call.intercept_rate = 1;
    call.l2 = 0.01;
    call.fit_intercept = 1;
    call.coef = f->coef;
    call.working = f->working;
    if (fl_run_steps(&call))
        abort();
    f->loss = call.loss;
    return NULL;
}

int main(void)
{
    static fit wanted, got[CALLERS];
    uint32_t state = 1;
    int failed = fl_select_level(NULL) != NULL;
    for (ptrdiff_t i = 0; i < ROWS * COLUMNS; i++)
        X[i] = next_number(&state) * 0x1p-23 - 1;
    for (ptrdiff_t i = 0; i < ROWS; i++) {
        y[i] = X[i * COLUMNS] > 0;
        order[i] = i / 60 % 2 ? i : ROWS - 1 - i; /* stretches, and single rows */
    }
    for (int i = 0; i < BATCHES; i++)
        rates[i] = 0.1;
    fl_set_num_threads(1);
    run(&wanted);
    for (int threads = 2; threads <= 5; threads++) {
        pthread_t callers[CALLERS];
        fl_set_num_threads(threads);
        for (int i = 0; i < CALLERS; i++)
            if (pthread_create(&callers[i], NULL, run, &got[i]))
                abort();
        for (int i = 0; i < CALLERS; i++) {
            pthread_join(callers[i], NULL);
            failed |= memcmp(&got[i], &wanted, sizeof wanted) != 0;
        }
    }
    if (failed)
        printf("other bits on several threads\n");
    return failed;
}
