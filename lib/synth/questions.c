/* lib/synth/questions.c - planning, splitting and drawing, row by row. */
#include "synth/questions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { TRIES = 100000 };

/* A picture whose questions are handed out one by one. */
struct source {
    size_t number, asked;
    struct ral_synth_picture picture;
};

struct ral_questions {
    const struct ral_family *family;
    struct ral_synth_spec spec;
    size_t rows, pictures; // so far
    struct source from[2]; // scenes, and namings
    void *scene;
    struct ral_buf text;
};

int ral_questions_open(struct ral_questions **out,
                       const struct ral_family *family,
                       const struct ral_synth_spec *spec, struct ral_err *err)
{
    struct ral_questions *q;
    int rc;

    *out = NULL;
    if (!spec->rows || spec->rows > 100000000)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--rows must be between 1 and 100000000");
    if (!(spec->naming >= 0 && spec->naming <= 1))
        return ral_err_set(err, -RAL_EUSAGE,
                           "--naming must be a fraction between 0 and 1");
    if (spec->questions > RAL_SYNTH_ASK_MOST)
        return ral_err_set(err, -RAL_EUSAGE, "--questions must be at most %d",
                           RAL_SYNTH_ASK_MOST);
    if ((rc = family->check(spec, err)) < 0)
        return rc;
    if (!(q = calloc(1, sizeof *q)) ||
        !(q->scene = calloc(1, family->scene_size))) {
        ral_questions_close(q);
        return ral_err_nomem(err, "synth");
    }
    q->family = family;
    q->spec = *spec;
    *out = q;
    return 0;
}

void ral_questions_close(struct ral_questions *q)
{
    if (!q)
        return;
    for (int i = 0; i < 2; i++)
        ral_canvas_close(q->from[i].picture.canvas);
    ral_buf_release(&q->text);
    free(q->scene);
    free(q);
}

/* The split that a scene belongs to, for ever. XXH3 is a fixed format. */
static enum ral_split split_of(const struct ral_buf *text)
{
    const uint64_t tenth = XXH3_64bits(text->data, text->len) % 10;

    return tenth == 0 ? RAL_TEST : tenth == 1 ? RAL_VALIDATION : RAL_TRAIN;
}

/* Plans scenes until one falls into the split, and draws that. */
static int new_picture(struct ral_questions *q, bool naming,
                       struct source *from, struct ral_err *err)
{
    const uint64_t stream =
        XXH3_64bits(q->family->name, strlen(q->family->name)) +
        (uint64_t)q->spec.split;
    struct ral_rng rng;
    int rc;

    ral_canvas_close(from->picture.canvas);
    *from = (struct source){.number = ++q->pictures};
    ral_rng_init(&rng, q->spec.seed, stream, (uint32_t)q->pictures);
    for (int i = 0; i < TRIES; i++) {
        q->family->plan(&q->spec, naming, &rng, q->scene);
        q->text.len = 0;
        if (q->family->content(q->scene, &q->text) < 0)
            return ral_err_nomem(err, "synth");
        if (split_of(&q->text) != q->spec.split)
            continue;
        rc = q->family->draw(&q->spec, q->scene, &rng, &from->picture, err);
        return rc;
    }
    return ral_err_set(err, -RAL_EUSAGE,
                       "none of the few scenes of these settings belongs to "
                       "split %s; allow more cells, shapes or colours",
                       ral_split_name(q->spec.split));
}

int ral_questions_next(struct ral_questions *q, struct ral_question_row *row,
                       struct ral_err *err)
{
    // Naming rows among the first n rows: floor(n * share).
    const double share = q->spec.naming, n = (double)q->rows;
    const bool naming = floor((n + 1) * share + 1e-9) > floor(n * share + 1e-9);
    struct source *from = &q->from[naming];
    int rc;

    *row = (struct ral_question_row){0};
    if (q->rows == q->spec.rows)
        return 0;
    if (from->asked == from->picture.n_questions) {
        if ((rc = new_picture(q, naming, from, err)) < 0)
            return rc;
        row->canvas = from->picture.canvas;
    }
    row->number = ++q->rows;
    row->picture = from->number;
    row->question = &from->picture.question[from->asked++];
    return 1;
}
