/* The recorded bits of tests/vectors/rows.txt through fl_run_rows: rows side by side on one thread, and
 * classes side by side, in reverse, on four. tests/support/recorded_rows.py describes the file and makes the
 * same inputs. */
#include "support.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 67, MAX_CLASSES = 300, SKIPPED = 77 };

typedef struct {
    char name[64], params[128], kind[8];
    int loss, soft, real_bytes, shares;
    ptrdiff_t classes;
    uint64_t hash;
    double constants[FL_CONSTANTS];
} recorded;

typedef struct {
    double y[ROWS * MAX_CLASSES], p[ROWS * MAX_CLASSES], w[ROWS];
    int64_t label[ROWS];
} numbers;

static int has_fma(void) { return strcmp(fl_level(), "v2") != 0; }

/* ---- inputs ------------------------------------------------------------------------------------ */

static int read_case(FILE *file, recorded *c)
{
    char dtype[4];
    double *k = c->constants;
    const int found = fscanf(file, "%63s %127s %3s %td %7s %" SCNx64 " %la %la %la %la", c->name, c->params,
                             dtype, &c->classes, c->kind, &c->hash, k, k + 1, k + 2, k + 3);
    if (found == EOF)
        return 0;
    for (c->loss = 0; c->loss < FL_N_ROW_LOSSES; c->loss++)
        if (strcmp(fl_row_loss_name(c->loss), c->name) == 0)
            break;
    if (found != 10 || c->loss == FL_N_ROW_LOSSES || c->classes > MAX_CLASSES) {
        printf("%s %s: not understood\n", c->name, c->params);
        exit(1);
    }
    c->soft = strcmp(c->kind, "soft") == 0;
    c->real_bytes = strcmp(dtype, "f64") == 0 ? 8 : 4;
    c->shares = strstr(fl_row_loss_requirement(c->loss), "add up to 1") != NULL;
    return 1;
}

/* Numbers of 24 bits, which become rows that add up to nearly 1. */
static void share_out(double *row, ptrdiff_t classes)
{
    int64_t sum = 0;
    for (ptrdiff_t k = 0; k < classes; k++)
        sum += (int64_t)row[k];
    for (ptrdiff_t k = 0; k < classes; k++)
        row[k] = (double)(((int64_t)row[k] << 20) / sum) * 0x1p-20;
}

static void make_inputs(const recorded *c, numbers *in)
{
    uint32_t state = 1;
    for (ptrdiff_t i = 0; i < ROWS * c->classes; i++) {
        in->y[i] = next_number(&state);
        in->p[i] = next_number(&state);
        const uint32_t weight = next_number(&state) >> 20;
        if (i < ROWS)
            in->w[i] = weight * 0.125;
    }
    for (ptrdiff_t row = 0; row < ROWS; row++) {
        double *y = in->y + row * c->classes, *p = in->p + row * c->classes;
        in->label[row] = (int64_t)y[0] % c->classes;
        if (c->shares) {
            share_out(y, c->classes);
            share_out(p, c->classes);
            continue;
        }
        for (ptrdiff_t k = 0; k < c->classes; k++) {
            y[k] *= 0x1p-24;
            p[k] = (p[k] - 0x1p23) * 0x1p-20;
            p[k] = row % 7 == 0 ? p[k] * 16 : row % 7 == 1 ? floor(p[k]) : p[k];
        }
    }
}

/* ---- calls ------------------------------------------------------------------------------------- */

static void hash(uint64_t *h, double x, int real_bytes)
{
    const float narrow = x != x ? NAN : x == 0 ? 0 : (float)x;
    const double wide = x != x ? NAN : x == 0 ? 0 : x;
    uint32_t low;
    uint64_t word;
    memcpy(&low, &narrow, sizeof low);
    memcpy(&word, &wide, sizeof word);
    *h = (*h + (real_bytes == 8 ? word : low)) * UINT64_C(6364136223846793005);
}

static char *cell(const fl_array *a, ptrdiff_t row, ptrdiff_t k, ptrdiff_t classes)
{
    const ptrdiff_t size = a->type == FL_F32 ? 4 : 8;
    return a->data + (a->strides ? row * a->strides[0] + k * a->strides[1] : (row * classes + k) * size);
}

static void hash_array(uint64_t *h, const fl_array *a, ptrdiff_t classes, int real_bytes)
{
    for (ptrdiff_t row = 0; row < ROWS; row++)
        for (ptrdiff_t k = 0; k < classes; k++)
            hash(h, load_real(cell(a, row, k, classes), real_bytes), real_bytes);
}

static int run(const fl_row_call *call, double *sum)
{
    ptrdiff_t correct;
    return fl_run_rows(call, sum, &correct);
}

/* `turned`: from the last row to the first, with the rows of a class side by side. */
static uint64_t hash_of(const recorded *c, const numbers *in, int turned)
{
    static char rooms[4][ROWS * MAX_CLASSES * sizeof(double)];
    char weight[ROWS * sizeof(double)], value[ROWS * sizeof(double)], lse[ROWS * sizeof(double)];
    const ptrdiff_t size = c->real_bytes, length[] = { ROWS, c->classes };
    const ptrdiff_t strides[] = { -size, ROWS * size }, label_stride = sizeof(int64_t);
    const int type = size == 8 ? FL_F64 : FL_F32;
    fl_array matrix[4];
    for (int i = 0; i < 4; i++)
        matrix[i] = (fl_array){ rooms[i] + (turned ? (ROWS - 1) * size : 0), turned ? strides : NULL, type };
    for (ptrdiff_t row = 0; row < ROWS; row++) {
        store_real(weight + row * size, c->real_bytes, in->w[row]);
        for (ptrdiff_t k = 0; k < c->classes; k++) {
            store_real(cell(&matrix[0], row, k, c->classes), c->real_bytes, in->p[row * c->classes + k]);
            store_real(cell(&matrix[1], row, k, c->classes), c->real_bytes, in->y[row * c->classes + k]);
        }
    }

    const fl_row_table *kernels = fl_kernels(c->real_bytes)->rows;
    double constants[FL_CONSTANTS];
    const int other = c->loss == FL_ROW_LOSS_softmax_cross_entropy &&
                      (c->soft || c->constants[0] != 0 || c->constants[1] != 0);
    fl_row_call call = { .kernel = other ? kernels->label_cross_entropy : kernels->loss[c->loss],
                         .real_bytes = c->real_bytes,
                         .shape = { 2, length },
                         .rows = ROWS,
                         .classes = c->classes,
                         .scores = matrix[0],
                         .given = c->soft,
                         .scale = 1 };
    call.labels =
        c->soft ? matrix[1] : (fl_array){ (char *)in->label, turned ? &label_stride : NULL, FL_I64 };
    for (int i = 0; i < FL_CONSTANTS; i++)
        constants[i] = fl_constant(c->constants[i], c->real_bytes);
    call.constants = constants;

    uint64_t h = 0;
    double sum;
    fl_row_call part = call;
    part.value = (fl_array){ value, NULL, type };
    part.lse = (fl_array){ lse, NULL, type };
    int status = run(&part, &sum);
    hash_array(&h, &part.value, 1, c->real_bytes);
    if (fl_row_loss_is_softmax(c->loss))
        hash_array(&h, &part.lse, 1, c->real_bytes);
    part = call;
    part.weight = (fl_array){ weight, NULL, type };
    part.grad = matrix[2];
    part.hess = matrix[3];
    status |= run(&part, &sum);
    hash_array(&h, &part.grad, c->classes, c->real_bytes);
    hash_array(&h, &part.hess, c->classes, c->real_bytes);
    part.grad.data = part.hess.data = NULL;
    status |= run(&part, &sum);
    hash(&h, sum, 8);
    call.grad = matrix[0]; /* in place */
    call.scale = 1.0 / ROWS;
    status |= run(&call, &sum);
    hash_array(&h, &call.grad, c->classes, c->real_bytes);
    return status ? 0 : h;
}

int main(int count, char **paths)
{
    static numbers in;
    int compared = 0, failures = 0, cases = 0;
    FILE *file = count == 2 ? fopen(paths[1], "r") : NULL;
    recorded c;

    if (!file) {
        printf("give the path of rows.txt\n");
        return 1;
    }
    fl_set_grain(0);
    while (read_case(file, &c)) {
        make_inputs(&c, &in);
        for (int i = 0; fl_supported_level(i); i++) {
            fl_select_level(fl_supported_level(i));
            for (int turned = 0; turned < 2; turned++) {
                fl_set_num_threads(1 + 3 * turned);
                const uint64_t h = hash_of(&c, &in, turned);
                compared += has_fma();
                if (has_fma() && h != c.hash && failures++ < 20)
                    printf("%s %s f%d, %td classes, %s, level %s%s: got %016" PRIx64 "\n", c.name, c.params,
                           c.real_bytes * 8, c.classes, c.kind, fl_level(), turned ? ", turned" : "", h);
            }
        }
        cases++;
    }
    fclose(file);
    printf("%d cases, %d differences\n", cases, failures);
    return failures || !cases ? 1 : compared ? 0 : SKIPPED;
}
