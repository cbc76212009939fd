/* Losses that depend on the true class's probability p and on Q = sum p_k^2, the probability that two draws
 * from the row's softmax give the same class.
 *
 * The derivative by the score of class k is p_k times a polynomial in p_k. Its terms do not cancel where a
 * row is saturated, because p_k is at most 1/2 for every class but the top one. The derivatives by the top
 * class's score, like those by the true class's, have formulas of their own, in the probability of the other
 * classes. The last sweep computes the exponentials again: their squares need more digits than would fit into
 * the memory of the gradient. */
#ifndef FL_COLLISION_H
#define FL_COLLISION_H

#include "kernels/rows/softmax.h"

/* What the sweeps find. `sums.rest` is the sum of the exponentials relative to the top score, without the top
 * class's own; `squares` is the sum of their squares. Both are lifted. */
typedef struct {
    row_sums sums;
    row_pairs squares;
} collision_sums;

/* All fields are lifted, except `top`, `both`, `level` and `gap`. */
typedef struct {
    pair p, q, others;     /* p, 1 - p, and the sum of p_k^2 over the classes other than the true one */
    pair top, miss, rest;  /* the same three for the class with the top score */
    pair both, level, gap; /* Q, Q / top^2, and the top score minus the true class's score */
} collision;

/* The value of a row's loss and its derivatives by the scores. Those by the true class's and by the top
 * class's score are lifted. Those by another class's score are u (g0 + g1 u) and u (h0 + h1 u + h2 u^2 + h3
 * u^3), where u is the probability of that class. */
typedef struct {
    pair value, grad_mine, hess_mine, grad_top, hess_top, g0, g1, h0, h1, h2, h3;
} collision_link;

typedef collision_link collision_function(collision z);

typedef struct {
    row_pairs share, g0, g1, h0, h1, h2, h3; /* share is the top class's probability */
    real factor[FL_TILE_ROWS], unit[FL_TILE_ROWS];
    real grad_mine[FL_TILE_ROWS], grad_top[FL_TILE_ROWS], hess_mine[FL_TILE_ROWS], hess_top[FL_TILE_ROWS];
} collision_factors;

static FL_INLINE void fl_collision_sums(const fl_tile *t, ptrdiff_t i, collision_sums *out)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF);
    real top[FL_LANES], at[FL_LANES];
    lane_sums rest, squares;
    fl_clear(&rest), fl_clear(&squares);
    fl_lanes_of(t, out->sums.top, i, top);
    fl_groups_of(t, out->sums.best, i, at);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const pair e = fl_select(at[l] == here, fl_exact(R(0)), fl_lifted_exp(x[l], top[l]));
            fl_lane_add(&rest, l, e);
            fl_lane_add(&squares, l, fl_times(e, fl_pair_lowered(e)));
        }
    }
    fl_lane_total(t, i, &rest, &out->sums.rest);
    fl_lane_total(t, i, &squares, &out->squares);
}

static FL_INLINE void fl_collision_sweep(const fl_tile *t, collision_sums *out)
{
    fl_fill_up(t, &out->sums);
    memset(&out->squares, 0, sizeof out->squares);
    for (ptrdiff_t i = 0; i < fl_strips(t); i++) {
        fl_find(t, 0, i, &out->sums);
        fl_collision_sums(t, i, out);
    }
}

static FL_INLINE void fl_collision_link(collision_function *f, const fl_tile *t, const collision_sums *s,
                                        real scale, collision_factors *out)
{
    const real *weight = t->weight;
    real *value = t->value;
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const real top = s->sums.top[i], mine = s->sums.mine[i], w = weight[i], wf = w * scale;
        const int hit = s->sums.hit[i];
        const pair rest = FL_AT(s->sums.rest, i), squares = FL_AT(s->squares, i);
        const pair one = fl_exact(FL_LIFTED_ONE), sum = fl_one_plus(fl_pair_lowered(rest));
        const pair share = fl_inverse(sum), square = fl_times(share, share);
        const pair own = fl_select(hit, one, fl_lifted_exp(mine, top));
        const pair own_square = fl_times(own, fl_pair_lowered(own));
        const pair left = fl_plus(fl_plus(one, fl_negative(own)), rest);
        const pair left_squares = fl_plus(fl_plus(one, fl_negative(own_square)), squares);
        const pair level = fl_one_plus(fl_pair_lowered(squares));
        const collision_link k = f((collision){
            .p = fl_times(own, share),
            .q = fl_times(fl_select(hit, rest, fl_fast_sum(left.hi, left.lo)), share),
            .others =
                fl_times(fl_select(hit, squares, fl_fast_sum(left_squares.hi, left_squares.lo)), square),
            .top = share,
            .miss = fl_times(rest, share),
            .rest = fl_times(squares, square),
            .both = fl_times(level, square),
            .level = level,
            .gap = fl_select(hit, fl_exact(R(0)), fl_sum(top, -mine)),
        });
        /* a steep gradient is lowered before the product, else the product is lowered */
        const int steep = fl_fabs(wf) > R(1);
        const real factor = steep ? fl_lowered(wf) : wf, unit = steep ? R(1) : fl_lowered(R(1));
        value[i] = w == R(0) ? R(0) : w * fl_rounded(k.value);
        FL_SET(out->share, i, share);
        out->factor[i] = factor, out->unit[i] = unit;
        FL_SET(out->g0, i, k.g0);
        FL_SET(out->g1, i, k.g1);
        FL_SET(out->h0, i, k.h0);
        FL_SET(out->h1, i, k.h1);
        FL_SET(out->h2, i, k.h2);
        FL_SET(out->h3, i, k.h3);
        out->grad_mine[i] = fl_rounded(k.grad_mine) * factor * unit;
        out->grad_top[i] = fl_rounded(k.grad_top) * factor * unit;
        out->hess_mine[i] = fl_rounded(k.hess_mine) * factor * unit;
        out->hess_top[i] = fl_rounded(k.hess_top) * factor * unit;
    }
}

static FL_INLINE void fl_collision_strip(const fl_tile *t, int bends, ptrdiff_t i, const row_sums *sums,
                                         const collision_factors *f)
{
    strip s = fl_strip(t, t->scores, i, -FL_INF), grad = fl_strip(t, t->grad, i, R(0)), hess = { 0 };
    real top[FL_LANES], at[FL_LANES], where[FL_LANES];
    collision_factors lane;
    if (bends)
        hess = fl_strip(t, t->hess, i, R(0));
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        FL_SET(lane.share, l, FL_AT(f->share, row));
        lane.factor[l] = f->factor[row], lane.unit[l] = f->unit[row];
        lane.grad_mine[l] = f->grad_mine[row], lane.grad_top[l] = f->grad_top[row];
        lane.hess_mine[l] = f->hess_mine[row], lane.hess_top[l] = f->hess_top[row];
        FL_SET(lane.g0, l, FL_AT(f->g0, row));
        FL_SET(lane.g1, l, FL_AT(f->g1, row));
        FL_SET(lane.h0, l, FL_AT(f->h0, row));
        FL_SET(lane.h1, l, FL_AT(f->h1, row));
        FL_SET(lane.h2, l, FL_AT(f->h2, row));
        FL_SET(lane.h3, l, FL_AT(f->h3, row));
    }
    fl_lanes_of(t, sums->top, i, top);
    fl_groups_of(t, sums->best, i, at);
    fl_groups_of(t, t->label, i, where);
    FL_EACH_GROUP(t)
    {
        const real *x = FL_GROUP(s), here = (real)g;
        real *to = FL_GROUP(grad), *h = bends ? FL_GROUP(hess) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int absent = lane.factor[l] == R(0), first = at[l] == here, mine = where[l] == here;
            const real factor = lane.factor[l], unit = lane.unit[l];
            const pair u = fl_times(fl_lifted_exp(x[l], top[l]), FL_AT(lane.share, l));
            const pair low = fl_pair_lowered(u);
            const pair slope = fl_plus(FL_AT(lane.g0, l), fl_times(FL_AT(lane.g1, l), low));
            const real other = fl_times_rounded(u, slope) * factor * unit;
            if (bends) {
                const pair cubic = fl_plus(FL_AT(lane.h2, l), fl_times(FL_AT(lane.h3, l), low));
                const pair square = fl_plus(FL_AT(lane.h1, l), fl_times(cubic, low));
                const pair bend = fl_plus(FL_AT(lane.h0, l), fl_times(square, low));
                const real curve = fl_times_rounded(u, bend) * factor * unit;
                h[l] = absent ? R(0) : mine ? lane.hess_mine[l] : first ? lane.hess_top[l] : curve;
            }
            to[l] = absent ? R(0) : mine ? lane.grad_mine[l] : first ? lane.grad_top[l] : other;
        }
    }
    fl_flush(t, &grad);
    if (bends)
        fl_flush(t, &hess);
}

/* These functions are compiled once for all losses. Separate copies for the two kinds of strips would gain
 * too little. */
#define DERIVATIVES(name, bends)                                                                \
    static __attribute__((noinline)) void FL_NAME(name)(const fl_tile *t, const row_sums *sums, \
                                                        const collision_factors *f)             \
    {                                                                                           \
        for (ptrdiff_t i = 0; i < fl_strips(t); i++)                                            \
            fl_collision_strip(t, bends, i, sums, f);                                           \
    }
DERIVATIVES(fl_collision_grad, 0)
DERIVATIVES(fl_collision_hess, 1)
#undef DERIVATIVES
FL_SWEEP(fl_sum_collisions, fl_collision_sweep(&of_kind, sums), collision_sums *sums)

static FL_INLINE int fl_collision_rows(collision_function *f, const fl_tile *t)
{
    collision_sums found;
    collision_factors out;
    FL_NAME(fl_sum_collisions)(t, &found);
    fl_collision_link(f, t, &found, (real)t->scale, &out);
    if (t->hess.data)
        FL_NAME(fl_collision_hess)(t, &found.sums, &out);
    else if (t->grad.data)
        FL_NAME(fl_collision_grad)(t, &found.sums, &out);
    *t->sum = fl_finish_rows(t, &found.sums);
    return 0;
}

#endif
