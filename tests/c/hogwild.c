/* SGD on sparse rows by several threads at once, without locks: it finds the coefficients that all labels
 * were made of, and ThreadSanitizer has nothing to say. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 4096, COLUMNS = 512, USED = 4, EPOCHS = 200 };

static double data[ROWS * USED], labels[ROWS], rates[ROWS], wanted[COLUMNS];
static const double constants[FL_CONSTANTS] = { 0 };
static int32_t starts[ROWS + 1], indices[ROWS * USED];

static void make_rows(void)
{
    uint32_t state = 1;
    for (int j = 0; j < COLUMNS; j++)
        wanted[j] = (int)(next_number(&state) % 17) - 8;
    for (int i = 0; i < ROWS; i++) {
        rates[i] = 0.2;
        starts[i + 1] = (i + 1) * USED;
        for (int k = i * USED; k < (i + 1) * USED; k++) {
            indices[k] = (int32_t)(next_number(&state) % COLUMNS);
            data[k] = next_number(&state) % 2 ? 1 : -1;
            labels[i] += data[k] * wanted[indices[k]];
        }
    }
}

int main(void)
{
    static double coef[COLUMNS + 1], working[COLUMNS + FL_LANES];
    double furthest = 0;
    fl_select_level(NULL);
    fl_set_grain(0);
    fl_set_num_threads(4);
    make_rows();
    fl_steps_call call = {
        .model = { .kernel = fl_kernels(8)->pointwise->loss[FL_LOSS_half_squared_error][FL_PASS_sum_grad],
                   .real_bytes = 8,
                   .constants = constants,
                   .rows = ROWS,
                   .columns = COLUMNS,
                   .X = { (char *)data, NULL, FL_F64 },
                   .y = { (char *)labels, NULL, FL_F64 },
                   .starts = starts,
                   .indices = indices,
                   .index_bytes = 4,
                   .stored = ROWS * USED },
        .rows = ROWS,
        .batch = 1,
        .rates = rates,
        .clip_norm = INFINITY,
        .intercept_rate = 1,
        .scores = 1,
        .fit_intercept = 1,
        .hogwild = 1,
        .limit = 1e300,
        .coef = coef,
        .working = working,
    };
    int status = 0;
    for (int epoch = 0; epoch < EPOCHS && !status; epoch++)
        status = fl_run_steps(&call);
    for (int j = 0; j < COLUMNS; j++)
        furthest = fmax(furthest, fabs(coef[j] - wanted[j]));
    printf("status %d, %td steps, off by at most %g\n", status, call.steps, furthest);
    return status || call.steps != (ptrdiff_t)ROWS * EPOCHS || !(furthest < 1e-6);
}
