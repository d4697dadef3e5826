/* lib/synth/search.c - visual search: one thing to look for among others. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "synth/family.h"

/*
 * An object lies inside one cell of 28 pixels, which is one visual token of
 * the Qwen2-VL family (patch 14, merge 2): objects that straddle tokens are
 * far harder for a small model.
 */
enum { CELL = 28, CELLS_MOST = 32, LEAST = 16, MOST = 22, COLOURS = 6 };

static const struct {
    const char *name;
    uint32_t rgb;
} colour[COLOURS] = {
    // any first k of them stay far apart
    {"red", 0xd63e4a},   {"blue", 0x2f74c0},   {"yellow", 0xf0bd27},
    {"green", 0x3fa35b}, {"purple", 0x8a4fb0}, {"orange", 0xee7a30},
};

struct object {
    size_t x, y; // its cell
    enum ral_shape shape;
    size_t colour;
};

struct scene {
    bool naming;
    size_t n;
    struct object object[RAL_SHAPES]; // sorted by y, then x
};

static int check_range(const char *name, size_t v, size_t lo, size_t hi,
                       struct ral_err *err)
{
    if (v >= lo && v <= hi)
        return 0;
    return ral_err_set(err, -RAL_EUSAGE, "%s must be between %zu and %zu", name,
                       lo, hi);
}

static int check(const struct ral_synth_spec *s, struct ral_err *err)
{
    int rc;

    if ((rc = check_range("--cells", s->cells, 1, CELLS_MOST, err)) < 0 ||
        (rc = check_range("--colours", s->colours, 1, COLOURS, err)) < 0 ||
        (rc = check_range("--shapes", s->shapes, 1, RAL_SHAPES, err)) < 0 ||
        (rc = check_range("--clutter", s->clutter, 0, 10000, err)) < 0)
        return rc;
    if (s->objects < 1 || s->objects > s->shapes)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--objects must be between 1 and the %zu shapes, "
                           "for no picture shows a shape twice",
                           s->shapes);
    if (s->objects > s->cells * s->cells)
        return ral_err_set(err, -RAL_EUSAGE,
                           "%zu objects do not fit into %zux%zu cells",
                           s->objects, s->cells, s->cells);
    if (s->questions < 1 || s->questions > s->objects)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--questions must be between 1 and the %zu objects",
                           s->objects);
    return 0;
}

/* k different numbers below n in order[0 .. k-1]; order has room for n. */
static void draw_lots(struct ral_rng *rng, size_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    ral_rng_permute(rng, order, n);
}

static void plan(const struct ral_synth_spec *s, bool naming,
                 struct ral_rng *rng, void *out)
{
    size_t cells[CELLS_MOST * CELLS_MOST], shapes[RAL_SHAPES];
    struct scene *sc = out;

    *sc = (struct scene){.naming = naming, .n = naming ? 1 : s->objects};
    draw_lots(rng, cells, s->cells * s->cells);
    draw_lots(rng, shapes, s->shapes);
    for (size_t i = 0; i < sc->n; i++) {
        struct object o = {cells[i] % s->cells, cells[i] / s->cells,
                           (enum ral_shape)shapes[i],
                           ral_rng_below(rng, s->colours)};
        size_t k = i;

        for (; k && (sc->object[k - 1].y > o.y ||
                     (sc->object[k - 1].y == o.y && sc->object[k - 1].x > o.x));
             k--)
            sc->object[k] = sc->object[k - 1];
        sc->object[k] = o;
    }
}

/* Neither the grid's size nor the task counts: what is seen decides. */
static int content(const void *scene, struct ral_buf *text)
{
    const struct scene *sc = scene;
    int rc = ral_buf_printf(text, "search");

    for (size_t i = 0; i < sc->n && rc == 0; i++) {
        const struct object *o = &sc->object[i];

        rc = ral_buf_printf(text, ";%zu,%zu,%s,%s", o->x, o->y,
                            ral_shape_name(o->shape), colour[o->colour].name);
    }
    return rc;
}

static double between(struct ral_rng *rng, double lo, double hi)
{
    return lo + (hi - lo) * ral_rng_uniform(rng);
}

static bool apart(const struct ral_rect *a, const struct ral_rect *b, double by)
{
    return a->x1 + by <= b->x0 || b->x1 + by <= a->x0 || a->y1 + by <= b->y0 ||
           b->y1 + by <= a->y0;
}

/* A grey dot or short stroke that touches no object; or none for want of room.
 */
static void draw_clutter(struct ral_canvas *c, struct ral_rng *rng,
                         const struct ral_rect *box, size_t n)
{
    static const uint32_t grey[3] = {0xb3b8c0, 0xc4c8cf, 0xa3a9b3};
    const double w = (double)ral_canvas_width(c);
    const double h = (double)ral_canvas_height(c);

    for (int tries = 0; tries < 40; tries++) {
        const bool dot = ral_rng_below(rng, 2);
        const double r = dot ? between(rng, 1.2, 2.2) : between(rng, 2, 4.5);
        const double turn = between(rng, 0, M_PI);
        const double dx = dot ? 0 : r * cos(turn), dy = dot ? 0 : r * sin(turn);
        const double x = between(rng, 5.5, w - 5.5);
        const double y = between(rng, 5.5, h - 5.5);
        const uint32_t ink = grey[ral_rng_below(rng, 3)];
        const double rx = dot ? r : fabs(dx) + 0.8,
                     ry = dot ? r : fabs(dy) + 0.8;
        const struct ral_rect mine = {x - rx, y - ry, x + rx, y + ry};
        size_t i = 0;

        while (i < n && apart(&mine, &box[i], 1.5))
            i++;
        if (i < n)
            continue;
        if (dot)
            ral_canvas_disc(c, x, y, r, ink, 1);
        else
            ral_canvas_line(c,
                            (double[2][2]){{x - dx, y - dy}, {x + dx, y + dy}},
                            2, 1.6, ink, 1);
        return;
    }
}

static void ask(const struct scene *sc, size_t i, const struct ral_rect *r,
                struct ral_synth_question *q)
{
    const struct object *o = &sc->object[i];
    const char *shape = ral_shape_name(o->shape);

    if (sc->naming) {
        snprintf(q->text, sizeof q->text, "What shape is it?");
        snprintf(q->answer, sizeof q->answer, "%s", shape);
        q->category = "shape";
    } else {
        snprintf(q->text, sizeof q->text, "What colour is the %s?", shape);
        snprintf(q->answer, sizeof q->answer, "%s", colour[o->colour].name);
        q->category = "colour";
    }
    q->box[0] = (size_t)floor(r->x0);
    q->box[1] = (size_t)floor(r->y0);
    q->box[2] = (size_t)ceil(r->x1);
    q->box[3] = (size_t)ceil(r->y1);
}

static int draw(const struct ral_synth_spec *s, const void *scene,
                struct ral_rng *rng, struct ral_synth_picture *out,
                struct ral_err *err)
{
    const struct scene *sc = scene;
    struct ral_rect box[RAL_SHAPES];
    size_t order[RAL_SHAPES];
    int rc;

    if ((rc = ral_canvas_open(&out->canvas, CELL * s->cells, CELL * s->cells,
                              0xffffff, err)) < 0)
        return rc;
    for (size_t i = 0; i < sc->n; i++) {
        const struct object *o = &sc->object[i];
        const double size = between(rng, LEAST, MOST);
        const double room = CELL / 2.0 - 1 - size / 2; // a pixel of margin
        const double x =
            CELL * ((double)o->x + 0.5) + between(rng, -room, room);
        const double y =
            CELL * ((double)o->y + 0.5) + between(rng, -room, room);

        ral_canvas_shape(out->canvas, o->shape, x, y, size,
                         colour[o->colour].rgb, &box[i]);
    }
    for (size_t i = 0; i < s->clutter; i++)
        draw_clutter(out->canvas, rng, box, sc->n);
    draw_lots(rng, order, sc->n);
    out->n_questions = sc->naming ? 1 : s->questions;
    for (size_t i = 0; i < out->n_questions; i++)
        ask(sc, order[i], &box[order[i]], &out->question[i]);
    return 0;
}

extern const struct ral_family ral_family_search;
const struct ral_family ral_family_search = {
    .name = "search",
    .summary = "what colour is the star, among other things",
    .scene_size = sizeof(struct scene),
    .check = check,
    .plan = plan,
    .content = content,
    .draw = draw,
};
