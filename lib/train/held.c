/* lib/train/held.c - a stream's groups, held to be trained on. */
#include "train/held.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "stream/group.h"

static int copy_media(struct ral_held *h, struct ral_train_group *out,
                      const struct ral_group *g, struct ral_err *err)
{
    struct ral_held_media *m = RAL_ZNEW(&h->arena, struct ral_held_media, 1);

    if (!m || !(m->ref = ral_arena_copy(&h->arena, g->media_ref, g->n_media,
                              sizeof *m->ref)))
        goto memory;
    m->n = g->n_media;
    for (size_t i = 0; i < m->n; i++) {
        struct ral_media_ref *r = &m->ref[i];

        if (r->video)
            return ral_err_set(err, -RAL_EINVAL,
                               "record %s: holds a video; this version reads "
                               "pictures alone",
                               g->id);
        r->path = ral_arena_text(&h->arena, r->path, strlen(r->path));
        r->digest = ral_arena_text(&h->arena, r->digest, strlen(r->digest));
        if (r->bytes)
            r->bytes = ral_arena_copy(&h->arena, r->bytes, r->n_bytes, 1);
        if (!r->path || !r->digest || (r->n_bytes && !r->bytes))
            goto memory;
        out->visual += ral_visual_tokens(r->grid[0], r->grid[1], r->grid[2],
                                         h->info.spatial_merge_size);
    }
    out->source = m;
    return 0;

memory:
    return ral_err_set(err, -RAL_ENOMEM, "out of memory for the stream");
}

/* Heads of a layer in the stream's attn: 1 of their mean. */
static size_t planes_of(const struct ral_stream_info *info)
{
    return info->n_heads ? info->n_heads : 1;
}

/* The planes of the layers that are looked at, in their order. */
static int copy_attention(struct ral_held *h, const struct ral_look_conf *look,
                          struct ral_train_sample *out,
                          const struct ral_sample *s)
{
    const size_t of = planes_of(&h->info) * h->info.n_layers;
    const size_t layer = s->attn_n / of * planes_of(&h->info);
    float *to = RAL_NEW(&h->arena, float, look->layers * layer);

    out->attn_old = to;
    for (size_t i = 0; to && i < look->layers; i++) {
        const size_t from =
            (size_t)ral_attn_find(&h->info, look->layer[i]) * layer;

        for (size_t k = 0; k < layer; k++)
            *to++ = s->attn[from + k];
    }
    return out->attn_old ? 0 : -RAL_ENOMEM;
}

static int copy_sample(struct ral_held *h, const struct ral_held_conf *conf,
                       struct ral_train_sample *out,
                       const struct ral_sample *s, struct ral_err *err)
{
    *out = (struct ral_train_sample){
        .ids = ral_arena_copy(&h->arena, s->ids, s->T, sizeof *s->ids),
        .T = s->T,
        .advantage = s->advantage,
    };
    if (s->logp)
        out->logp_old =
            ral_arena_copy(&h->arena, s->logp, s->T, sizeof *s->logp);
    if (conf->reference)
        out->logp_ref = RAL_NEW(&h->arena, float, s->T);
    if (!out->ids || (s->logp && !out->logp_old) ||
        (conf->look && copy_attention(h, conf->look, out, s) < 0) ||
        (conf->reference && !out->logp_ref))
        return ral_err_set(err, -RAL_ENOMEM, "out of memory for the stream");
    return 0;
}

static int check_sample(const struct ral_held_conf *conf,
                        const struct ral_sample *s, size_t k, const char *id,
                        struct ral_err *err)
{
    const char *lacks = NULL;

    if (conf->advantages && !s->has_advantage)
        lacks = "has no advantage: pipe the stream through ral-reward";
    else if (conf->advantages && !s->logp)
        lacks = "has no logp: sample it with ral-rollout";
    else if (conf->look && !s->attn)
        lacks = "has no attn: sample it with ral-rollout";
    if (lacks)
        return ral_err_set(err, -RAL_EINVAL, "record %s: samples[%zu] %s", id,
                           k, lacks);
    return 0;
}

/* Samples that failed have no part; a group without any is left out. */
static int hold(struct ral_held *h, const struct ral_held_conf *conf,
                const struct ral_group *g, double *reward, size_t *scored,
                struct ral_train_group *out, struct ral_err *err)
{
    struct ral_train_sample *s =
        RAL_NEW(&h->arena, struct ral_train_sample, g->G);
    int rc;

    *out = (struct ral_train_group){0};
    out->id = ral_arena_text(&h->arena, g->id, strlen(g->id));
    out->prompt = ral_arena_copy(&h->arena, g->prompt_ids, g->P, sizeof *out->prompt);
    out->P = g->P;
    if (!s || !out->id || !out->prompt)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory for the stream");
    for (size_t k = 0; k < g->G; k++) {
        const struct ral_sample *from = &g->samples[k];

        if (from->status && strcmp(from->status, "ok"))
            continue;
        if ((rc = check_sample(conf, from, k, g->id, err)) < 0 ||
            (rc = copy_sample(h, conf, &s[out->G++], from, err)) < 0)
            return rc;
        if (from->scored) {
            *reward += from->reward;
            ++*scored;
        }
    }
    out->sample = s;
    return copy_media(h, out, g, err);
}

static int check_info(const struct ral_held *h,
                      const struct ral_held_conf *conf, struct ral_err *err)
{
    const struct ral_stream_info *i = &h->info;

    if (conf->digest && (!i->policy || strcmp(conf->digest, i->policy)))
        return ral_err_set(err, -RAL_EINVAL,
                           "the stream was sampled by another policy (%s, not "
                           "%s); --allow-stale trains on it all the same",
                           i->policy ? i->policy : "unknown", conf->digest);
    for (size_t k = 0; conf->look && k < conf->look->layers; k++)
        if (ral_attn_find(i, conf->look->layer[k]) < 0)
            return ral_err_set(err, -RAL_EINVAL,
                               "the stream holds no attn of layer %d; sample "
                               "it with ral-rollout --attn-layers",
                               conf->look->layer[k]);
    if (conf->look && i->n_heads != (conf->look->each ? conf->heads : 0))
        return ral_err_set(err, -RAL_EINVAL,
                           "the stream's attn is of %s; attn_heads wants %s: "
                           "sample it with ral-rollout --attn-heads",
                           i->n_heads ? "each head" : "the heads' mean",
                           conf->look->each ? "each" : "the mean");
    if (i->spatial_merge_size == 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "the stream's header lacks spatial_merge_size");
    return 0;
}

static int read_all(struct ral_held *h, const struct ral_held_conf *conf,
                    struct ral_reader *r, struct ral_arena *a,
                    struct ral_err *err)
{
    size_t cap = 0, scored = 0;
    double reward = 0;
    struct ral_item *rec;
    int more, rc;

    while ((more = ral_reader_next(r, a, &rec, err)) > 0) {
        struct ral_group g;

        if ((rc = ral_group_decode(&g, &h->info, rec, a, err)) < 0)
            return ral_err_at(err, "%s", ral_reader_name(r));
        if (!g.ok) {
            h->failed++;
            continue;
        }
        if (h->n == cap) {
            void *p;

            cap = cap ? 2 * cap : 64;
            if (!(p = realloc(h->group, cap * sizeof *h->group)))
                return ral_err_set(err, -RAL_ENOMEM, "out of memory");
            h->group = p;
        }
        if ((rc = hold(h, conf, &g, &reward, &scored, &h->group[h->n], err)) <
            0)
            return ral_err_at(err, "%s", ral_reader_name(r));
        h->n += h->group[h->n].G > 0;
        ral_arena_reset(a);
    }
    h->reward = scored ? reward / (double)scored : NAN;
    if (more == 0 && h->n == 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: holds no usable record (%zu failed)",
                           ral_reader_name(r), h->failed);
    return more;
}

/* The reader's texts end with it: ours are copies. */
static int keep_info(struct ral_held *h, const struct ral_stream_info *from,
                     const char *root, struct ral_err *err)
{
    h->info = *from;
    h->root = root ? root : from->media_root ? from->media_root : ".";
    h->info.policy = from->policy ? ral_arena_text(&h->arena, from->policy,
                                                   strlen(from->policy))
                                  : NULL;
    h->root = ral_arena_text(&h->arena, h->root, strlen(h->root));
    h->info.attn_layers = ral_arena_copy(&h->arena, from->attn_layers, from->n_layers,
                               sizeof *from->attn_layers);
    h->info.media_root = NULL;
    return h->root ? 0 : ral_err_set(err, -RAL_ENOMEM, "out of memory");
}

int ral_held_read(struct ral_held *h, const struct ral_held_conf *conf,
                  char *const *files, size_t nfiles, struct ral_err *err)
{
    struct ral_arena a = {0};
    struct ral_reader *r;
    int rc;

    *h = (struct ral_held){0};
    rc = ral_reader_open_files(&r, files, nfiles, conf->max_record, err);
    if (rc == 0)
        rc = keep_info(h, ral_reader_info(r), conf->media_root, err);
    if (rc == 0 && (rc = check_info(h, conf, err)) < 0)
        ral_err_at(err, "%s", ral_reader_name(r));
    if (rc == 0)
        rc = read_all(h, conf, r, &a, err);
    ral_reader_close(r);
    ral_arena_release(&a);
    if (rc < 0)
        ral_held_release(h);
    return rc;
}

void ral_held_release(struct ral_held *h)
{
    free(h->group);
    ral_arena_release(&h->arena);
    *h = (struct ral_held){0};
}

/* All groups in the order of one pass: of (seed, stream's step, iteration). */
static void shuffle(const struct ral_held *h, uint64_t seed, size_t iteration,
                    size_t *order, const struct ral_train_group **list)
{
    struct ral_rng rng;

    ral_rng_init(&rng, seed, h->info.step, (uint32_t)iteration);
    ral_rng_permute(&rng, order, h->n);
    for (size_t i = 0; i < h->n; i++)
        list[i] = &h->group[order[i]];
}

int ral_held_updates(const struct ral_held *h, size_t parts, size_t iterations,
                     uint64_t seed, const struct ral_log *log,
                     int (*update)(void *ctx,
                                   const struct ral_train_group *const *g,
                                   size_t n, size_t number, size_t of),
                     void *ctx, struct ral_err *err)
{
    const struct ral_train_group **list = calloc(h->n, sizeof *list);
    size_t *order = calloc(h->n, sizeof *order);
    struct ral_progress progress;
    int rc = list && order ? 0
                           : ral_err_set(err, -RAL_ENOMEM, "out of memory");

    ral_progress_begin(&progress, log, "made", "updates", parts * iterations);
    for (size_t i = 0; rc == 0 && i < iterations; i++) {
        shuffle(h, seed, i, order, list);
        for (size_t k = 0; rc == 0 && k < parts; k++) {
            const size_t lo = h->n * k / parts, hi = h->n * (k + 1) / parts;

            rc = update(ctx, list + lo, hi - lo, i * parts + k + 1,
                        parts * iterations);
            ral_progress_add(&progress, 1);
        }
    }
    ral_progress_end(&progress);
    free(list);
    free(order);
    return rc;
}

int ral_held_visuals(const struct ral_held *h, const struct ral_processor *p,
                     const struct ral_train_group *g,
                     const struct ral_visual **out, size_t *n,
                     struct ral_arena *a, struct ral_err *err)
{
    const struct ral_held_media *m = g->source;
    struct ral_visual *v = RAL_NEW(a, struct ral_visual, m->n + 1);
    int rc;

    *out = v;
    *n = m->n;
    if (!v)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    for (size_t i = 0; i < m->n; i++)
        if ((rc = ral_medium_load(&v[i], &m->ref[i], p, h->root, a, err)) < 0)
            return ral_err_at(err, "record %s", g->id);
    return 0;
}
