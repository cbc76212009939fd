/* Sums whose order is fixed: each rounds once, at the end, and the number of terms alone says who is added to
 * whom. */
#ifndef FL_SUM_H
#define FL_SUM_H

#include <stdint.h>

/* An unevaluated sum hi + lo. */
typedef struct {
    double hi, lo;
} fl_total;

static inline fl_total fl_total_add(fl_total a, fl_total b)
{
    const double hi = a.hi + b.hi, v = hi - a.hi;
    return (fl_total){ hi, ((a.hi - (hi - v)) + (b.hi - v)) + (a.lo + b.lo) };
}

static inline double fl_total_rounded(fl_total a)
{
    const double sum = a.hi + a.lo;
    return sum == sum ? sum : a.hi; /* lo is NaN where hi is infinite */
}

/* Adds numbers as a binary tree whose shape depends on their count alone: level i holds the sum of 2^i of
 * them. An empty tree is one of count 0, whatever its levels hold. */
typedef struct {
    fl_total level[64];
    uint64_t count;
} fl_sum_tree;

static inline void fl_tree_add(fl_sum_tree *t, fl_total x)
{
    int i = 0;
    for (uint64_t full = t->count++; full & 1; full >>= 1)
        x = fl_total_add(t->level[i++], x);
    t->level[i] = x;
}

static inline fl_total fl_tree_sum(const fl_sum_tree *t)
{
    fl_total sum = { 0, 0 };
    for (int i = 0; i < 64; i++)
        if (t->count >> i & 1)
            sum = fl_total_add(t->level[i], sum);
    return sum;
}

#endif
