/* The kernels of losses that depend on the softmax of each row. A loss is one function of the true class's
 * probability; the sweeps over the classes are the same for all losses.
 *
 * The true class is left out of the sum `others` of the exponentials, so that nothing cancels in 1 - p where
 * p is close to 1. */
#ifndef FL_SOFTMAX_H
#define FL_SOFTMAX_H

#include "kernels/rows/exponentials.h"

/* What a loss is computed from: the true class's cost -log p, its probability p, and q = 1 - p. */
typedef struct {
    pair cost, p, q;
} true_class;

/* A loss as a function of the cost: its value, its first derivative, and q times its second derivative, which
 * by itself may be infinite where q is 0. */
typedef struct {
    pair value, slope, bend;
} link;

typedef link link_function(true_class z, params c);

/* ---- between the sweeps: what a row costs --------------------------------------------------------- */

/* Whether the compiler knows that x is that number. */
#define FL_IS(x, number) (__builtin_constant_p(x) && (x) == R(number))

static FL_INLINE pair fl_pair_lowered(pair a) { return fl_pair(fl_lowered(a.hi), fl_lowered(a.lo)); }

/* The factors of the last sweep for each row: a class whose exponential is e in `grad` has the derivatives
 * (e first) unit and (e second) second_unit (bend e + slope) down. Units are 1, or bring a product back into
 * the range that would have lost digits below it; that of an absent row is 0. Where bend and slope are small
 * they are lifted, and `down` takes the lift away. The true class and the top class, which may be the same,
 * have formulas of their own. */
typedef struct {
    row_pairs first, second, slope, bend;
    real unit[FL_TILE_ROWS], second_unit[FL_TILE_ROWS], down[FL_TILE_ROWS];
    real grad_mine[FL_TILE_ROWS], grad_top[FL_TILE_ROWS], hess_mine[FL_TILE_ROWS], hess_top[FL_TILE_ROWS];
} factors;

/* Computes the loss's value and the factors from what the sweeps have found. Together with the Hessian it
 * computes no value, which costs a logarithm and is hardly ever wanted there. */
static FL_INLINE void fl_link(link_function *f, int derivatives, const fl_tile *t, const row_sums *found,
                              const exponentials *e, params c, real scale, factors *out)
{
    const real *weight = t->weight;
    real *value = t->value;
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const real top = found->top[i], mine = found->mine[i], one = FL_LIFTED_ONE;
        const real w = weight[i], wf = w * scale;
        const int hit = found->hit[i], absent = w == R(0);
        const pair own = FL_AT(e->own, i), others = FL_AT(e->others, i), e_top = FL_AT(e->top, i),
                   none = fl_exact(R(0));
        const pair both = fl_plus(own, others), sum = fl_fast_sum(both.hi, both.lo),
                   inverse = fl_inverse(sum);
        /* the sum relative to e^top, and its logarithm, whose digits are those of `others` where that is
         * small */
        const pair above = fl_times(fl_select(hit, others, sum), fl_inverse(e_top));
        const pair relative = fl_select(hit, fl_one_plus(above), above);
        const pair log_sum = fl_log_normal(relative.hi, R(0), relative.lo * (inverse.hi * e_top.hi));
        const pair gap = fl_select(hit, none, fl_sum(top, -mine));
        const true_class z = { fl_plus(gap, log_sum), fl_times(own, inverse), fl_times(others, inverse) };
        const link k = f(z, c);
        if (derivatives < 2)
            value[i] = absent ? R(0) : w * fl_rounded(k.value);
        if (derivatives) {
            const pair whole = fl_pair(one * inverse.hi, one * inverse.lo);
            const int plain = FL_IS(k.slope.hi, 1) && FL_IS(k.slope.lo, 0); /* cross-entropy's */
            const pair lead = plain ? fl_scale(wf, whole) : fl_times(fl_scale(wf, k.slope), whole);
            const int flat = fl_fabs(lead.hi) < FL_FLAT;
            const pair first = fl_select(flat, lead, fl_pair_lowered(lead));
            const real unit = absent ? R(0) : flat ? fl_lowered(R(1)) : R(1);
            FL_SET(out->first, i, first);
            out->unit[i] = unit;
            /* one of q and the slope may be so small that it has lost digits which a large weight would show
             */
            const real by_sum = unit * fl_times_rounded(first, others),
                       mine_first = plain || z.q.hi < R(0.5) ? by_sum : wf * fl_times_rounded(k.slope, z.q);
            out->grad_mine[i] = absent ? R(0) : -mine_first;
            out->grad_top[i] = absent ? R(0) : fl_times_rounded(lead, fl_pair_lowered(e_top));
            if (derivatives > 1) {
                const pair factor = fl_scale(wf, whole), p_top = fl_times(e_top, inverse);
                const int steep = fl_fabs(factor.hi) > R(1);
                const pair second = fl_select(steep, fl_pair_lowered(factor), factor);
                const int straight = FL_IS(k.bend.hi, 0); /* saves cross-entropy a division */
                const pair share = straight ? none : fl_select(others.hi == R(0), none, fl_inverse(others));
                const pair q_top = fl_times(FL_AT(found->rest, i), inverse);
                const int slack = fl_fabs(k.slope.hi) < R(1), slight = fl_fabs(k.bend.hi) < R(1);
                const real lift = slack ? one : R(1);
                const pair slope = fl_scale(lift, k.slope),
                           turn = straight ? none : fl_times(fl_scale(lift, k.bend), share);
                const pair turn_top = straight ? none
                                               : fl_select(slight, fl_times(fl_times(e_top, k.bend), share),
                                                           fl_times(e_top, fl_times(k.bend, share)));
                FL_SET(out->second, i, second);
                FL_SET(out->slope, i, slope);
                FL_SET(out->bend, i, fl_plus(turn, fl_negative(fl_times(slope, inverse))));
                out->second_unit[i] = steep ? R(1) : fl_lowered(R(1));
                out->down[i] = slack ? fl_lowered(R(1)) : R(1);
                out->hess_mine[i] =
                    absent ? R(0) : wf * fl_times_rounded(z.q, fl_plus(k.bend, fl_times(k.slope, z.p)));
                out->hess_top[i] =
                    absent ? R(0) : wf * fl_times_rounded(p_top, fl_plus(fl_times(k.slope, q_top), turn_top));
            }
        }
    }
}

/* ---- the last sweep: derivatives ------------------------------------------------------------------ */

/* The derivative of a class whose exponential is e + lost. */
static FL_INLINE real fl_first(real e, real lost, pair first)
{
    return fl_fma(e, first.hi, fl_fma(e, first.lo, lost * first.hi));
}

/* The derivatives by the two scores of each row are opposite, the second derivatives equal. */
static __attribute__((noinline)) void FL_NAME(fl_derivatives_of_two)(const fl_tile *t, const factors *f)
{
    for (ptrdiff_t i = 0; i < fl_padded(t); i += FL_LANES) {
        real *first = fl_cell(t, t->grad, i, 0), *second = fl_cell(t, t->grad, i, 1);
        real *bend = t->hess.data ? fl_cell(t, t->hess, i, 0) : NULL,
             *bend_too = t->hess.data ? fl_cell(t, t->hess, i, 1) : NULL;
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const real mine = f->grad_mine[i + l], other = R(0) - mine;
            first[l] = t->label[i + l] == 1 ? other : mine;
            second[l] = t->label[i + l] == 1 ? mine : other;
        }
        if (bend)
            for (int l = 0; l < FL_LANES; l++)
                bend[l] = bend_too[l] = f->hess_mine[i + l];
    }
}

/* Replaces the exponentials in `grad` by derivatives. Rows whose unit is not 1 are rare. */
static FL_INLINE void fl_gradient_strip(const fl_tile *t, ptrdiff_t i, const factors *f)
{
    const int looks = fl_looks(t);
    real zeros[FL_LANES] = { 0 }, hi[FL_LANES], lo[FL_LANES], unit[FL_LANES], where[FL_LANES], mine[FL_LANES];
    strip grad = fl_strip(t, t->grad, i, R(0)), lost = fl_lost(t, i, zeros);
    int special = 0;
#pragma omp simd reduction(| : special)
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        hi[l] = f->first.hi[row], lo[l] = f->first.lo[row], unit[l] = f->unit[row];
        where[l] = looks ? (real)t->label[row] : R(-1), mine[l] = f->grad_mine[row];
        special |= unit[l] != R(1);
    }
    FL_EACH_GROUP(t)
    {
        real *x = FL_GROUP(grad);
        const real *less = t->across ? FL_GROUP(lost) : zeros;
        fl_prefetch(t, &grad, g, FL_AHEAD);
        if (!special && !looks)
#pragma omp simd
            for (int l = 0; l < FL_LANES; l++)
                x[l] = fl_first(x[l], t->across ? less[l] : R(0), fl_pair(hi[l], lo[l]));
        else if (!special)
#pragma omp simd
            for (int l = 0; l < FL_LANES; l++) {
                const real first = fl_first(x[l], less[l], fl_pair(hi[l], lo[l]));
                x[l] = where[l] == (real)g ? mine[l] : first;
            }
        else
#pragma omp simd
            for (int l = 0; l < FL_LANES; l++) {
                const real first = fl_first(x[l], t->across ? less[l] : R(0), fl_pair(hi[l], lo[l]));
                const real other = unit[l] == R(0) ? R(0) : first * unit[l];
                x[l] = where[l] == (real)g ? mine[l] : other;
            }
    }
    fl_flush(t, &grad);
}

/* The same, and the second derivatives. With `fine` a loss may have a bend. */
static FL_INLINE void fl_hessian_strip(const fl_tile *t, int fine, ptrdiff_t i, const row_sums *found,
                                       const factors *f)
{
    real zeros[FL_LANES] = { 0 };
    strip grad = fl_strip(t, t->grad, i, R(0)), hess = fl_strip(t, t->hess, i, R(0)),
          lost = fl_lost(t, i, zeros);
    const int looks = fl_looks(t);
    real where[FL_LANES], at[FL_LANES];
    factors lane;
#pragma omp simd
    for (int l = 0; l < FL_LANES; l++) {
        const ptrdiff_t row = fl_row(t, i, l);
        FL_SET(lane.first, l, FL_AT(f->first, row));
        FL_SET(lane.second, l, FL_AT(f->second, row));
        FL_SET(lane.slope, l, FL_AT(f->slope, row));
        FL_SET(lane.bend, l, FL_AT(f->bend, row));
        lane.unit[l] = f->unit[row], lane.second_unit[l] = f->second_unit[row], lane.down[l] = f->down[row];
        lane.grad_mine[l] = f->grad_mine[row];
        lane.hess_mine[l] = f->hess_mine[row], lane.hess_top[l] = f->hess_top[row];
        where[l] = looks ? (real)t->label[row] : R(-1);
        at[l] = looks ? (real)found->best[row] : R(-1);
    }
    FL_EACH_GROUP(t)
    {
        real *x = FL_GROUP(grad), *h = FL_GROUP(hess), here = (real)g;
        const real *less = t->across ? FL_GROUP(lost) : zeros;
        fl_prefetch(t, &grad, g, FL_AHEAD);
        fl_prefetch(t, &hess, g, FL_AHEAD);
#pragma omp simd
        for (int l = 0; l < FL_LANES; l++) {
            const int absent = lane.unit[l] == R(0);
            const pair e = fl_pair(x[l], t->across ? less[l] : R(0)), slopes = FL_AT(lane.slope, l);
            const real first = fl_first(e.hi, e.lo, FL_AT(lane.first, l));
            const pair share = fl_times(e, FL_AT(lane.second, l)), bend = fl_times(e, FL_AT(lane.bend, l));
            /* for cross-entropy, which is not `fine`, this is 1 - p */
            const pair near = fl_fast_sum(slopes.hi, bend.hi), rest = fl_pair(near.hi, near.lo + bend.lo);
            const pair turn = fine ? fl_plus(slopes, bend) : rest;
            const real second = fl_times_rounded(share, turn) * lane.second_unit[l] * lane.down[l];
            const int mine = where[l] == here, top = at[l] == here;
            h[l] = mine ? lane.hess_mine[l] : top ? lane.hess_top[l] : absent ? R(0) : second;
            x[l] = mine ? lane.grad_mine[l] : absent ? R(0) : first * lane.unit[l];
        }
    }
    fl_flush(t, &grad);
    fl_flush(t, &hess);
}

/* Sets what has been found for the true class of each row. */
static FL_INLINE void fl_set_mine(const fl_tile *t, fl_rows m, const real *mine)
{
    for (ptrdiff_t row = 0; row < t->rows; row++)
        if (t->label[row] >= 0)
            *fl_cell(t, m, row, t->label[row]) = mine[row];
}

/* Sets what has been found for the top class of each row that is not the true one; with `infinite` only where
 * its score is infinite, since its exponential is then none. */
static FL_INLINE void fl_set_tops(const fl_tile *t, fl_rows m, int infinite, const row_sums *found,
                                  const real *top)
{
    for (ptrdiff_t row = 0; row < t->rows; row++)
        if (found->best[row] >= 0 && !found->hit[row] && (!infinite || fl_fabs(found->top[row]) == FL_INF))
            *fl_cell(t, m, row, found->best[row]) = top[row];
}

/* The top class has a gradient like any other, but in strips along rows, which have no exponential of it. */
static FL_INLINE void fl_set_gradients(const fl_tile *t, const row_sums *found, const factors *f)
{
    if (!fl_looks(t))
        fl_set_mine(t, t->grad, f->grad_mine);
    if (!t->across || fl_any_infinite(t, found))
        fl_set_tops(t, t->grad, t->across, found, f->grad_top);
}

static FL_INLINE void fl_gradient_sweep(const fl_tile *t, const row_sums *found, const factors *f)
{
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_gradient_strip(t, i, f);
    fl_set_gradients(t, found, f);
}

static FL_INLINE void fl_hessian_sweep(const fl_tile *t, int fine, const row_sums *found, const factors *f)
{
    for (ptrdiff_t i = 0; i < fl_strips(t); i++)
        fl_hessian_strip(t, fine, i, found, f);
    fl_set_gradients(t, found, f);
    if (!fl_looks(t)) {
        fl_set_mine(t, t->hess, f->hess_mine);
        fl_set_tops(t, t->hess, 0, found, f->hess_top);
    }
}

#define ARGUMENTS const row_sums *found, const factors *f
FL_SWEEP(fl_gradients, fl_gradient_sweep(&of_kind, found, f), ARGUMENTS)
FL_SWEEP(fl_hessians, fl_hessian_sweep(&of_kind, 0, found, f), ARGUMENTS)
FL_SWEEP(fl_fine_hessians, fl_hessian_sweep(&of_kind, 1, found, f), ARGUMENTS)
#undef ARGUMENTS

/* ---- a tile --------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void FL_NAME(fl_lse)(const fl_tile *t, const row_sums *found)
{
    real *lse = t->lse;
#pragma omp simd
    for (ptrdiff_t i = 0; i < fl_padded(t); i++) {
        const pair sum = fl_one_plus(fl_pair_lowered(FL_AT(found->rest, i)));
        lse[i] = fl_rounded(fl_plus(fl_exact(found->top[i]), fl_log_of(sum)));
    }
}

/* Counts the rows whose top class is the true one, sets lse, and returns the sum of the values where these
 * are wanted. */
static FL_INLINE double fl_finish_rows(const fl_tile *t, const row_sums *found)
{
    const real *weight = t->weight;
    int correct = 0;
    for (ptrdiff_t row = 0; row < t->rows; row++)
        correct += found->hit[row] & (weight[row] != R(0)) & (found->rest.hi[row] < FL_INF); /* no NaN */
    *t->correct = correct;
    if (t->lse)
        FL_NAME(fl_lse)(t, found);
    return t->valued ? fl_row_sum(t) : 0;
}

/* Makes `rest` relative to e^top, as lse wants it. */
static FL_INLINE void fl_relate_to_top(const fl_tile *t, row_sums *found, const exponentials *e)
{
#pragma omp simd
    for (ptrdiff_t row = 0; row < fl_padded(t); row++) {
        const pair ratio = fl_times(FL_AT(found->rest, row), fl_inverse(FL_AT(e->top, row)));
        FL_SET(found->rest, row, fl_pair(ratio.hi * FL_LIFTED_ONE, ratio.lo * FL_LIFTED_ONE));
    }
}

static FL_INLINE int fl_softmax_rows(link_function *f, int fine, const fl_tile *t)
{
    const double *k = t->constants;
    const real scale = (real)t->scale;
    const params c = { (real)k[0], (real)k[1], (real)k[2], (real)k[3] };
    row_sums found;
    exponentials e;
    factors out;

    /* the second derivative by the top class's score needs the sum of all others */
    fl_exponential_rows(t, t->hess.data || t->lse, fine, &found, &e);
    if (!t->grad.data || (t->hess.data && t->valued))
        fl_link(f, 0, t, &found, &e, c, scale, &out);
    if (t->hess.data) {
        fl_link(f, 2, t, &found, &e, c, scale, &out);
        if (t->classes == 2)
            FL_NAME(fl_derivatives_of_two)(t, &out);
        else if (fine)
            FL_NAME(fl_fine_hessians)(t, &found, &out);
        else
            FL_NAME(fl_hessians)(t, &found, &out);
    } else if (t->grad.data) {
        fl_link(f, 1, t, &found, &e, c, scale, &out);
        if (t->classes == 2)
            FL_NAME(fl_derivatives_of_two)(t, &out);
        else
            FL_NAME(fl_gradients)(t, &found, &out);
    }
    if (t->lse)
        fl_relate_to_top(t, &found, &e);
    *t->sum = fl_finish_rows(t, &found);
    return 0;
}

#endif
