/* Tiles and strips: how a kernel of rows walks over some rows of numbers, and adds up along each.
 *
 * A tile is some rows. A kernel sweeps over it strip by strip, and a strip is groups of FL_LANES scores.
 * There are two kinds of strips. Those `across` rows have FL_LANES rows, and lane l of group k is class k of
 * row l: so few classes fill the vectors, too. Those along rows have one row, with class k in lane k %
 * FL_LANES of group k / FL_LANES; the lanes are added up after the sweep. */
#ifndef FL_STRIPS_H
#define FL_STRIPS_H

#include "api/tile.h"
#include "kernels/lanes.h"

#include <string.h>

/* A pair for each row. */
typedef struct {
    real hi[FL_TILE_ROWS], lo[FL_TILE_ROWS];
} row_pairs;

#define FL_AT(pairs, i) fl_pair((pairs).hi[i], (pairs).lo[i])
#define FL_SET(pairs, i, x)                             \
    do {                                                \
        const pair set = x;                             \
        (pairs).hi[i] = set.hi, (pairs).lo[i] = set.lo; \
    } while (0)

static FL_INLINE ptrdiff_t fl_strips(const fl_tile *t)
{
    return t->across ? (t->rows + FL_LANES - 1) / FL_LANES : t->rows;
}

/* The row that lane l of a strip belongs to. */
static FL_INLINE ptrdiff_t fl_row(const fl_tile *t, ptrdiff_t strip, int l)
{
    return t->across ? strip * FL_LANES + l : strip;
}

/* For each lane of a strip, the number of the group in which it holds the given class of its row, or -1 where
 * it holds that class in no group. As `real`, the numbers are exact up to 2^24 groups. */
static FL_INLINE void fl_groups_of(const fl_tile *t, const int32_t *classes, ptrdiff_t strip, real *groups)
{
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++)
        groups[l] = t->across ? (real)classes[strip * FL_LANES + l] : R(-1);
    if (!t->across && classes[strip] >= 0)
        groups[classes[strip] % FL_LANES] = (real)(classes[strip] / FL_LANES);
}

/* Copies to each lane of a strip the number of its row. */
static FL_INLINE void fl_lanes_of(const fl_tile *t, const real *numbers, ptrdiff_t strip, real *lanes)
{
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++)
        lanes[l] = numbers[fl_row(t, strip, l)];
}

static FL_INLINE real *fl_cell(const fl_tile *t, fl_rows m, ptrdiff_t row, ptrdiff_t k)
{
    real *data = m.data;
    return t->across ? data + row / FL_LANES * m.strip + k * m.group + row % FL_LANES
                     : data + row * m.strip + k;
}

/* A strip of a matrix while it is being swept. In a strip along a row, a last group that is not full is
 * copied to `tail`, and the groups of up to two classes that are to be left out are copied to `patch`; the
 * sweep reads these in their place. */
typedef struct {
    real *data;
    ptrdiff_t group, n; /* n is the number of classes in the last group, FL_LANES if it is full */
    ptrdiff_t short_group, patched[2]; /* -1: none */
    real tail[FL_LANES], patch[2][FL_LANES];
} strip;

static FL_INLINE ptrdiff_t fl_groups(const fl_tile *t)
{
    return t->across ? t->classes : (t->classes + FL_LANES - 1) / FL_LANES;
}

static FL_INLINE void fl_open(const fl_tile *t, fl_rows m, ptrdiff_t i, real filler, strip *s)
{
    s->data = (real *)m.data + i * m.strip;
    s->group = m.group;
    s->n = t->across ? FL_LANES : (t->classes - 1) % FL_LANES + 1;
    s->short_group = s->patched[0] = s->patched[1] = -1;
    if (s->n < FL_LANES) {
        real last[2 * FL_LANES]; /* copies of known lengths are moves */
        s->short_group = fl_groups(t) - 1;
        for (int l = 0; l < FL_LANES; l++)
            last[FL_LANES + l] = filler;
        memcpy(last, s->data + t->classes - FL_LANES, FL_LANES * sizeof *last);
        memcpy(s->tail, last + FL_LANES - s->n, sizeof s->tail);
    }
}

static FL_INLINE strip fl_strip(const fl_tile *t, fl_rows m, ptrdiff_t i, real filler)
{
    strip s;
    fl_open(t, m, i, filler, &s);
    return s;
}

/* A strip of numbers that are 1 where the given strip has a class. All full groups are alike, so that they
 * share `ones`. */
static FL_INLINE strip fl_alive(const strip *s, real *ones)
{
    strip live = { .data = ones, .n = s->n, .short_group = s->short_group, .patched = { -1, -1 } };
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        ones[l] = R(1);
        live.tail[l] = l < s->n ? R(1) : R(0);
    }
    return live;
}

/* Makes the sweep of a strip along a row find `x` in the place of class k. */
static FL_INLINE void fl_patch(strip *s, int32_t k, real x)
{
    const ptrdiff_t g = k / FL_LANES;
    const int second = s->patched[0] >= 0 && s->patched[0] != g;
    if (k < 0)
        return;
    if (g != s->short_group && s->patched[second] != g) {
        s->patched[second] = g;
        memcpy(s->patch[second], s->data + g * FL_LANES, sizeof s->patch[second]);
    }
    (g == s->short_group ? s->tail : s->patch[second])[k % FL_LANES] = x;
}

/* The compiler must not see that a group may lie in four places: it would choose between them for each
 * element, and not vectorise the loop. */
static FL_INLINE real *fl_group(strip *s, ptrdiff_t g)
{
    real *group = s->data + g * s->group;
    group = g == s->short_group ? s->tail : group;
    group = g == s->patched[0] ? s->patch[0] : group;
    group = g == s->patched[1] ? s->patch[1] : group;
    __asm__ volatile("" : "+r"(group));
    return group;
}

/* Fetches what a sweep along a row reads `ahead` elements later, since the hardware's own prefetching stops
 * at the end of a page. */
static FL_INLINE void fl_prefetch(const fl_tile *t, const strip *s, ptrdiff_t g, ptrdiff_t ahead)
{
    const real *at = s->data + g * FL_LANES + ahead;
    for (int l = 0; l < FL_LANES && !t->across; l += 64 / (int)sizeof(real))
        __builtin_prefetch(at + l);
}

#define FL_EACH_GROUP(t) for (ptrdiff_t g = 0, groups = fl_groups(t); g < groups; g++)
#define FL_GROUP(s) fl_group(&(s), g)

static FL_INLINE void fl_flush(const fl_tile *t, const strip *s)
{
    if (s->n < FL_LANES) {
        real last[2 * FL_LANES];
        memcpy(last, s->data + t->classes - FL_LANES, FL_LANES * sizeof *last);
        memcpy(last + FL_LANES - s->n, s->tail, sizeof s->tail);
        memcpy(s->data + t->classes - FL_LANES, last, FL_LANES * sizeof *last);
    }
}

/* Turns the sums of the lanes into sums of the rows. */
static FL_INLINE void fl_lane_total(const fl_tile *t, ptrdiff_t i, lane_sums *s, row_pairs *out)
{
    for (int width = FL_LANES / 2; width && !t->across; width /= 2)
        for (int l = 0; l < width; l++) {
            const double a = s->sum[l], b = s->sum[l + width], sum = a + b;
            s->low[l] += s->low[l + width];
#if FL_BITS == 64
            s->low[l] += fl_sum_error(a, b, sum);
#endif
            s->sum[l] = sum;
        }
    real *hi = out->hi + fl_row(t, i, 0), *lo = out->lo + fl_row(t, i, 0);
#pragma omp simd
    for (int l = 0; l < (t->across ? FL_LANES : 1); l++) {
#if FL_BITS == 32
        const double sum = s->sum[l] + (double)s->low[l];
        const real high = (real)sum, low = (real)(sum - (double)high);
        hi[l] = high;
        lo[l] = high < FL_INF ? low : R(0);
#else
        const pair total = fl_fast_sum(s->sum[l], s->low[l]);
        const int finite = s->sum[l] < FL_INF;
        hi[l] = finite ? total.hi : s->sum[l];
        lo[l] = finite ? total.lo : R(0);
#endif
    }
}

/* The number of rows, including those that fill up the last strip across rows. */
static FL_INLINE ptrdiff_t fl_padded(const fl_tile *t)
{
    return (t->rows + FL_LANES - 1) / FL_LANES * FL_LANES;
}

/* Defines a sweep that is compiled once for all losses, and separately for the two kinds of strips: `body`
 * uses `of_kind`, a copy of the tile whose kind the compiler knows. */
#define FL_SWEEP(name, body, ...)                                                      \
    static __attribute__((noinline)) void FL_NAME(name)(const fl_tile *t, __VA_ARGS__) \
    {                                                                                  \
        fl_tile of_kind = *t;                                                          \
        if (t->across) {                                                               \
            of_kind.across = 1;                                                        \
            body;                                                                      \
        } else {                                                                       \
            of_kind.across = 0;                                                        \
            body;                                                                      \
        }                                                                              \
    }

static FL_INLINE double fl_row_sum(const fl_tile *t)
{
    const real *value = t->value;
    lane_sums total;
    fl_clear(&total);
    ptrdiff_t row = 0;
    for (; row + FL_LANES <= t->rows; row += FL_LANES)
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++)
            fl_lane_add(&total, l, fl_exact(value[row + l]));
    for (; row < t->rows; row++)
        fl_lane_add(&total, row % FL_LANES, fl_exact(value[row]));
    return fl_all_lanes(&total);
}

#endif
