/* lib/synth/family.h - a family of made-up pictures with questions. */
#ifndef RAL_FAMILY_H
#define RAL_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"
#include "draw/canvas.h"

enum { RAL_SYNTH_ASK_MOST = 16 };

enum ral_split { RAL_TRAIN, RAL_VALIDATION, RAL_TEST, RAL_SPLITS };

/* What to make. Families refuse what they cannot do. */
struct ral_synth_spec {
    enum ral_split split;
    uint64_t seed;
    size_t rows;
    size_t cells;     // a side of the grid
    size_t objects;   // in a picture
    size_t clutter;   // grey dots and strokes in a picture
    size_t colours;   // of which objects are drawn
    size_t shapes;    // likewise
    size_t questions; // about a picture
    double naming;    // share of rows that name a single object, 0 to 1
};

struct ral_synth_question {
    char text[120], answer[24];
    const char *category;
    size_t box[4]; // x0, y0, x1, y1 of the evidence, pixels, x0 <= x < x1
};

struct ral_synth_picture {
    struct ral_canvas *canvas;
    size_t n_questions;
    struct ral_synth_question question[RAL_SYNTH_ASK_MOST];
};

/**
 * One family is one file with one of these, and a line in family.c.
 *
 * A scene is planned before it is drawn. Its content, written as text,
 * decides the split to which it belongs, so no two splits share a scene,
 * whatever their seeds; how it is drawn in detail (size, place in the cell,
 * clutter) is left to draw.
 */
struct ral_family {
    const char *name, *summary;
    size_t scene_size;
    /* 0, or -RAL_EUSAGE for settings that cannot be. */
    int (*check)(const struct ral_synth_spec *s, struct ral_err *err);
    /* Fills scene. naming: an easy scene with one thing to be named. */
    void (*plan)(const struct ral_synth_spec *s, bool naming,
                 struct ral_rng *rng, void *scene);
    /* Appends the content of scene as text that is equal for equal scenes. */
    int (*content)(const void *scene, struct ral_buf *text);
    /* Draws it and asks; the caller closes the canvas, after errors too. */
    int (*draw)(const struct ral_synth_spec *s, const void *scene,
                struct ral_rng *rng, struct ral_synth_picture *out,
                struct ral_err *err);
};

/* The family of that name; err names those that there are. 0 or -RAL_EUSAGE. */
int ral_family_find(const struct ral_family **family, const char *name,
                    struct ral_err *err);

/* "train", "validation", "test". */
const char *ral_split_name(enum ral_split split);
/* -RAL_EUSAGE for any other name. */
int ral_split_find(enum ral_split *split, const char *name,
                   struct ral_err *err);

#endif
