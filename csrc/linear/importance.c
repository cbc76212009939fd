/* The score after an importance-aware step, found by integrating the differential equation that the score
 * follows. */
#include "linear/importance.h"
#include "drivers/operands.h"

#include <math.h>

/* The integral from the current score to another is computed by two rules, whose difference tells the error:
 * that of Gauss and Kronrod with 15 points on [0, 1], and that of Gauss with 7, which are every other one of
 * these points. */
enum { POINTS = 15, END = POINTS, MOST_PARTS = 1000 };
static const double abscissas[POINTS] = {
    0.0042723144395936941, 0.025446043828620757, 0.067567788320115452, 0.12923440720030277,
    0.20695638226615443,   0.29707742431130141,  0.39610752249605075,  0.5,
    0.60389247750394925,   0.70292257568869854,  0.79304361773384557,  0.87076559279969723,
    0.93243221167988455,   0.97455395617137919,  0.99572768556040625
};
static const double kronrod[POINTS] = { 0.011467661005264612, 0.031546046314989279, 0.052395005161125094,
                                        0.070326629857762959, 0.084502363319633955, 0.09517528903239271,
                                        0.10221647003764944,  0.10474107054236391,  0.10221647003764944,
                                        0.09517528903239271,  0.084502363319633955, 0.070326629857762959,
                                        0.052395005161125094, 0.031546046314989279, 0.011467661005264612 };
static const double gauss[POINTS] = { 0, 0.064742483084434851, 0, 0.13985269574463832, 0, 0.19091502525255946,
                                      0, 0.2089795918367347,   0, 0.19091502525255946, 0, 0.13985269574463832,
                                      0, 0.064742483084434851, 0 };

typedef struct {
    fl_kernel *kernel;
    const double *constants;
    double y;
} slope;

/* Sets the slopes at the rule's points between s and s + d, and behind them, at END, that at s + d. */
static void slopes(const slope *f, double s, double d, double *grads)
{
    double y[FL_LANES], scores[FL_LANES], sum;
    const fl_block block = { .n = FL_LANES,
                             .inputs = 2,
                             .outputs = 1,
                             .in = { y, scores },
                             .out = { grads },
                             .weight = fl_ones(sizeof(double), FL_LANES),
                             .constants = f->constants,
                             .scale = 1,
                             .sum = &sum };
    for (int i = 0; i < FL_LANES; i++) {
        y[i] = f->y;
        scores[i] = s + (i < POINTS ? abscissas[i] : 1) * d;
    }
    f->kernel(&block);
}

/* The time that the score takes from s to s + d is the integral of ds / -slope(s), however long d is. d is
 * shortened where the two rules do not agree, where it would take more time than is left, and where the slope
 * changes its sign: the score never gets beyond a minimum. */
double fl_score_after(fl_kernel *kernel, const double *constants, double y, double score, double time)
{
    const slope f = { kernel, constants, y };
    double s = score, left = time, most = 1e300, grads[FL_LANES];
    slopes(&f, s, 0, grads);
    double here = grads[END];
    if (!(fabs(here) < INFINITY && fabs(time) < INFINITY))
        return NAN;
    for (int i = 0; i < MOST_PARTS && left > 1e-10 * time && here != 0; i++) {
        const double all = fabs(here * left), length = all < most ? all : most, d = copysign(length, -here);
        if (s + d == s || length <= 1e-10 * fabs(s - score))
            break;
        slopes(&f, s, d, grads);
        double fine = 0, coarse = 0;
        int along = 0;
        for (; along < END && grads[along] * here > 0; along++) {
            fine += kronrod[along] * (length / fabs(grads[along]));
            coarse += gauss[along] * (length / fabs(grads[along]));
        }
        if (along < END || !(grads[END] * here > 0)) {
            most = length * (along ? abscissas[along - 1] : abscissas[0] / 2);
        } else if (!(fabs(fine - coarse) <= 1e-8 * time)) {
            most = length / 2;
        } else if (fine >
                   left * (1 + 1e-12)) { /* Newton's step back from the end, unless it leads beyond s */
            const double back = length - (fine - left) * fabs(grads[END]);
            most = back > 0 && back < length ? back : length * (left / fine);
        } else {
            s += d;
            left -= fine;
            here = grads[END];
            most = 4 * length;
        }
    }
    return s;
}

void fl_importance_step(const fl_steps_call *call, double rate, double plain, double y, double weight,
                        double score, ptrdiff_t n, double *row)
{
    double square = call->fit_intercept ? call->intercept_rate : 0;
    for (ptrdiff_t j = 0; j < n; j++)
        square += row[j] * row[j];
    const double speed = rate * square, time = speed * weight;
    const double end = fl_score_after(call->slope, call->slope_constants, y, score, time);
    const double g = time == 0 ? plain : (score - end) / speed;
    for (ptrdiff_t j = 0; j <= n; j++)
        row[j] *= g;
}
