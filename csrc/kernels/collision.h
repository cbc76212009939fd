/* Losses of the true class's probability and of the probability that two draws from the softmax are of one
 * class, Q = sum p_k^2: three sweeps, as in rowwise.h. */
#ifndef FL_COLLISION_H
#define FL_COLLISION_H

#include "rowwise.h"

/* The true class, and the sum of the other classes' p_k^2. */
typedef struct {
    true_class own;
    pair others;
} collision;

/* Value; the true class's derivatives; those of another class are u (g[0] + g[1] u) and u (h[0] + ... + h[3]
 * u^3), u being its probability. */
typedef struct {
    pair value, grad, hess;
    real g[2], h[4];
} collision_link;

typedef collision_link collision_function(collision z);

typedef struct {
    row_pairs inverse;
    real g[2][FL_TILE_ROWS], h[4][FL_TILE_ROWS], factor[FL_TILE_ROWS], grad[FL_TILE_ROWS], hess[FL_TILE_ROWS];
} collision_factors;

static FL_INLINE void fl_collision_link(collision_function *f, const fl_tile *t, const row_sums *s,
                                        real scale, collision_factors *out)
{
    const real *weight = t->weight;
    real *value = t->value, *lse = t->lse;
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const real top = s->top[i], mine = s->mine[i], one = FL_LIFTED_ONE, w = weight[i], wf = w * scale;
        const int hit = s->hit[i];
        const pair rest = FL_AT(s->rest, i), none = fl_exact(R(0)), unit = fl_exact(R(1));
        const pair log_sum = fl_log_of(fl_one_plus(fl_pair_lowered(rest)));
        const pair inverse = fl_inverse(fl_plus(fl_exact(one), rest)), unlifted = fl_scale(one, inverse);
        const pair own = fl_select(hit, fl_exact(one), fl_exact(fl_lifted_exp(mine, top).hi));
        const pair left = fl_plus(fl_sum(one, -own.hi), rest);
        const pair others = fl_select(hit, rest, fl_fast_sum(left.hi, left.lo));
        const pair low = fl_pair_lowered(own), squares = FL_AT(s->squares, i);
        const pair all = fl_plus(fl_plus(unit, squares), fl_negative(fl_product(low.hi, low.hi)));
        const pair gap = fl_select(hit, none, fl_sum(top, -mine));
        const collision z = { { fl_plus(gap, log_sum), fl_times(own, inverse), fl_times(others, inverse) },
                              fl_times(fl_select(hit, squares, fl_fast_sum(all.hi, all.lo)),
                                       fl_times(unlifted, unlifted)) };
        const collision_link k = f(z);
        value[i] = w == R(0) ? R(0) : w * fl_rounded(k.value);
        lse[i] = fl_rounded(fl_plus(fl_exact(top), log_sum));
        FL_SET(out->inverse, i, inverse);
        out->factor[i] = wf;
        out->g[0][i] = k.g[0], out->g[1][i] = k.g[1];
        out->h[0][i] = k.h[0], out->h[1][i] = k.h[1], out->h[2][i] = k.h[2], out->h[3][i] = k.h[3];
        out->grad[i] = wf * fl_rounded(k.grad);
        out->hess[i] = wf * fl_rounded(k.hess);
    }
}

/* Over the exponentials in `grad`. */
static FL_INLINE void fl_collision_strip(const fl_tile *t, int bends, ptrdiff_t i, const row_sums *sums,
                                         const collision_factors *f)
{
    strip grad = fl_strip(t, t->grad, i, R(0)), hess = { 0 };
    real at[FL_LANES], where[FL_LANES];
    collision_factors lane;
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        at[l] = fl_group_of(t, sums->best[row], l);
        where[l] = fl_group_of(t, t->label[row], l);
        FL_SET(lane.inverse, l, FL_AT(f->inverse, row));
        lane.factor[l] = ((const real *)t->weight)[row] == R(0) ? R(0) : f->factor[row];
        lane.grad[l] = f->grad[row], lane.hess[l] = f->hess[row];
        for (int n = 0; n < 2; n++)
            lane.g[n][l] = f->g[n][row];
        for (int n = 0; n < 4; n++)
            lane.h[n][l] = f->h[n][row];
    }
    if (bends)
        hess = fl_strip(t, t->hess, i, R(0));
    FL_EACH_GROUP(t)
    {
        const real here = (real)g;
        real *x = FL_GROUP(grad), *h = bends ? FL_GROUP(hess) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int absent = lane.factor[l] == R(0), mine = where[l] == here;
            const real e = at[l] == here ? FL_LIFTED_ONE : x[l];
            const real u = fl_fma(e, lane.inverse.hi[l], e * lane.inverse.lo[l]), share = lane.factor[l] * u;
            const real slope = share * fl_fma(lane.g[1][l], u, lane.g[0][l]);
            if (bends) {
                const real upper = fl_fma(lane.h[3][l], u, lane.h[2][l]);
                const real bend = share * fl_fma(fl_fma(upper, u, lane.h[1][l]), u, lane.h[0][l]);
                h[l] = absent ? R(0) : mine ? lane.hess[l] : bend;
            }
            x[l] = absent ? R(0) : mine ? lane.grad[l] : slope;
        }
    }
    fl_flush(t, &grad);
    if (bends)
        fl_flush(t, &hess);
}

static FL_INLINE void fl_collision_derivatives(const fl_tile *t, int bends, const row_sums *sums,
                                               const collision_factors *f)
{
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_collision_strip(t, bends, i, sums, f);
}

FL_SWEEP(fl_sum_squares, fl_sweep(&way, 0, 1, sums), row_sums *sums)
FL_SWEEP(fl_store_squares, fl_sweep(&way, 1, 1, sums), row_sums *sums)
FL_SWEEP(fl_collision_grad, fl_collision_derivatives(&way, 0, sums, f), const row_sums *sums,
         const collision_factors *f)
FL_SWEEP(fl_collision_hess, fl_collision_derivatives(&way, 1, sums, f), const row_sums *sums,
         const collision_factors *f)

static FL_INLINE int fl_collision_rows(collision_function *f, const fl_tile *t, double scale, double *sum)
{
    row_sums sums;
    collision_factors out;
    (t->grad.data ? FL_NAME(fl_store_squares) : FL_NAME(fl_sum_squares))(t, &sums);
    fl_collision_link(f, t, &sums, (real)scale, &out);
    if (t->hess.data)
        FL_NAME(fl_collision_hess)(t, &sums, &out);
    else if (t->grad.data)
        FL_NAME(fl_collision_grad)(t, &sums, &out);
    *sum = fl_finish_rows(t, &sums);
    return 0;
}

#endif
