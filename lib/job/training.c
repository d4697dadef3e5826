/* lib/job/training.c - what the programs that write checkpoints share. */
#include "job/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "stream/group.h"

struct ral_adamw ral_optim_now(const struct ral_optim_settings *o,
                               const struct ral_state *s)
{
    const double f = ral_schedule_factor(
        (enum ral_schedule)o->schedule, s->updates + s->skipped,
        (uint64_t)o->warmup_steps, (uint64_t)o->max_steps);

    return (struct ral_adamw){o->learning_rate * f, o->beta1, o->beta2,
                              o->epsilon, o->weight_decay};
}

/* ---- a stream's groups ---- */

static void *copy(struct ral_arena *a, const void *p, size_t n, size_t size)
{
    void *q = ral_arena_alloc(a, n, size);

    return q && n ? memcpy(q, p, n * size) : q;
}

static int copy_media(struct ral_held *h, struct ral_train_group *out,
                      const struct ral_group *g, struct ral_err *err)
{
    struct ral_held_media *m = RAL_ZNEW(&h->arena, struct ral_held_media, 1);

    if (!m || !(m->ref = copy(&h->arena, g->media_ref, g->n_media,
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
            r->bytes = copy(&h->arena, r->bytes, r->n_bytes, 1);
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

static int copy_sample(struct ral_held *h, const struct ral_held_conf *conf,
                       struct ral_train_sample *out,
                       const struct ral_sample *s, struct ral_err *err)
{
    *out = (struct ral_train_sample){
        .ids = copy(&h->arena, s->ids, s->T, sizeof *s->ids),
        .T = s->T,
        .advantage = s->advantage,
    };
    if (s->logp)
        out->logp_old = copy(&h->arena, s->logp, s->T, sizeof *s->logp);
    if (conf->attention)
        out->attn_old = copy(&h->arena, s->attn, s->attn_n, sizeof *s->attn);
    if (conf->reference)
        out->logp_ref = RAL_NEW(&h->arena, float, s->T);
    if (!out->ids || (s->logp && !out->logp_old) ||
        (conf->attention && !out->attn_old) ||
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
    else if (conf->attention && !s->attn)
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

    memset(out, 0, sizeof *out);
    out->id = ral_arena_text(&h->arena, g->id, strlen(g->id));
    out->prompt = copy(&h->arena, g->prompt_ids, g->P, sizeof *out->prompt);
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
    if (conf->attention &&
        (i->n_layers != 1 || i->n_heads != 0 ||
         i->attn_layers[0] != (int32_t)conf->layers - 1))
        return ral_err_set(err, -RAL_EINVAL,
                           "the stream's attn is not the head mean of layer "
                           "%zu, the policy's last",
                           conf->layers - 1);
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
    h->info.attn_layers = copy(&h->arena, from->attn_layers, from->n_layers,
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

    memset(h, 0, sizeof *h);
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
    memset(h, 0, sizeof *h);
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

int ral_held_pictures(const struct ral_held *h, const struct ral_processor *p,
                      const struct ral_train_group *g,
                      struct ral_visual **out, size_t *n, struct ral_arena *a,
                      struct ral_err *err)
{
    const struct ral_held_media *m = g->source;
    int rc;

    *n = m->n;
    if (!(*out = RAL_NEW(a, struct ral_visual, m->n + 1)))
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    for (size_t i = 0; i < m->n; i++)
        if ((rc = ral_medium_load(&(*out)[i], &m->ref[i], p, h->root, a, err)) <
            0)
            return ral_err_at(err, "record %s", g->id);
    return 0;
}

/* ---- checkpoints ---- */

int ral_training_out_check(const char *out, bool force, struct ral_err *err)
{
    struct ral_outdir dir;
    int rc;

    if (!out)
        return ral_err_set(err, -RAL_EUSAGE, "-o DIR is needed");
    if ((rc = ral_outdir_open(&dir, out, force, "config.json", err)) == 0)
        ral_outdir_abort(&dir);
    return rc;
}

static int keep_recipe(const char *recipe, const char *dir,
                       struct ral_err *err)
{
    char *path = ral_path_join(dir, "ral/recipe.yaml");
    struct ral_buf text = {0};
    struct ral_out out;
    int rc = path ? ral_file_read(recipe, 1 << 24, &text, err)
                  : ral_err_set(err, -RAL_ENOMEM, "out of memory");

    if (rc == 0 && (rc = ral_out_open(&out, path, err)) == 0) {
        rc = ral_write_all(out.fd, text.data, text.len, path, err);
        if (rc == 0)
            rc = ral_out_finish(&out, err);
        else
            ral_out_abort(&out);
    }
    ral_buf_release(&text);
    free(path);
    return rc;
}

int ral_training_save(const struct ral_policy *p, const char *out, bool force,
                      const char *recipe, struct ral_err *err)
{
    struct ral_outdir dir;
    int rc = ral_outdir_open(&dir, out, force, "config.json", err);

    if (rc < 0)
        return rc;
    rc = ral_state_save(&p->state, p->dir, dir.tmp, err);
    if (rc == 0 && recipe)
        rc = keep_recipe(recipe, dir.tmp, err);
    if (rc == 0)
        return ral_outdir_finish(&dir, err);
    ral_outdir_abort(&dir);
    return rc;
}

/* ---- metrics ---- */

json_t *ral_attention_metrics(const struct ral_step_stats *t)
{
    return json_pack(
        "{s:o,s:o,s:o,s:I}", "jsd",
        ral_json_number(t->attn_rows ? t->jsd / (double)t->attn_rows : 0),
        "attn_loss", ral_json_number(t->attn_loss), "attn_share",
        ral_json_number(t->attn_share), "attn_skipped",
        (json_int_t)t->attn_skipped);
}

static double mean(double sum, size_t n)
{
    return n ? sum / (double)n : 0;
}

json_t *ral_training_metrics(const char *program, const struct ral_state *s,
                             const struct ral_step_stats *t, double lr,
                             double seconds, json_t *more)
{
    json_t *j = json_pack(
        "{s:s,s:I,s:I,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:o,s:o,s:o,s:I,s:b}",
        "program", program, "step", (json_int_t)s->step, "update",
        (json_int_t)(s->updates + s->skipped), "loss",
        ral_json_number(t->loss), "nll",
        ral_json_number(mean(t->nats, t->response_tokens)), "entropy",
        ral_json_number(mean(t->entropy, t->response_tokens)), "grad_norm",
        ral_json_number(t->grad_norm), "learning_rate", ral_json_number(lr),
        "tokens", (json_int_t)t->tokens, "response_tokens",
        (json_int_t)t->response_tokens, "samples", (json_int_t)t->samples,
        "seconds", ral_json_number(seconds), "tokens_per_s",
        ral_json_number((double)t->tokens / seconds), "samples_per_s",
        ral_json_number((double)t->samples / seconds), "peak_bytes",
        (json_int_t)ral_peak_rss(), "skipped", (int)t->skipped);

    if (more)
        json_object_update(j, more);
    json_decref(more);
    return j;
}
