/* The sweep that finds the largest score of each row, and what sweeps have found. */
#ifndef FL_TOP_H
#define FL_TOP_H

#include "kernels/rows/strips.h"

typedef struct {
    real top[FL_TILE_ROWS], mine[FL_TILE_ROWS]; /* the largest score, and the true class's */
    /* from fl_find_rivals: the largest score of the other classes, the class that has it, and the next one */
    real rival[FL_TILE_ROWS], second[FL_TILE_ROWS];
    int32_t rival_class[FL_TILE_ROWS];
    int32_t best[FL_TILE_ROWS]; /* the first class that has the top score; -1: none */
    int32_t hit[FL_TILE_ROWS];  /* whether the true class is that one */
    row_pairs rest;             /* the sum of the exponentials of all classes but the top one, lifted */
} row_sums;

/* With `rivals` the true class is left out, and NaN counts as the largest score, since there is no sum of
 * exponentials that would become NaN. */
#define FL_HIGHER(score, top, rivals) (((score) > (top)) | ((rivals) & ((score) != (score))))

/* Where a strip across rows holds the true class of a row. Where there is none, any cell of that row. */
static FL_INLINE real *fl_true_cell(const fl_tile *t, ptrdiff_t row)
{
    return fl_cell(t, t->scores, row, t->label[row] < 0 ? 0 : t->label[row]);
}

/* With so many classes or fewer, strips across rows look for the true class in each group; with more, they
 * reach for its cell, row by row. A reach costs as much as the look in some 48 groups. */
enum { FL_LOOK_CLASSES = 48 };

static FL_INLINE int fl_looks(const fl_tile *t) { return t->across && t->classes <= FL_LOOK_CLASSES; }

/* Replaces the true class's score of each row by -inf, whose exponential is 0. */
static FL_INLINE void fl_leave_out(const fl_tile *t, row_sums *sums)
{
    for (ptrdiff_t row = 0; row < fl_padded(t); row++) {
        real *cell = fl_true_cell(t, row);
        const int none = t->label[row] < 0;
        const real score = *cell;
        sums->mine[row] = none ? FL_NAN : score;
        *cell = none ? score : -FL_INF;
    }
}

static FL_INLINE void fl_put_back(const fl_tile *t, const row_sums *sums)
{
    for (ptrdiff_t row = 0; row < fl_padded(t); row++)
        if (t->label[row] >= 0)
            *fl_true_cell(t, row) = sums->mine[row];
}

/* Whether no class before the true one has its score. */
static FL_INLINE int fl_is_first(const fl_tile *t, ptrdiff_t row, real score)
{
    int32_t k = 0;
    while (k < t->label[row] && *fl_cell(t, t->scores, row, k) != score)
        k++;
    return k == t->label[row];
}

static FL_INLINE int fl_any_infinite(const fl_tile *t, const row_sums *sums)
{
    int any = 0;
#pragma omp simd reduction(| : any)
    for (ptrdiff_t row = 0; row < fl_padded(t); row++)
        any |= fl_fabs(sums->top[row]) == FL_INF;
    return any;
}

/* Finds the largest score of the other classes, and with `ranked` the first class that has the largest of
 * all, which takes two operations a score more. Leaves the true class out. */
static FL_INLINE void fl_find_rivals(const fl_tile *t, int ranked, ptrdiff_t i, row_sums *sums)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    real rival[FL_LANES], second[FL_LANES], at[FL_LANES], mine[FL_LANES], where[FL_LANES];
    const int looks = fl_looks(t);
    int ties = 0;
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        rival[l] = second[l] = -FL_INF;
        at[l] = R(-1);
        mine[l] = FL_NAN;
    }
    FL_EACH_GROUP(t)
    {
        real *x = FL_GROUP(s), here = (real)g;
        if (looks)
#pragma omp simd
            for (int l = 0; l < FL_LANES; l++) {
                const int own = where[l] == here;
                mine[l] = own ? x[l] : mine[l];
                x[l] = own ? -FL_INF : x[l];
            }
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            if (ranked) {
                const real less = x[l] > rival[l] ? rival[l] : x[l];
                second[l] = less > second[l] ? less : second[l];
                at[l] = x[l] > rival[l] ? here : at[l];
            }
            rival[l] = x[l] > rival[l] ? x[l] : rival[l];
        }
    }
    real *own = sums->mine + i * FL_LANES;
#pragma omp simd reduction(| : ties)
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = i * FL_LANES + l;
        own[l] = looks ? mine[l] : own[l];
        sums->rival[row] = rival[l];
        sums->top[row] = own[l] > rival[l] ? own[l] : rival[l];
        sums->best[row] = -1;
        sums->hit[row] = own[l] > rival[l];
        ties |= own[l] == rival[l];
    }
    for (int l = 0; ties && l < FL_LANES; l++) {
        const ptrdiff_t row = i * FL_LANES + l;
        if (own[l] == rival[l])
            sums->hit[row] = fl_is_first(t, row, rival[l]);
    }
    if (ranked)
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const ptrdiff_t row = i * FL_LANES + l;
            sums->second[row] = second[l];
            sums->rival_class[row] = (int32_t)at[l];
            sums->best[row] = sums->hit[row] ? t->label[row] : (int32_t)at[l];
        }
}

static FL_INLINE void fl_find_across(const fl_tile *t, int rivals, ptrdiff_t i, row_sums *sums)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    real top[FL_LANES], at[FL_LANES], where[FL_LANES];
    fl_groups_of(t, t->label, i, where);
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        top[l] = -FL_INF;
        at[l] = R(-1);
    }
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real score = rivals && where[l] == here ? -FL_INF : x[l];
            const int higher = FL_HIGHER(score, top[l], rivals);
            top[l] = higher ? score : top[l];
            at[l] = higher ? here : at[l];
        }
    }
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = i * FL_LANES + l;
        sums->top[row] = top[l];
        sums->best[row] = (int32_t)at[l];
        sums->hit[row] = (where[l] >= R(0)) & (where[l] == at[l]);
    }
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = i * FL_LANES + l;
        sums->mine[row] = t->label[row] < 0 ? FL_NAN : *fl_true_cell(t, row);
    }
}

#define FL_AHEAD (4096 / (ptrdiff_t)sizeof(real))

/* The groups take turns with FL_TURNS sets of largest scores. With one set, a lane would wait longer for its
 * last comparison than a group takes. */
enum { FL_TURNS = 8 };

static FL_INLINE void fl_find_along(const fl_tile *t, int rivals, ptrdiff_t i, row_sums *sums)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    real tops[FL_TURNS][FL_LANES], ats[FL_TURNS][FL_LANES], highest[FL_LANES];
    real *top = tops[0], *at = ats[0];
    const int32_t label = t->label[i], none = INT32_MAX;
    int32_t best = none;
    if (rivals)
        fl_patch(&s, label, -FL_INF);
    for (int turn = 0; turn < FL_TURNS; turn++)
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            tops[turn][l] = -FL_INF;
            ats[turn][l] = R(-1);
        }
    FL_EACH_GROUP(t)
    {
        fl_prefetch(t, &s, g, FL_AHEAD);
        const real *x = FL_GROUP(s), here = (real)g;
        real *high = tops[g % FL_TURNS], *where = ats[g % FL_TURNS];
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int higher = FL_HIGHER(x[l], high[l], rivals);
            high[l] = higher ? x[l] : high[l];
            where[l] = higher ? here : where[l];
        }
    }
    for (int turn = 1; turn < FL_TURNS; turn++)
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real other = tops[turn][l], there = ats[turn][l];
            const int higher =
                FL_HIGHER(other, top[l], rivals) | ((other == top[l]) & (there >= R(0)) & (there < at[l]));
            top[l] = higher ? other : top[l];
            at[l] = higher ? there : at[l];
        }
    memcpy(highest, top, sizeof highest);
    for (int width = FL_LANES / 2; width; width /= 2)
        for (int l = 0; l < width; l++)
            highest[l] = FL_HIGHER(highest[l + width], highest[l], rivals) ? highest[l + width] : highest[l];
    for (int l = 0; l < FL_LANES; l++) {
        const int first = (top[l] == highest[0]) | (rivals & (top[l] != top[l]));
        const int32_t k = (first & (at[l] >= R(0))) ? (int32_t)at[l] * FL_LANES + l : none;
        best = k < best ? k : best;
    }
    sums->top[i] = highest[0];
    sums->mine[i] = label < 0 ? FL_NAN : s.data[label];
    sums->best[i] = best == none ? -1 : best;
    sums->hit[i] = label >= 0 && label == best;
}

static FL_INLINE void fl_find(const fl_tile *t, int rivals, ptrdiff_t i, row_sums *sums)
{
    if (t->across)
        fl_find_across(t, rivals, i, sums);
    else
        fl_find_along(t, rivals, i, sums);
}

/* Sets the results of the rows that fill up the last strip, which sweeps along rows do not set. */
static FL_INLINE void fl_fill_up(const fl_tile *t, row_sums *sums)
{
    for (ptrdiff_t row = t->rows; row < fl_padded(t); row++) {
        sums->top[row] = sums->mine[row] = R(0);
        sums->best[row] = -1;
        sums->hit[row] = 0;
        FL_SET(sums->rest, row, fl_exact(R(0)));
    }
}

#endif
