/* lib/media/visual.c - how many patches and tokens a grid has. */
#include "media/visual.h"

size_t ral_visual_tokens(size_t t, size_t h, size_t w, size_t merge)
{
    return t * (h / merge) * (w / merge);
}

size_t ral_visual_rows(const struct ral_visual *v)
{
    return v->t * v->h * v->w;
}
