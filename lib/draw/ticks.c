/* lib/draw/ticks.c - round numbers for an axis. */
#include "draw/ticks.h"

#include <math.h>
#include <stdio.h>

static void write_tick(char *text, size_t room, double v, double step)
{
    const double big = fmax(fabs(v), step);
    int digits = (int)-floor(log10(step) + 1e-9);

    if (digits < 0)
        digits = 0;
    if (v == 0)
        snprintf(text, room, "0");
    else if (big >= 1e5 || step < 1e-4)
        snprintf(text, room, "%.3g", v);
    else
        snprintf(text, room, "%.*f", digits, v);
}

void ral_ticks_make(struct ral_ticks *t, double lo, double hi, size_t most)
{
    static const double steps[3] = {1, 2, 5};
    double step = 0, first;

    t->n = 0;
    if (!(hi > lo) || !isfinite(hi - lo) || most < 2)
        return;
    if (most > RAL_TICKS_MOST)
        most = RAL_TICKS_MOST;
    // The smallest step that needs no more than `most` numbers.
    for (double p = pow(10, floor(log10((hi - lo) / (double)most)));; p *= 10) {
        for (int i = 0; i < 3 && !step; i++)
            if (floor(hi / (p * steps[i]) + 1e-9) -
                    ceil(lo / (p * steps[i]) - 1e-9) + 1 <=
                (double)most)
                step = p * steps[i];
        if (step)
            break;
    }
    first = ceil(lo / step - 1e-9);
    while (t->n < most && (first + (double)t->n) * step <= hi + 1e-9 * step) {
        t->at[t->n] = (first + (double)t->n) * step;
        write_tick(t->text[t->n], sizeof t->text[0], t->at[t->n], step);
        t->n++;
    }
}
