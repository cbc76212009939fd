/* The recorded bits of tests/vectors through fl_run: every pass, contiguous, strided and element by element;
 * and sums over many elements, whose order must hold. tests/support/recorded.py describes the files. */
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const pass_names[] = {
#define PASS(table, name, outputs) #name,
    FL_PASSES(PASS, names)
#undef PASS
};

enum { MAX_ROWS = 256, SKIPPED = 77, STRIDE = 3 };
enum { Y, P, W, VALUE, GRAD, HESS, COLUMNS, INPUTS = W + 1, MOST_OUTPUTS = 2 }; /* the weights are an input */

typedef struct {
    char name[64], params[128];
    int loss, real_bytes, rows;
    double constants[FL_CONSTANTS];
    double start[3], step[3]; /* of the labels, scores and weights of the sums */
    int shift[3];
    uint64_t sum[2]; /* without and with weights */
    char column[COLUMNS][MAX_ROWS * sizeof(double)];
} recorded;

static int failures;

/* Whether the level has FMA. Without it the bits are others: they are computed, and not compared. */
static int has_fma(void) { return strcmp(fl_level(), "v2") != 0; }

static void fail(const recorded *c, int pass, const char *what, ptrdiff_t i, double got, double wanted)
{
    if (failures++ < 20 && has_fma())
        printf("%s %s f%d, %s, level %s, %s %td: got %a, recorded %a\n", c->name, c->params,
               c->real_bytes * 8, pass_names[pass], fl_level(), what, i, got, wanted);
}

static double sum_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- reading ----------------------------------------------------------------------------------- */

static int loss_named(const char *name)
{
    for (int i = 0; i < FL_N_LOSSES; i++)
        if (strcmp(fl_loss_name(i), name) == 0)
            return i;
    return -1;
}

static int read_case(FILE *file, recorded *c)
{
    double *k = c->constants;
    if (fscanf(file, "%63s %127s %d", c->name, c->params, &c->rows) != 3)
        return 0;
    c->loss = loss_named(c->name);
    int good = c->loss >= 0 && c->rows <= MAX_ROWS;
    good = good && fscanf(file, " constants %la %la %la %la", k, k + 1, k + 2, k + 3) == 4;
    good = good && fscanf(file, " sums %la %la %d %la %la %d %" SCNx64 " %" SCNx64, &c->start[Y], &c->step[Y],
                          &c->shift[Y], &c->start[P], &c->step[P], &c->shift[P], &c->sum[0], &c->sum[1]) == 8;
    for (int row = 0; good && row < c->rows; row++)
        for (int column = 0; good && column < COLUMNS; column++) {
            uint64_t bits = 0;
            good = fscanf(file, "%" SCNx64, &bits) == 1;
            const uint32_t low = (uint32_t)bits;
            memcpy(c->column[column] + row * c->real_bytes,
                   c->real_bytes == 8 ? (const void *)&bits : (const void *)&low, (size_t)c->real_bytes);
        }
    if (!good) {
        printf("%s %s: not understood\n", c->name, c->params);
        exit(1);
    }
    c->start[W] = 0, c->step[W] = 0x1p-3, c->shift[W] = 20;
    return 1;
}

/* ---- running ----------------------------------------------------------------------------------- */

/* Labels, scores, weights, and then the outputs. */
static fl_array *array_of(fl_call *call, int i)
{
    return i < W ? &call->in[i] : i == W ? &call->weight : &call->out[i - INPUTS];
}

/* Call's constants are those of `constants`, which must outlive it. */
static fl_call call_of(const recorded *c, int pass, const ptrdiff_t *n, double *constants)
{
    fl_call call = { .kernel = fl_kernels(c->real_bytes)->pointwise->loss[c->loss][pass],
                     .real_bytes = c->real_bytes,
                     .shape = { 1, n },
                     .size = *n,
                     .scale = 1 };
    for (int i = 0; i < FL_CONSTANTS; i++)
        constants[i] = fl_constant(c->constants[i], c->real_bytes);
    call.constants = constants;
    call.inputs = 2;
    call.outputs = arrays_of(pass);
    for (int i = 0; i < INPUTS + MOST_OUTPUTS; i++)
        array_of(&call, i)->type = c->real_bytes == 8 ? FL_F64 : FL_F32;
    return call;
}

/* Rows [first, first + n), `apart` elements from one to the next in memory, in reverse if that is < 0. */
static void check_rows(recorded *c, int pass, int first, ptrdiff_t n, int apart, int weighted)
{
    static char room[INPUTS + MOST_OUTPUTS][STRIDE * MAX_ROWS * sizeof(double)];
    const ptrdiff_t size = c->real_bytes, stride = apart * size;
    const ptrdiff_t origin = apart < 0 ? (n - 1) * -stride : 0;
    double sum, constants[FL_CONSTANTS];
    fl_call call = call_of(c, pass, &n, constants);

    for (int i = 0; i < INPUTS + arrays_of(pass); i++) {
        fl_array *a = array_of(&call, i);
        a->data = i == W && !weighted ? NULL : room[i] + origin;
        a->strides = apart == 1 ? NULL : &stride;
        for (ptrdiff_t k = 0; i < INPUTS && k < n; k++)
            memcpy(room[i] + origin + k * stride, c->column[i] + (first + k) * size, (size_t)size);
    }
    const int status = fl_run(&call, &sum);
    if (status)
        fail(c, pass, "status of row", first, status, 0);
    for (int column = VALUE, out = 0; column < COLUMNS; column++)
        if (outputs_of(pass) & FL_VALUE << (column - VALUE)) {
            for (ptrdiff_t k = 0; k < n; k++) {
                const double got = load_real(call.out[out].data + k * stride, c->real_bytes);
                const double wanted = load_real(c->column[column] + (first + k) * size, c->real_bytes);
                if (!same_real(got, wanted))
                    fail(c, pass, apart == 1 ? "row" : "row, strided,", first + k, got, wanted);
            }
            out++;
        }
}

static void check_sum(recorded *c, int pass, ptrdiff_t n, int weighted, int threads)
{
    uint32_t state = 1;
    double sum, constants[FL_CONSTANTS];
    fl_call call = call_of(c, pass, &n, constants);
    char *room = malloc((size_t)(n * c->real_bytes) * 4);

    if (!room)
        abort();
    for (int i = 0; i < INPUTS; i++)
        array_of(&call, i)->data = i == W && !weighted ? NULL : room + i * n * c->real_bytes;
    if (arrays_of(pass))
        call.out[0].data = room + 3 * n * c->real_bytes;
    for (ptrdiff_t k = 0; k < n; k++)
        for (int i = 0; i < INPUTS; i++) {
            const uint32_t number = next_number(&state) >> c->shift[i];
            store_real(room + (i * n + k) * c->real_bytes, c->real_bytes, c->start[i] + c->step[i] * number);
        }
    fl_set_num_threads(threads);
    const int status = fl_run(&call, &sum);
    if (status || !same_real(sum, sum_of(c->sum[weighted])))
        fail(c, pass, weighted ? "weighted sum of" : "sum of", n, sum, sum_of(c->sum[weighted]));
    free(room);
}

static void check_case(recorded *c, ptrdiff_t long_size)
{
    for (int pass = 0; pass < FL_N_PASSES; pass++) {
        check_rows(c, pass, 0, c->rows, 1, 1);
        check_rows(c, pass, 0, c->rows, -STRIDE, 1);
        for (int row = 0; row < c->rows; row++)
            check_rows(c, pass, row, 1, 1, load_real(c->column[W] + row * c->real_bytes, c->real_bytes) != 1);
        for (int weighted = 0; has_fma() && (outputs_of(pass) & FL_SUM) && weighted < 2; weighted++)
            check_sum(c, pass, long_size, weighted, 1 + 3 * weighted);
    }
}

static int check_file(const char *path)
{
    static recorded c;
    char dtype[4];
    ptrdiff_t long_size;
    int cases = 0;
    FILE *file = fopen(path, "r");

    if (!file || fscanf(file, "%3s %td", dtype, &long_size) != 2) {
        printf("%s cannot be read\n", path);
        exit(1);
    }
    c.real_bytes = strcmp(dtype, "f64") == 0 ? 8 : 4;
    for (; read_case(file, &c); cases++)
        check_case(&c, long_size);
    fclose(file);
    return cases;
}

int main(int count, char **paths)
{
    int compared = 0;
    for (int i = 0; fl_supported_level(i); i++) {
        fl_select_level(fl_supported_level(i));
        const int before = failures;
        for (int k = 1; k < count; k++)
            printf("level %s: %d cases of %s%s\n", fl_level(), check_file(paths[k]), paths[k],
                   has_fma() ? "" : ", not compared");
        if (has_fma())
            compared = 1;
        else
            failures = before;
    }
    printf("%d differences\n", failures);
    return failures ? 1 : compared ? 0 : SKIPPED;
}
