/* Turns bytes into a call of fl_run or fl_run_rows on arrays of any dtype and layout, in memory that fits
 * exactly. The call must do what the same call on contiguous copies does, and write nothing but the elements
 * of its outputs. */
#include "support.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_DIMS = 4,
    MAX_SIZE = 4200,
    N_TYPES = FL_F64 + 1,
    INPUTS = 3,
    OUTPUTS = 2,
    ARRAYS = INPUTS + OUTPUTS
};
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const uint8_t *at, *end;
} source;

typedef struct {
    char *memory; /* NULL where the memory is another array's */
    size_t bytes;
    ptrdiff_t strides[MAX_DIMS];
    int broadcast;
} place;

#define FAIL(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), abort())

static unsigned take(source *s) { return s->at < s->end ? *s->at++ : 0; }

/* Never 0 bytes: an access to these would go unseen. */
static void *room_for(size_t bytes)
{
    void *room = malloc(bytes ? bytes : 1);
    if (!room)
        FAIL("no memory");
    return room;
}

/* ---- one element, read as simply as can be ------------------------------------------------------ */

static ptrdiff_t item_size(int type)
{
    static const char sizes[N_TYPES] = { 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8 };
    return sizes[type & ~FL_SWAPPED];
}

static double half(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double size = exponent == 31 ? (mantissa ? NAN : INFINITY)
                        : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                       : ldexp(mantissa, -24);
    return h >> 15 ? -size : size;
}

/* Reads an element as the working type, to which an integer is rounded once. */
static void read_element(const char *from, int type, void *to, int real_bytes)
{
    const size_t size = (size_t)item_size(type);
    unsigned char bytes[8];
    float f = 0;
    double d = 0;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)from[type & FL_SWAPPED ? size - 1 - i : i];
#define AS(name, ctype, value)           \
    case name: {                         \
        ctype x;                         \
        memcpy(&x, bytes, sizeof x);     \
        f = (float)(value), d = (value); \
        break;                           \
    }
    switch (type & ~FL_SWAPPED) {
        AS(FL_BOOL, uint8_t, x != 0)
        AS(FL_I8, int8_t, x)
        AS(FL_I16, int16_t, x)
        AS(FL_I32, int32_t, x)
        AS(FL_I64, int64_t, x)
        AS(FL_U8, uint8_t, x)
        AS(FL_U16, uint16_t, x)
        AS(FL_U32, uint32_t, x)
        AS(FL_U64, uint64_t, x)
        AS(FL_F16, uint16_t, half(x))
        AS(FL_F32, float, x)
        AS(FL_F64, double, x)
    }
#undef AS
    memcpy(to, real_bytes == 8 ? (const void *)&d : (const void *)&f, (size_t)real_bytes);
}

/* Where element k, in C order, lies. */
static char *element(const fl_call *call, const fl_array *a, ptrdiff_t k)
{
    char *at = a->data + (a->strides ? 0 : k * item_size(a->type));
    for (int d = call->shape.ndim - 1; a->strides && d >= 0; k /= call->shape.length[d--])
        at += k % call->shape.length[d] * a->strides[d];
    return at;
}

/* ---- arrays ------------------------------------------------------------------------------------ */

/* Lays out an array with axes in any order, gaps between elements, unaligned addresses, reversed axes and,
 * for inputs, repeated axes. */
static void lay_out(source *s, const fl_call *call, fl_array *a, place *p, int output)
{
    const ptrdiff_t item = item_size(a->type);
    const unsigned how = take(s), first_axis = how >> 1 & 3, shift = how >> 3 & 7;
    ptrdiff_t extent = item, low = 0, high = item;

    a->strides = how & 1 ? p->strides : NULL;
    p->broadcast = 0;
    for (int i = 0; i < call->shape.ndim && a->strides; i++) {
        const int d = (call->shape.ndim - 1 - i + (int)first_axis) % call->shape.ndim;
        const unsigned axis = take(s);
        ptrdiff_t stride = extent * (1 + (axis & 1)) + (axis >> 1 & 1);
        if (!output && axis & 8) {
            stride = 0;
            p->broadcast |= call->shape.length[d] > 1;
        } else if (call->shape.length[d]) {
            extent = stride * call->shape.length[d];
        }
        p->strides[d] = axis & 4 ? -stride : stride;
        const ptrdiff_t reach = (call->shape.length[d] - 1) * p->strides[d];
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
    }
    if (!a->strides)
        high = call->size * item;
    p->bytes = (call->size ? (size_t)(high - low) : 0) + shift;
    p->memory = room_for(p->bytes);
    a->data = p->memory + shift - (call->size ? low : 0);
}

/* Fills the memory with the rest of the input again and again, or at random where nothing is left. */
static void fill(place *p, const source *rest, uint32_t seed)
{
    const size_t given = (size_t)(rest->end - rest->at);
    for (size_t i = 0; i < p->bytes; i++)
        p->memory[i] = (char)(given ? rest->at[(i + seed) % given] : next_number(&seed) >> 16);
}

static void check_untouched(const fl_call *call, const fl_array *a, const place *p, char *before)
{
    for (ptrdiff_t k = 0; k < call->size; k++) {
        const char *now = element(call, a, k);
        memcpy(before + (now - p->memory), now, (size_t)item_size(a->type));
    }
    if (memcmp(before, p->memory, p->bytes) != 0)
        FAIL("bytes between the elements of an output were written");
}

/* ---- calls ------------------------------------------------------------------------------------- */

static const double numbers[] = { 0, 1, 0.5, 2, 0.1, -1, 1.5, 1e-3, 30, 1e300, 1e-310, -INFINITY, NAN };

static double take_number(source *s) { return numbers[take(s) % (sizeof numbers / sizeof *numbers)]; }

/* A kernel, the number of its outputs, whether it looks at the domain alone, and whether its third input is
 * weights. */
static int choose_kernel(source *s, fl_call *call, int *check, int *weights)
{
    const fl_table *table = fl_kernels(call->real_bytes);
    const unsigned loss = take(s) % (FL_N_LOSSES + FL_N_SGD + 1), pass = take(s) % FL_N_PASSES;

    *check = 0;
    call->inputs = 2;
    *weights = loss < FL_N_LOSSES || loss >= FL_N_LOSSES + FL_N_SGD;
    if (loss < FL_N_LOSSES) {
        call->kernel = table->pointwise->loss[loss][pass];
        *check = pass == FL_PASS_check;
        return arrays_of((int)pass);
    }
    if (loss < FL_N_LOSSES + FL_N_SGD) {
        const int plain = loss - FL_N_LOSSES == FL_SGD_PLAIN;
        call->kernel = table->sgd->rule[loss - FL_N_LOSSES];
        call->inputs = plain ? 2 : 3;
        return plain ? 1 : 2;
    }
    call->kernel = table->pointwise->sum;
    call->inputs = 1;
    return 0;
}

static void choose_shape(source *s, fl_call *call, ptrdiff_t *shape)
{
    static const ptrdiff_t lengths[] = { 1,  2,  3,  4,  5,   7,    15,   16,   17,
                                         31, 32, 33, 64, 100, 2047, 2048, 2049, 0 };
    call->shape.ndim = (int)(take(s) % (MAX_DIMS + 1));
    call->shape.length = shape;
    call->size = 1;
    for (int d = 0; d < call->shape.ndim; d++) {
        shape[d] = lengths[take(s) % (sizeof lengths / sizeof *lengths)];
        if (call->size * shape[d] > MAX_SIZE)
            shape[d] = 1;
        call->size *= shape[d];
    }
}

/* The third of the inputs is the weights, or the velocity of SGD. */
static fl_array *array_of(fl_call *call, int i)
{
    return i >= INPUTS                       ? &call->out[i - INPUTS]
           : i == 2 && call->inputs < INPUTS ? &call->weight
                                             : &call->in[i];
}

/* The call on contiguous copies in the working type, before the other overwrites its inputs. */
static fl_call straighten(fl_call *call, char **copies)
{
    fl_call straight = *call;
    for (int i = 0; i < ARRAYS; i++) {
        const fl_array *a = array_of(call, i);
        copies[i] = NULL;
        if (!a->data)
            continue;
        copies[i] = room_for((size_t)(call->size * call->real_bytes));
        *array_of(&straight, i) =
            (fl_array){ .data = copies[i], .type = call->real_bytes == 8 ? FL_F64 : FL_F32 };
        for (ptrdiff_t k = 0; i < INPUTS && k < call->size; k++)
            read_element(element(call, a, k), a->type, copies[i] + k * call->real_bytes, call->real_bytes);
    }
    return straight;
}

static void compare(const fl_call *call, const fl_call *straight)
{
    for (int i = 0; i < OUTPUTS; i++)
        for (ptrdiff_t k = 0; call->out[i].data && k < call->size; k++) {
            const int type = call->out[i].type;
            double got, wanted = load_real(straight->out[i].data + k * call->real_bytes, call->real_bytes);
            if (item_size(type) == 4)
                wanted = (float)wanted;
            read_element(element(call, &call->out[i], k), type, &got, 8);
            if (!same_real(got, wanted))
                FAIL("output %d, element %td: %a, and %a on contiguous copies", i, k, got, wanted);
        }
}

/* ---- calls on rows ------------------------------------------------------------------------------ */

enum { LABELS, SCORES, WEIGHT, GRAD, HESS, VALUE, LSE, ROW_ARRAYS };

static fl_array *row_array(fl_row_call *call, int i)
{
    fl_array *const arrays[] = { &call->labels, &call->scores, &call->weight, &call->grad,
                                 &call->hess,   &call->value,  &call->lse };
    return arrays[i];
}

/* The type that a contiguous copy has: labels are looked at in double. */
static int straight_bytes(const fl_row_call *call, int i)
{
    return i == LABELS && !call->given ? 8 : call->real_bytes;
}

/* Labels of any type are mostly small numbers, or hardly any would be classes. */
static void make_labels(const fl_call *frame, const fl_array *a, ptrdiff_t classes)
{
    for (ptrdiff_t k = 0; k < frame->size; k++) {
        char *at = element(frame, a, k);
        const ptrdiff_t size = item_size(a->type);
        const unsigned char first = (unsigned char)*at;
        if (first >= 8 && (a->type & ~FL_SWAPPED) < FL_F16) {
            memset(at, 0, (size_t)size);
            at[a->type & FL_SWAPPED ? size - 1 : 0] = (char)(first % (classes < 100 ? classes : 100));
        }
    }
}

/* Whether rows have a softmax, whose lse is asked for. */
static int choose_rows(source *s, fl_row_call *call, ptrdiff_t *shape, double *constants)
{
    static const ptrdiff_t lengths[] = { 1, 2, 3, 5, 15, 16, 17, 64, 65, 4, 0 };
    static const ptrdiff_t classes[] = { 1, 2, 3, 4, 10, 16, 17, 100, 101, 130, 1001 };
    const unsigned loss = take(s) % (FL_N_ROW_LOSSES + 1);
    call->shape.ndim = 1 + (int)(take(s) % (MAX_DIMS - 1));
    call->shape.length = shape;
    call->rows = 1;
    call->classes = shape[call->shape.ndim - 1] = classes[take(s) % (sizeof classes / sizeof *classes)];
    for (int d = 0; d < call->shape.ndim - 1; d++) {
        shape[d] = lengths[take(s) % (sizeof lengths / sizeof *lengths)];
        if (call->rows * shape[d] * call->classes > MAX_SIZE)
            shape[d] = 1;
        call->rows *= shape[d];
    }
    const fl_row_table *table = fl_kernels(call->real_bytes)->rows;
    const int allowed = loss < FL_N_ROW_LOSSES ? fl_row_loss_labels((int)loss) : FL_LABELS_either;
    call->kernel = loss < FL_N_ROW_LOSSES ? table->loss[loss] : table->label_cross_entropy;
    call->given = allowed == FL_LABELS_rows || (allowed == FL_LABELS_either && take(s) & 1);
    if (call->given && loss == FL_ROW_LOSS_softmax_cross_entropy)
        call->kernel = table->label_cross_entropy;
    for (int i = 0; i < FL_CONSTANTS; i++)
        constants[i] = fl_constant(take_number(s), call->real_bytes);
    call->constants = constants;
    call->scale = take_number(s);
    return loss == FL_N_ROW_LOSSES || fl_row_loss_is_softmax((int)loss);
}

static void run_on_rows(source *s, int real_bytes)
{
    ptrdiff_t shape[MAX_DIMS], correct, straight_correct;
    place places[ROW_ARRAYS] = { { 0 } };
    char *copies[ROW_ARRAYS] = { 0 }, *before[ROW_ARRAYS] = { 0 };
    fl_row_call call = { .real_bytes = real_bytes };
    double constants[FL_CONSTANTS];
    const int softmax = choose_rows(s, &call, shape, constants);
    const fl_call matrix = { .real_bytes = real_bytes,
                             .shape = call.shape,
                             .size = call.rows * call.classes };
    const fl_call per_row = { .real_bytes = real_bytes,
                              .shape = { call.shape.ndim - 1, shape },
                              .size = call.rows };
    const fl_call *frames[] = {
        call.given ? &matrix : &per_row, &matrix, &per_row, &matrix, &matrix, &per_row, &per_row
    };
    const unsigned wanted = take(s);
    double class_weight[1001];

    for (int i = 0; i < ROW_ARRAYS; i++) {
        const unsigned type = take(s);
        fl_array *a = row_array(&call, i);
        a->type = (i < GRAD   ? (int)(type % N_TYPES)
                   : type & 1 ? FL_F64
                              : FL_F32) |
                  (type & 128 ? FL_SWAPPED : 0);
        if (i >= WEIGHT && !(wanted >> (i - WEIGHT) & 1))
            continue;
        if ((i == HESS && !call.grad.data) || (i == LSE && !softmax))
            continue;
        if (i == GRAD && type & 64 && !places[SCORES].broadcast && (call.scores.type & ~FL_SWAPPED) >= FL_F32)
            *a = call.scores; /* in place */
        else
            lay_out(s, frames[i], a, &places[i], i >= GRAD);
    }
    if (call.given && wanted & 32)
        for (ptrdiff_t k = 0; k < call.classes; k++)
            class_weight[k] = numbers[k % 5];
    call.class_weight = call.given && wanted & 32 ? class_weight : NULL;
    for (int i = 0; i < ROW_ARRAYS; i++)
        fill(&places[i], s, (uint32_t)i * 5);
    if (!call.given && wanted & 64)
        make_labels(&per_row, &call.labels, call.classes);

    fl_row_call straight = call;
    for (int i = 0; i < ROW_ARRAYS; i++) {
        const fl_array *a = row_array(&call, i);
        const int bytes = straight_bytes(&call, i);
        if (!a->data)
            continue;
        copies[i] = room_for((size_t)(frames[i]->size * bytes));
        *row_array(&straight, i) = (fl_array){ .data = copies[i], .type = bytes == 8 ? FL_F64 : FL_F32 };
        for (ptrdiff_t k = 0; i < GRAD && k < frames[i]->size; k++)
            read_element(element(frames[i], a, k), a->type, copies[i] + k * bytes, bytes);
        if (i >= GRAD && places[i].memory)
            before[i] = memcpy(room_for(places[i].bytes), places[i].memory, places[i].bytes);
    }
    const ptrdiff_t bad = call.given ? -1 : fl_first_bad_label(&call);
    if (!call.given && bad != fl_first_bad_label(&straight))
        FAIL("the first bad label is at %td, and elsewhere on contiguous copies", bad);
    double sum, straight_sum;
    const int straight_status = fl_run_rows(&straight, &straight_sum, &straight_correct);
    const int status = fl_run_rows(&call, &sum, &correct);

    if (status != straight_status || !same_real(sum, straight_sum) || correct != straight_correct)
        FAIL("status %d, sum %a, %td right; %d, %a, %td on contiguous copies", status, sum, correct,
             straight_status, straight_sum, straight_correct);
    if (bad >= 0 && !(status & FL_VIOLATED))
        FAIL("the label of row %td is bad, the status %d", bad, status);
    for (int i = GRAD; i < ROW_ARRAYS; i++) {
        const fl_array *a = row_array(&call, i);
        for (ptrdiff_t k = 0; a->data && k < frames[i]->size; k++) {
            double got, want = load_real(copies[i] + k * real_bytes, real_bytes);
            want = item_size(a->type) == 4 ? (float)want : want;
            read_element(element(frames[i], a, k), a->type, &got, 8);
            if (!same_real(got, want))
                FAIL("array %d, element %td: %a, and %a on contiguous copies", i, k, got, want);
        }
        if (before[i])
            check_untouched(frames[i], a, &places[i], before[i]);
    }
    for (int i = 0; i < ROW_ARRAYS; i++) {
        free(places[i].memory);
        free(copies[i]);
        free(before[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int levels;
    source s = { data, data + size };
    ptrdiff_t shape[MAX_DIMS];
    place places[ARRAYS] = { { 0 } };
    char *copies[ARRAYS], *before[OUTPUTS] = { 0 };
    int check, weights, taken = -1;

    if (!levels) {
        while (fl_supported_level(levels))
            levels++;
        fl_set_num_threads(1);
    }
    const unsigned first = take(&s);
    fl_select_level(fl_supported_level((int)(first & 127) % levels));
    if (first & 128)
        return run_on_rows(&s, take(&s) & 1 ? 8 : 4), 0;
    fl_call call = { .real_bytes = take(&s) & 1 ? 8 : 4 };
    const int outputs = choose_kernel(&s, &call, &check, &weights);
    double constants[FL_CONSTANTS];
    choose_shape(&s, &call, shape);
    for (int i = 0; i < FL_CONSTANTS; i++)
        constants[i] = fl_constant(take_number(&s), call.real_bytes);
    call.constants = constants;
    call.outputs = outputs;
    call.scale = take_number(&s);

    for (int i = 0; i < INPUTS; i++) {
        const unsigned type = take(&s);
        fl_array *a = array_of(&call, i);
        a->type = (int)(type % N_TYPES) | (type & 128 ? FL_SWAPPED : 0);
        if (i < 2 || !weights || !(type & 64)) /* weights may be missing */
            lay_out(&s, &call, a, &places[i], 0);
    }
    for (int i = 0; i < outputs; i++) {
        const unsigned type = take(&s), input = type >> 2 & 3;
        const fl_array *a = array_of(&call, (int)(input % INPUTS));
        call.out[i].type = (type & 1 ? FL_F64 : FL_F32) | (type & 2 ? FL_SWAPPED : 0);
        if (input < INPUTS && a->data && (int)input != taken && !places[input].broadcast &&
            (a->type & ~FL_SWAPPED) >= FL_F32) {
            call.out[i] = *a; /* in place */
            taken = (int)input;
        } else {
            lay_out(&s, &call, &call.out[i], &places[INPUTS + i], 1);
        }
    }
    for (int i = 0; i < ARRAYS; i++)
        fill(&places[i], &s, (uint32_t)i * 5);

    for (int i = 0; i < OUTPUTS; i++)
        if (places[INPUTS + i].memory)
            before[i] = memcpy(room_for(places[INPUTS + i].bytes), places[INPUTS + i].memory,
                               places[INPUTS + i].bytes);
    const fl_call straight = straighten(&call, copies);
    const ptrdiff_t bad = check ? fl_first_violation(&call) : -1;
    double sum, straight_sum;
    const int straight_status = fl_run(&straight, &straight_sum), status = fl_run(&call, &sum);

    if (status != straight_status || !same_real(sum, straight_sum))
        FAIL("status %d, sum %a; %d, %a on contiguous copies", status, sum, straight_status, straight_sum);
    if (check && (bad != fl_first_violation(&straight) || (bad >= 0) != (status == FL_VIOLATED)))
        FAIL("the first violation is at %td, the status %d", bad, status);
    compare(&call, &straight);
    for (int i = 0; i < OUTPUTS; i++)
        if (before[i])
            check_untouched(&call, &call.out[i], &places[INPUTS + i], before[i]);

    for (int i = 0; i < ARRAYS; i++) {
        free(places[i].memory);
        free(copies[i]);
    }
    for (int i = 0; i < OUTPUTS; i++)
        free(before[i]);
    return 0;
}
