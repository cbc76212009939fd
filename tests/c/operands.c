/* A kernel with as many inputs and outputs as there can be, weights and a context, through fl_run: on arrays
 * of every layout, of lengths with and without whole groups of lanes, also where there is no memory to pack
 * them in. Its outputs are sums of products of small integers, which are exact. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST = 2 * FL_BLOCK + 21, STRIDE = 3 };

/* Linked with --wrap=malloc. */
void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
static int no_memory;
void *__wrap_malloc(size_t bytes) { return no_memory ? NULL : __real_malloc(bytes); }

static const double factors[FL_CONSTANTS] = { 2, 3, 5, 7 };
static const double shift = 11;

/* Output o, of element i. */
static double expected(const double *in, int o, double weight)
{
    double x = shift;
    for (int k = 0; k < FL_MAX_INPUTS; k++)
        x += in[k] * factors[(k + o) % FL_CONSTANTS];
    return weight * x;
}

static int kernel(const fl_block *block)
{
    const double *weight = block->weight, *context = block->context;
    double in[FL_MAX_INPUTS];
    int bad = block->inputs != FL_MAX_INPUTS || block->outputs != FL_MAX_OUTPUTS || block->n % FL_LANES ||
              *context != shift || block->constants != factors || block->scale != 0.5;
    for (ptrdiff_t i = 0; i < block->n; i++) {
        const double w = weight[i / FL_LANES * block->weight_step + i % FL_LANES];
        for (int k = 0; k < FL_MAX_INPUTS; k++)
            in[k] = ((const double *)block->in[k])[i];
        for (int o = 0; o < FL_MAX_OUTPUTS; o++)
            ((double *)block->out[o])[i] = expected(in, o, w);
        *block->sum += w * in[0];
    }
    return bad;
}

static double room[FL_MAX_INPUTS + FL_MAX_OUTPUTS + 1][MOST * STRIDE];

static int check(ptrdiff_t n, int strided, int weighted)
{
    const ptrdiff_t stride = STRIDE * sizeof(double), apart = strided ? STRIDE : 1;
    fl_call call = { .kernel = kernel,
                     .real_bytes = 8,
                     .shape = { 1, &n },
                     .size = n,
                     .inputs = FL_MAX_INPUTS,
                     .outputs = FL_MAX_OUTPUTS,
                     .constants = factors,
                     .context = &shift,
                     .scale = 0.5 };
    uint32_t state = 1;
    double wanted = 0, sum;
    int failures = 0;
    for (int i = 0; i <= FL_MAX_INPUTS + FL_MAX_OUTPUTS; i++) {
        fl_array *a = i < FL_MAX_INPUTS                    ? &call.in[i]
                      : i < FL_MAX_INPUTS + FL_MAX_OUTPUTS ? &call.out[i - FL_MAX_INPUTS]
                                                           : &call.weight;
        *a = (fl_array){ (char *)room[i], strided ? &stride : NULL, FL_F64 };
        for (ptrdiff_t k = 0; k < n; k++)
            room[i][k * apart] = next_number(&state) >> 16;
    }
    if (!weighted)
        call.weight.data = NULL;
    if (fl_run(&call, &sum))
        failures++;
    for (ptrdiff_t k = 0; k < n; k++) {
        const double w = weighted ? room[FL_MAX_INPUTS + FL_MAX_OUTPUTS][k * apart] : 1;
        double in[FL_MAX_INPUTS];
        for (int i = 0; i < FL_MAX_INPUTS; i++)
            in[i] = room[i][k * apart];
        for (int o = 0; o < FL_MAX_OUTPUTS; o++)
            failures += room[FL_MAX_INPUTS + o][k * apart] != expected(in, o, w);
        wanted += w * in[0];
    }
    failures += sum != wanted;
    if (failures)
        printf("%td elements, %s, %s: %d failures\n", n, strided ? "strided" : "contiguous",
               weighted ? "weighted" : "not weighted", failures);
    return failures;
}

int main(void)
{
    static const ptrdiff_t lengths[] = { 1, 15, 16, 17, 100, FL_BLOCK, MOST };
    int failures = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int kind = 0; kind < 8; kind++) {
            no_memory = kind >> 2;
            failures += check(lengths[i], kind & 1, kind >> 1 & 1);
            no_memory = 0;
        }
    printf("%d failures\n", failures);
    return failures != 0;
}
